//! "Why did it (not) scale?": one evaluation, told to whoever is on call.
//!
//! [`Inputs::parse`] takes the text of files, YAML or JSON, as `kubectl get hpa,deploy,pods,podmetrics -o yaml` prints
//! them; [`Inputs::from_objects`] takes the same objects from a live cluster. [`explain`] evaluates and tells.
//!
//! ```
//! use showrunner_autoscaling::explain::{Inputs, Options, explain};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hpa = r#"{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
//!     "metadata": {"name": "edge", "namespace": "live"},
//!     "spec": {"maxReplicas": 10, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "edge"}}}"#;
//! let deployment = r#"{"apiVersion": "apps/v1", "kind": "Deployment",
//!     "metadata": {"name": "edge", "namespace": "live"}, "spec": {"replicas": 0}}"#;
//! let explanation = explain(&Inputs::parse(&[hpa, deployment], None)?, &Options::default());
//! assert!(explanation.to_text().contains("autoscaling is switched off"));
//! assert_eq!(explanation.to_json()["decision"]["desired"], 0);
//! # Ok(())
//! # }
//! ```

mod chart;
mod findings;
mod inputs;
mod read;
mod text;

pub use chart::chart;
pub use findings::{Finding, Severity};
pub use inputs::{InputError, Inputs, Name};
pub use read::File;
pub use text::describe;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::hpa::{Action, Condition, Decision, EventNote, Settings, Trace, evaluate_traced};
use crate::project::{PodModel, Projection, Ramp, project};

/// A projection to add to the explanation.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Viewers that come each second.
    pub per_second: f64,
    /// For how long they come; the projection ends then.
    pub rises_for: SignedDuration,
    /// Viewers there are now. `None`: as many as the measured utilisation stands for.
    pub initial: Option<u64>,
    /// How a replica behaves.
    pub model: PodModel,
}

/// How to explain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The time of the evaluation. `None`: that of the newest sample, which is what files were taken at.
    pub now: Option<Timestamp>,
    /// The cluster's settings.
    pub settings: Settings,
    /// A ramp to project.
    pub project: Option<Project>,
}

/// The decision in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Current size.
    pub current: i32,
    /// Desired size.
    pub desired: i32,
    /// Least size.
    pub min: i32,
    /// Greatest size.
    pub max: i32,
    /// What is done.
    pub action: Action,
    /// Why, as in the event of a rescale; `None` without one.
    pub reason: Option<String>,
    /// The error of the evaluation, if any.
    pub error: Option<String>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NamedCondition {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: &'static str,
    /// The rest.
    #[serde(flatten)]
    pub condition: Condition,
}

/// A projection, and what it takes for granted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Projected {
    /// The ramp.
    pub ramp: Ramp,
    /// How a replica is held to behave.
    pub model: PodModel,
    /// Whether a metric that cannot be read today is held to be mended: without that nothing would ever move.
    pub assumes_mended: bool,
    /// What it does.
    pub projection: Projection,
}

/// An evaluation and its account.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `namespace/name` of the autoscaler.
    pub autoscaler: String,
    /// `Kind/name` of its target.
    pub target: String,
    /// The time of the evaluation.
    pub at: Timestamp,
    /// The decision.
    pub decision: Summary,
    /// What stands out, most urgent first, with what to do about it.
    pub findings: Vec<Finding>,
    /// The conditions.
    pub conditions: Vec<NamedCondition>,
    /// The events.
    pub events: Vec<EventNote>,
    /// Every rule that was applied.
    pub trace: Trace,
    /// The projection, if one was asked for.
    pub projection: Option<Projected>,
}

impl Explanation {
    /// For a terminal.
    pub fn to_text(&self) -> String {
        text::render(self)
    }

    /// For a program.
    pub fn to_json(&self) -> serde_json::Value {
        // Every field is a string, number, list or struct of those, which JSON always takes.
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// Evaluates and explains.
pub fn explain(inputs: &Inputs, options: &Options) -> Explanation {
    let now = options
        .now
        .or_else(|| inputs.newest_sample())
        .unwrap_or(Timestamp::UNIX_EPOCH);
    let mut history = inputs.history.clone();
    let (decision, trace) = evaluate_traced(&inputs.hpa, &inputs.observation, &mut history, &options.settings, now);
    let projection = options
        .project
        .as_ref()
        .and_then(|wanted| projected(inputs, wanted, &decision, options, now));
    let findings = findings::find(inputs, &decision, &trace, &options.settings, projection.as_ref(), now);
    let spec = &inputs.hpa.spec;
    Explanation {
        autoscaler: inputs.name().to_string(),
        target: format!("{}/{}", spec.scale_target_ref.kind, spec.scale_target_ref.name),
        at: now,
        decision: Summary {
            current: decision.current_replicas,
            desired: decision.desired_replicas,
            min: spec.min_replicas.unwrap_or(1),
            max: spec.max_replicas,
            action: decision.action(),
            reason: decision
                .rescale
                .as_ref()
                .map(|rescale| rescale.reason.clone().into_owned()),
            error: decision.error.clone(),
        },
        findings,
        conditions: decision
            .conditions
            .iter()
            .map(|(type_, condition)| NamedCondition {
                type_,
                condition: condition.clone(),
            })
            .collect(),
        events: decision.events,
        trace,
        projection,
    }
}

fn projected(
    inputs: &Inputs,
    wanted: &Project,
    decision: &Decision,
    options: &Options,
    now: Timestamp,
) -> Option<Projected> {
    let replicas = u32::try_from(decision.current_replicas).ok()?;
    let per_replica = f64::from(wanted.model.capacity.viewers_per_replica);
    let measured = decision
        .metrics
        .iter()
        .flatten()
        .find_map(|proposal| proposal.utilization_percent);
    let initial = wanted.initial.unwrap_or_else(|| {
        (f64::from(measured.unwrap_or_default()) / 100.0 * f64::from(replicas) * per_replica).round() as u64
    });
    let ramp = Ramp {
        initial,
        per_second: wanted.per_second,
        rises_for: wanted.rises_for,
    };
    let history = inputs.history.clone();
    let projection = project(
        &inputs.hpa,
        replicas,
        history,
        &ramp,
        &wanted.model,
        &options.settings,
        wanted.rises_for,
        now,
    )
    .ok()?;
    Some(Projected {
        ramp,
        model: wanted.model.clone(),
        assumes_mended: decision.error.is_some(),
        projection,
    })
}

/// Reads a rate of arrival such as `100/s`, `6000/m` or `20000/h` as viewers a second.
pub fn parse_rate(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let number: f64 = number.trim().parse().ok()?;
    let seconds = match unit.trim() {
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" | "hour" => 3600.0,
        _ => return None,
    };
    number.is_finite().then_some(number / seconds)
}
