//! The Showrunner operator: a `StreamingPlatform` becomes encoders, origins, caches, steering and services, and stays so.
//!
//! A reconciliation is a pipeline of five steps, a module each, with an error type each:
//!
//! 1. [`dereference`] *(client)*: what the spec refers to and what is there.
//! 2. [`validate`] *(pure)*: the raw resource becomes a `ValidatedPlatform`.
//! 3. [`build`] *(pure)*: every object, as `Resources<Prepared>`. Before it, [`floor`] says how many edges there must be.
//! 4. [`apply`] *(client)*: server-side apply, orphans removed; gives `Resources<Applied>`.
//! 5. [`status`] *(pure, then client)*: conditions and figures, written only when they differ.
//!
//! Regions may be in clusters of their own: [`remote`].
//!
//! Beside it, [`drills`] takes back the faults of drills whose runner is gone.
//!
//! [`run`] is the controller around it, [`render()`] the pure steps for a file.

pub mod addresses;
pub mod apply;
pub mod audience;
pub mod backoff;
pub mod build;
pub mod clock;
pub mod controller;
pub mod dereference;
pub mod drills;
#[cfg(test)]
mod fixtures;
pub mod floor;
mod hex;
pub mod kind;
pub mod leader;
mod listed;
pub mod memory;
pub mod metering;
pub mod observed;
pub mod options;
pub mod outage;
pub mod pods;
pub mod premiere;
pub mod rbac;
pub mod reconcile;
pub mod remote;
pub mod render;
pub mod resources;
pub mod status;
mod told;
pub mod topology;
pub mod validate;

pub use clock::Clock;
pub use controller::{Error, run};
pub use options::OperatorOptions;
pub use render::render;
