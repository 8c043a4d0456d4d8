//! A Kubernetes node agent that runs pods as local processes, the loopback network between them, and its faults.
//!
//! Nothing here needs root or namespaces: a pod has an address of 127.0.0.0/8, a Service is a userspace proxy, and a
//! fault is what that proxy does to the bytes. Everything talks to the API server through an ordinary client.

pub mod agent;
pub mod chaos;
pub mod crash;
pub mod key;
pub mod network;
pub mod quantity;

pub use agent::runtime::{NodeRuntime, StopError};
pub use agent::{CrashBackoff, ImageTable, NodeConfig, RuntimeConfig, reap_stale};
