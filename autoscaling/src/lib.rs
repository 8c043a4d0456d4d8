//! Kubernetes' own scaling decisions, exactly, and explained.
//!
//! - [`hpa`]: the HorizontalPodAutoscaler of `autoscaling/v2` as a function from an object, the pods and samples it
//!   would see and what its controller remembers, to a [`Decision`](hpa::Decision), with the account of every rule.
//! - [`explain`]: that account for whoever is on call, from the objects `kubectl` prints.
//! - [`audience`]: replicas from concurrent viewers, with headroom and with regions lost.
//! - [`prewarm`]: when to start warming for an announced audience.
//! - [`growth`]: how fast a reactive autoscaler can grow at best.
//! - [`project`]: what an autoscaler would do under a growing audience.
//! - [`quantity`]: Kubernetes quantities as thousandths.
//!
//! There is no IO and no clock in this crate: time is an argument, and equal arguments give equal results.
//!
//! What the tests notice is itself checked: `docs/mutations.md`.
//!
//! # One evaluation
//!
//! ```
//! use jiff::{SignedDuration, Timestamp};
//! use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
//! use k8s_openapi::api::core::v1::Pod;
//! use showrunner_autoscaling::hpa::{
//!     ContainerUsage, History, Observation, PodUsage, PodView, Samples, ScaleView, Selector, Settings, evaluate,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hpa: HorizontalPodAutoscaler = serde_json::from_str(r#"{
//!     "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
//!     "metadata": {"name": "edge", "namespace": "live"},
//!     "spec": {"minReplicas": 1, "maxReplicas": 10,
//!              "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "edge"},
//!              "metrics": [{"type": "Resource", "resource":
//!                  {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}"#)?;
//! let pod: Pod = serde_json::from_str(r#"{
//!     "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "edge-a"},
//!     "spec": {"containers": [{"name": "varnish", "resources": {"requests": {"cpu": "500m"}}}]},
//!     "status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "conditions":
//!         [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"}]}}"#)?;
//!
//! // What a controller reads each sync period: the scale, the pods under its selector, `metrics.k8s.io`.
//! let now: Timestamp = "2026-01-01T01:00:00Z".parse()?;
//! let usage = PodUsage {
//!     pod: "edge-a".into(),
//!     timestamp: now,
//!     window: SignedDuration::from_secs(30),
//!     containers: vec![ContainerUsage { name: "varnish".into(), usage: [("cpu".into(), 400)].into() }],
//! };
//! let observation = Observation {
//!     scale: Ok(ScaleView { spec_replicas: 1, status_replicas: 1, selector: Selector::Valid }),
//!     pods: vec![PodView::from(&pod)],
//!     samples: Samples::of_resources(vec![usage]),
//! };
//!
//! // One `History` per autoscaler, kept between evaluations.
//! let (mut history, settings) = (History::default(), Settings::default());
//! let mut decision = evaluate(&hpa, &observation, &mut history, &settings, now);
//! assert_eq!(decision.desired_replicas, 2); // 400m of 500m is 80 %, 80/50 × 1 pod, rounded up
//!
//! // Write `rescale.replicas` to the scale subresource, then say how it went; then write the status and the events.
//! if decision.rescale.is_some() {
//!     decision.scale_written(&hpa, &mut history, &settings, now); // or `decision.scale_refused("the error")`
//! }
//! let status = decision.status(&hpa, now);
//! assert_eq!(status.conditions.unwrap_or_default()[0].reason.as_deref(), Some("SucceededRescale"));
//! assert_eq!(decision.events[0].message, "New size: 2; reason: cpu resource utilization (percentage of request) above target");
//! # Ok(())
//! # }
//! ```
pub mod audience;
pub mod explain;
pub mod growth;
pub mod hpa;
pub mod prewarm;
pub mod project;
pub mod quantity;
