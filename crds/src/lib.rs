//! Showrunner's Kubernetes API types, their rules, and the configuration of its data plane.
//!
//! - [`platform`]: `StreamingPlatform`, what a platform engineer applies.
//! - [`premiere`]: `Premiere`, an audience announced ahead of time.
//! - [`scenario`] and [`drill`]: what is rehearsed, and one run of it.
//! - [`config`]: the configuration files that the operator renders and the data plane reads.
//! - [`wire`]: what data-plane processes report over HTTP.
//! - [`labels`] and [`names`]: how objects are named and labelled.
//!
//! No IO happens here.

pub mod config;
pub mod drill;
pub mod duration;
pub mod labels;
pub mod names;
pub mod platform;
pub mod premiere;
pub mod scenario;
pub mod wire;

/// API group of every resource of ours.
pub const GROUP: &str = "showrunner.dev";
/// Served and stored version.
pub const VERSION: &str = "v1alpha1";
