//! Showrunner's Kubernetes API types, their rules, and the configuration of its data plane.
//!
//! - [`platform`]: `StreamingPlatform`, what a platform engineer applies.
//! - [`premiere`]: `Premiere`, an audience announced ahead of time.
//! - [`scenario`] and [`drill`]: what is rehearsed, and one run of it.
//! - [`liveness`]: whether the runner of a drill lives.
//! - [`crd`]: the definitions, rules included.
//! - [`rules`]: what a definition's schema cannot say, as CEL and as a function, in the same words.
//! - [`source`]: YAML files, every mistake with its line and column.
//! - [`config`]: the configuration files that the operator renders and the data plane reads.
//! - [`wire`]: what data-plane processes report over HTTP.
//! - [`labels`] and [`names`]: how objects are named and labelled.
//! - [`annotations`]: how a cluster agrees to drills, and ends them.
//!
//! No IO happens here.

pub mod annotations;
pub mod config;
pub mod crd;
pub mod drill;
pub mod duration;
pub mod labels;
pub mod liveness;
pub mod names;
pub mod platform;
pub mod premiere;
pub mod rules;
pub mod scenario;
pub mod source;
pub mod wire;

/// API group of every resource of ours.
pub const GROUP: &str = "showrunner.dev";
/// Served and stored version.
pub const VERSION: &str = "v1alpha1";
