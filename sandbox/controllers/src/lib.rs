//! Kubernetes controllers and a scheduler as ordinary API clients.
//!
//! They serve an embedded control plane, but use nothing except the API: the same code works against any API server.
//! Every controller is two halves: `plan`, a pure function from what was observed (and the time) to what is to be
//! done, and `run`, the thin shell that observes, carries out and tries again. [`spawn_all`] starts them together on
//! one set of caches.
//!
//! | controller | not there |
//! |---|---|
//! | Deployment, ReplicaSet | |
//! | StatefulSet | claim retention policies, `maxUnavailable` above 1 |
//! | Job | the finalizer protocol, pod failure and success policies |
//! | EndpointSlice, Endpoints | topology hints |
//! | load balancer addresses | node ports |
//! | HorizontalPodAutoscaler | custom and external metrics |
//! | node lifecycle, pod collection | zone-wide eviction limits |
//! | PodDisruptionBudget status | custom workloads' scales |
//! | scheduler | preemption, volumes, host ports |
//!
//! ```no_run
//! # async fn start(client: kube::Client) -> Result<(), showrunner_controllers::ControllersError> {
//! use showrunner_controllers::{ControllersConfig, spawn_all};
//! use tokio_util::sync::CancellationToken;
//!
//! let cancel = CancellationToken::new();
//! let mut controllers = spawn_all(client, ControllersConfig::default(), cancel.clone());
//! // ... later, or in a `select!`: a panic in a controller shows here.
//! controllers.stopped().await
//! # }
//! ```

mod autoscaler;
mod config;
mod context;
mod deployment;
mod disruption;
mod endpoints;
mod engine;
#[cfg(test)]
mod ghosts;
mod handle;
mod job;
mod load_balancer;
mod model;
mod node_lifecycle;
mod replicaset;
mod scheduler;
mod statefulset;

pub use config::ControllersConfig;
pub use handle::{ControllersError, ControllersHandle, spawn_all, spawn_load_balancer};
