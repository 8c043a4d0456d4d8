//! Kubernetes controllers and a scheduler as ordinary API clients.
mod config;
mod context;
mod engine;
mod model;
mod deployment;
mod replicaset;
pub use config::ControllersConfig;
