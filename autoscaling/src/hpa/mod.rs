//! The Kubernetes HorizontalPodAutoscaler (`autoscaling/v2`).
//!
//! Widths and roundings are those of Kubernetes: values are 64-bit thousandths, sizes 32-bit, ratios double-precision
//! floats. Where Kubernetes guards a conversion it saturates, and so does every conversion here.

mod decision;
mod evaluate;
mod history;
mod limits;
mod metrics;
mod pods;
mod ratio;
mod replicas;
mod requests;
mod rules;
mod samples;
mod settings;
mod trace;

pub use decision::{Action, Condition, Conditions, Decision, EventNote, Rescale};
pub use evaluate::{Observation, ScaleView, Selector, evaluate, evaluate_traced};
pub use history::{History, Recommendation, ScaleEvent, Stabilized, change_within};
pub use limits::{Bounds, Limit, limit_behavior, limit_plain};
pub use metrics::default_metric;
pub use pods::{ContainerRequests, Group, Phase, PodView, Readiness, ReadyCondition, SampleTime};
pub use ratio::{NothingMatched, Usage, Utilization, usage_ratio, utilization_ratio};
pub use replicas::{Context, Proposal};
pub use requests::{RequestError, calculate_requests};
pub use rules::{Direction, Policy, PolicyKind, Rules, Select};
pub use samples::{Answer, ContainerUsage, Named, PodUsage, PodValue, Samples};
pub use settings::{Settings, Tolerances};
pub use trace::{Kept, PolicyTrace, SetAside, Step, Trace};

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::MetricSpec;

/// The size one metric asks for, before stabilisation and limits; the error is the text of the condition.
///
/// `namespace` appears in messages only.
pub fn propose(
    spec: &MetricSpec,
    namespace: &str,
    context: &Context<'_>,
    samples: &Samples,
) -> Result<Proposal, String> {
    metrics::evaluate(spec, namespace, context, samples, &mut ()).map_err(|error| error.error)
}

/// The group of each pod for one metric's `samples`, in the order of `pods`.
pub fn group_pods(
    pods: &[PodView],
    samples: &[PodValue],
    resource: &str,
    settings: &Settings,
    now: Timestamp,
) -> Vec<Group> {
    let time = |pod: &PodView| {
        let sample = samples.iter().find(|sample| sample.pod == pod.name)?;
        Some(SampleTime {
            timestamp: sample.timestamp,
            window: sample.window,
        })
    };
    pods.iter()
        .map(|pod| pod.group(time(pod), resource == "cpu", settings, now))
        .collect()
}
