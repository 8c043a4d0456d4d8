//! Clusters that regions have of their own.
//!
//! - [`kubeconfig`] *(pure)*: what a kubeconfig may say, since whoever may write a Secret writes it.
//! - [`clients`] *(client)*: a client for each, made from its Secret.
//! - [`sight`] *(client)*: what is there, each cluster by itself under one deadline.
//! - `round` *(client)*: one look at them all, in which none waits for another.
//! - [`record`] *(client)*: which clusters have objects, in the status, and the finalizer that lets none be forgotten.
//! - `departure` *(client)*: taking everything away from a cluster that no region is in any more.
//! - `deletion` *(client)*: taking everything away with the platform.

pub mod clients;
pub(crate) mod deletion;
pub(crate) mod departure;
pub mod kubeconfig;
pub mod record;
pub(crate) mod round;
pub mod sight;

pub use clients::{Clients, Connector};
pub use departure::Lingering;
pub use sight::{Seen, Sight, View};
