//! A Kubernetes API server in process.
//!
//! [`ApiServer`] speaks the Kubernetes API over a [`tower::Service`]: hand it to `kube::Client::new`, or let it listen
//! on loopback for `kubectl`. Objects live in memory. It knows built-in kinds, custom resources with their schemas and
//! CEL rules, server-side apply, watches that resume, finalizers, garbage collection and namespaces; it runs no
//! controllers beyond those a real API server's clients take for granted.
//!
//! What nodes know (connections to pods, logs, usage) it asks of a [`NodeAccess`].

mod apply;
mod body;
mod builtin;
mod clusterip;
mod config;
mod crd;
mod discovery;
mod engine;
mod error;
mod gc;
mod handlers;
mod jsonpath;
mod metrics;
mod nodes;
mod openapi;
mod patch;
mod protobuf;
mod registry;
mod request;
mod review;
mod router;
mod schema;
mod selector;
mod server;
mod store;
mod table;

pub use body::{ApiBody, BodyError};
pub use config::ApiServerConfig;
pub use metrics::{MeasuredObjects, MeasuredPod, serve_metrics};
pub use nodes::{ContainerUsage, LogOptions, NodeAccess, PodUsage};
pub use server::{ApiServer, ApiService, ListenHandle};
