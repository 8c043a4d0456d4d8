//! Annotations by which whoever runs a platform agrees to drills, and the switch that ends them all.

/// On a Namespace and on a `StreamingPlatform`: whether drills may run there. Both must say [`DRILLS_ALLOWED`].
pub const DRILLS: &str = "showrunner.dev/drills";
/// Value of [`DRILLS`] that agrees.
pub const DRILLS_ALLOWED: &str = "allowed";
/// On a `StreamingPlatform`: which environment it is. Whoever starts a drill states the same.
pub const ENVIRONMENT: &str = "showrunner.dev/environment";
/// Value of [`ENVIRONMENT`] in a sandbox.
pub const SANDBOX: &str = "sandbox";

/// Namespace of the safety lever.
pub const LEVER_NAMESPACE: &str = "showrunner-system";
/// `ConfigMap` that is the safety lever.
pub const LEVER: &str = "showrunner-safety-lever";
/// Its key: with the value `true` no drill starts, and those that run end.
pub const LEVER_ENGAGED: &str = "engaged";
/// Its key for why, in words.
pub const LEVER_REASON: &str = "reason";
/// Its key for who engaged or released it last.
pub const LEVER_BY: &str = "by";

/// On a `StreamingPlatform`: Secrets, separated by commas, whose clusters are given up. What is left there stays, and nothing
/// waits for it.
pub const ABANDON_CLUSTERS: &str = "showrunner.dev/abandon-clusters";
/// On objects in a cluster of a region's own: by which Secret and key they came there.
pub const CLUSTER: &str = "showrunner.dev/cluster";
