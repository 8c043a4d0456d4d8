//! Labels that every rendered object carries.

/// Name of the platform an object belongs to.
pub const PLATFORM: &str = "showrunner.dev/platform";
/// Region an object belongs to; absent on objects that span regions.
pub const REGION: &str = "showrunner.dev/region";
/// Role of the workload, one of [`crate::platform::Role`] in lower case.
pub const ROLE: &str = "showrunner.dev/role";
/// Name of the playback service a `services` workload implements.
pub const SERVICE: &str = "showrunner.dev/service";
/// Recommended label `app.kubernetes.io/name`; ours is always [`APP`].
pub const APP_NAME: &str = "app.kubernetes.io/name";
/// Recommended label `app.kubernetes.io/instance`.
pub const APP_INSTANCE: &str = "app.kubernetes.io/instance";
/// Recommended label `app.kubernetes.io/component`.
pub const APP_COMPONENT: &str = "app.kubernetes.io/component";
/// Recommended label `app.kubernetes.io/part-of`.
pub const APP_PART_OF: &str = "app.kubernetes.io/part-of";
/// Recommended label `app.kubernetes.io/managed-by`; ours is always [`MANAGER`].
pub const APP_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`APP_NAME`].
pub const APP: &str = "showrunner";
/// Value of [`APP_MANAGED_BY`], and prefix of the operator's field managers.
pub const MANAGER: &str = "showrunner-operator";
/// Well-known node label that places a region.
pub const TOPOLOGY_REGION: &str = "topology.kubernetes.io/region";
/// Well-known node label of a zone.
pub const TOPOLOGY_ZONE: &str = "topology.kubernetes.io/zone";
/// Annotation of the bandwidth plugin that caps what a pod sends, a quantity in bit/s.
pub const EGRESS_BANDWIDTH: &str = "kubernetes.io/egress-bandwidth";
/// Name of the drill that made an object: every chaos object carries it, and the Lease of the drill's runner.
pub const RUN: &str = "showrunner.dev/run";
/// UID of the platform, on objects in another cluster than its own: an owner reference cannot reach there.
pub const OWNER: &str = "showrunner.dev/owner";
