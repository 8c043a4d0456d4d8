//! Typed bindings to [Chaos Mesh](https://chaos-mesh.org)'s custom resources (`chaos-mesh.org/v1alpha1`), and the two
//! predicates that a caller needs and the resources do not offer: *injected* and *recovered*.
//!
//! - [`kinds`]: one module a kind (`PodChaos`, `NetworkChaos`, `StressChaos`, `IOChaos`, `HTTPChaos`, `DNSChaos`,
//!   `TimeChaos`; `PodNetworkChaos` to read).
//! - [`selector`]: which pods, and how many of them.
//! - [`status`]: what the controller reports.
//! - [`predicate`]: [`injected`] and [`recovered`].
//! - [`fault`]: builders of common faults.
//! - [`crds`]: `CustomResourceDefinition`s, for a cluster in which Chaos Mesh itself is not installed.
//!
//! Things worth knowing about the API, which the types cannot say:
//!
//! - `spec` is immutable. To change a fault, delete the object and create another.
//! - `status` is *not* a subresource: a controller writes it through the object itself.
//! - Targets are chosen once. Pods created after the injection are not affected.
//! - Nothing matched: there is an Event, no requeue, and no record. Wait for [`injected`] under a deadline.
//! - `duration` counts from `metadata.creationTimestamp`. Deleting the object recovers early; its finalizer stays until then.
//!
//! ```
//! use chaos_mesh_rs::{fault, selector::PodSelector};
//!
//! let pods = PodSelector::labels("shop", [("app", "checkout")]);
//! let chaos = fault::partition("checkout-lost", "shop", pods);
//! assert_eq!(serde_json::to_value(&chaos).unwrap()["spec"]["action"], "partition");
//! ```

mod crd;
pub mod duration;
pub mod fault;
pub mod kinds;
pub mod predicate;
pub mod selector;
pub mod status;

pub use crd::crds;
pub use kinds::{
    Experiment, dns::DNSChaos, http::HTTPChaos, io::IOChaos, network::NetworkChaos, pod::PodChaos,
    pod_network::PodNetworkChaos, stress::StressChaos, time::TimeChaos,
};
pub use predicate::{injected, recovered};

/// API group of every resource here.
pub const GROUP: &str = "chaos-mesh.org";
/// Version of every resource here.
pub const VERSION: &str = "v1alpha1";
/// Annotation that pauses an experiment while its value is `true`. The duration goes on counting.
pub const PAUSE_ANNOTATION: &str = "experiment.chaos-mesh.org/pause";
/// Finalizer that holds an experiment until it is recovered.
pub const FINALIZER: &str = "chaos-mesh/records";
/// Annotation that makes the controller drop [`FINALIZER`] *without* recovering, while its value is `forced`.
pub const CLEAN_FINALIZER_ANNOTATION: &str = "chaos-mesh.chaos-mesh.org/cleanFinalizer";
