//! One whole evaluation of an autoscaler, in the order in which Kubernetes takes the steps.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, MetricSpec};

use super::decision::{Condition, Decision, EventNote, Rescale};
use super::history::History;
use super::limits::{self, Bounds, Limit, limit_behavior_traced, limit_plain, plain_rate};
use super::metrics::{self, Name, default_metric};
use super::pods::PodView;
use super::replicas::{Context, Proposal};
use super::rules::{Direction, Rules};
use super::samples::Samples;
use super::settings::{Settings, Tolerances};
use super::trace::{Sink, Step, Trace};

/// What the target's label selector is worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selector {
    /// It selects pods of this autoscaler alone.
    #[default]
    Valid,
    /// The scale has none.
    Missing,
    /// It cannot be parsed; the parser's message.
    Invalid(String),
    /// Pods under it are controlled by these autoscalers (`namespace/name`), this one among them.
    Ambiguous {
        /// The selector's text.
        selector: String,
        /// The autoscalers.
        autoscalers: Vec<String>,
    },
}

/// The `scale` subresource of the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScaleView {
    /// `spec.replicas`.
    pub spec_replicas: i32,
    /// `status.replicas`.
    pub status_replicas: i32,
    /// What `status.selector` is worth.
    pub selector: Selector,
}

/// Everything that was read for one evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The target's scale, or the error of reading it.
    pub scale: Result<ScaleView, String>,
    /// The pods under the target's selector, in its namespace.
    pub pods: Vec<PodView>,
    /// The answers of the metrics APIs.
    pub samples: Samples,
}

/// The spec's metrics, or the one the API server would have added.
pub(super) fn metric_specs(hpa: &HorizontalPodAutoscaler) -> Cow<'_, [MetricSpec]> {
    match hpa.spec.metrics.as_deref() {
        Some(specs) if !specs.is_empty() => Cow::Borrowed(specs),
        _ => Cow::Owned(vec![default_metric()]),
    }
}

/// The rules up and down when the spec has a `behavior`, with defaults filled in.
pub(super) fn rules_of<'a>(hpa: &'a HorizontalPodAutoscaler, settings: &Settings) -> Option<[Rules<'a>; 2]> {
    let behavior = hpa.spec.behavior.as_ref()?;
    let window = settings.downscale_stabilization.as_secs();
    Some([
        Rules::new(Direction::Up, behavior.scale_up.as_ref(), window),
        Rules::new(Direction::Down, behavior.scale_down.as_ref(), window),
    ])
}

/// Decides the size of `hpa`'s target. The result is a function of the arguments; `history` is advanced to what the
/// controller would remember afterwards (see also [`Decision::scale_written`]).
pub fn evaluate(
    hpa: &HorizontalPodAutoscaler,
    observation: &Observation,
    history: &mut History,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    run(hpa, observation, history, settings, now, &mut ())
}

/// As [`evaluate`], with the account of every rule that was applied.
pub fn evaluate_traced(
    hpa: &HorizontalPodAutoscaler,
    observation: &Observation,
    history: &mut History,
    settings: &Settings,
    now: Timestamp,
) -> (Decision, Trace) {
    let mut trace = Trace::default();
    let decision = run(hpa, observation, history, settings, now, &mut trace);
    (decision, trace)
}

fn run(
    hpa: &HorizontalPodAutoscaler,
    observation: &Observation,
    history: &mut History,
    settings: &Settings,
    now: Timestamp,
    sink: &mut impl Sink,
) -> Decision {
    let scale = match &observation.scale {
        Ok(scale) => scale,
        Err(error) => {
            sink.record(|| Step::NoScale { error: error.clone() });
            return no_scale(hpa, error);
        }
    };
    let bounds = Bounds {
        min: hpa.spec.min_replicas.unwrap_or(1),
        max: hpa.spec.max_replicas,
    };
    let current = scale.spec_replicas;
    let mut decision = Decision::new(current);
    decision.conditions.able_to_scale = Some(Condition::new(
        true,
        "SucceededGetScale",
        "the HPA controller was able to get the target's current scale",
    ));
    history.begin(current, now);
    sink.record(|| Step::Target {
        spec_replicas: current,
        status_replicas: scale.status_replicas,
        min: bounds.min,
        max: bounds.max,
    });

    if current == 0 && bounds.min != 0 {
        sink.record(|| Step::Disabled);
        decision.conditions.scaling_active = Some(Condition::new(
            false,
            "ScalingDisabled",
            "scaling is disabled since the replica count of the target is zero",
        ));
        return decision;
    }
    if current > bounds.max {
        sink.record(|| Step::OutOfBounds {
            current,
            bound: bounds.max,
        });
        settle(
            &mut decision,
            bounds.max,
            "Current number of replicas above Spec.MaxReplicas".into(),
            sink,
        );
        return decision;
    }
    if current < bounds.min {
        sink.record(|| Step::OutOfBounds {
            current,
            bound: bounds.min,
        });
        settle(
            &mut decision,
            bounds.min,
            "Current number of replicas below Spec.MinReplicas".into(),
            sink,
        );
        return decision;
    }

    let context = Context {
        pods: &observation.pods,
        spec_replicas: current,
        status_replicas: scale.status_replicas,
        tolerances: Tolerances::of(hpa.spec.behavior.as_ref(), settings),
        settings,
        now,
    };
    let specs = metric_specs(hpa);
    let Some((proposed, name)) = propose(
        hpa,
        &specs,
        &scale.selector,
        &context,
        &observation.samples,
        &mut decision,
        sink,
    ) else {
        return decision;
    };
    let proposed = proposed.max(0);
    let reason = match limits::direction(current, proposed) {
        Some(Direction::Up) => Cow::Owned(format!("{name} above target")),
        Some(Direction::Down) => Cow::Borrowed("All metrics below target"),
        None => Cow::Borrowed(""),
    };
    let desired = match rules_of(hpa, settings) {
        None => normalize(current, proposed, bounds, history, settings, now, &mut decision, sink),
        Some([up, down]) => normalize_behavior(
            current,
            proposed,
            bounds,
            [&up, &down],
            history,
            now,
            &mut decision,
            sink,
        ),
    };
    settle(&mut decision, desired, reason, sink);
    decision
}

fn no_scale(hpa: &HorizontalPodAutoscaler, error: &str) -> Decision {
    let status = hpa.status.as_ref();
    let mut decision = Decision::new(status.and_then(|status| status.current_replicas).unwrap_or_default());
    decision.desired_replicas = status.map_or(0, |status| status.desired_replicas);
    decision.scale_read = false;
    decision.decided = false;
    decision.conditions.able_to_scale = Some(Condition::new(
        false,
        "FailedGetScale",
        format!("the HPA controller was unable to get the target's current scale: {error}"),
    ));
    decision.events.push(EventNote {
        warning: true,
        reason: "FailedGetScale",
        message: error.to_owned(),
    });
    decision.error = Some(format!("failed to query scale subresource: {error}"));
    decision
}

fn settle(decision: &mut Decision, desired: i32, reason: Cow<'static, str>, sink: &mut impl Sink) {
    sink.record(|| Step::Outcome {
        from: decision.current_replicas,
        to: desired,
    });
    decision.desired_replicas = desired;
    if desired != decision.current_replicas {
        decision.rescale = Some(Rescale {
            replicas: desired,
            reason,
        });
    }
}

/// The largest proposal of the metrics and the name of its metric; `None` when nothing can be decided, with the
/// conditions, events and error already set.
fn propose<'a>(
    hpa: &HorizontalPodAutoscaler,
    specs: &'a [MetricSpec],
    selector: &Selector,
    context: &Context<'_>,
    samples: &Samples,
    decision: &mut Decision,
    sink: &mut impl Sink,
) -> Option<(i32, Name<'a>)> {
    if let Some((event, reason, event_message, message)) = selector_error(selector) {
        decision.conditions.scaling_active = Some(Condition::new(false, reason, message));
        decision.events.push(EventNote {
            warning: true,
            reason: event,
            message: event_message.clone(),
        });
        return undecided(decision, &event_message);
    }
    let namespace = hpa.metadata.namespace.as_deref().unwrap_or_default();
    let (mut replicas, mut chosen, mut failed, mut first_error) = (0, None, 0_usize, None);
    decision.metrics.reserve_exact(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        sink.record(|| Step::Metric {
            index,
            name: Name(spec).to_string(),
        });
        match metrics::evaluate(spec, namespace, context, samples, sink) {
            Ok(proposal) => {
                if replicas == 0 || proposal.replicas > replicas {
                    replicas = proposal.replicas;
                    chosen = Some(index);
                }
                decision.metrics.push(Some(proposal));
            }
            Err(error) => {
                sink.record(|| Step::Failed {
                    index,
                    reason: error.reason,
                    error: error.error.clone(),
                });
                decision.events.push(EventNote {
                    warning: true,
                    reason: error.reason,
                    message: error.error.clone(),
                });
                decision.metrics.push(None);
                failed += 1;
                first_error.get_or_insert(error);
            }
        }
    }
    if let Some(error) = first_error {
        let all = format!(
            "invalid metrics ({failed} invalid out of {}), first error is: {}",
            specs.len(),
            error.wrapped
        );
        if failed >= specs.len() || replicas < context.spec_replicas {
            let proposed = chosen.map(|_| replicas);
            sink.record(|| Step::Undecided {
                metrics: specs.len(),
                failed,
                proposed,
            });
            decision.conditions.scaling_active = Some(Condition::new(
                false,
                error.reason,
                format!("the HPA was unable to compute the replica count: {}", error.error),
            ));
            return undecided(decision, &all);
        }
        decision.error = Some(all);
    }
    // An entry exists: with none at all the API's default metric was put in.
    let name = Name(&specs[chosen.unwrap_or_default()]);
    sink.record(|| Step::Chosen {
        name: name.to_string(),
        replicas,
        metrics: specs.len(),
        failed,
    });
    decision.conditions.scaling_active = Some(Condition::new(
        true,
        "ValidMetricFound",
        format!("the HPA was able to successfully calculate a replica count from {name}"),
    ));
    Some((replicas, name))
}

fn undecided<T>(decision: &mut Decision, error: &str) -> Option<T> {
    decision.events.push(EventNote {
        warning: true,
        reason: "FailedComputeMetricsReplicas",
        message: error.to_owned(),
    });
    decision.error = Some(format!(
        "failed to compute desired number of replicas based on listed metrics: {error}"
    ));
    decision.metrics = Vec::<Option<Proposal>>::new();
    decision.decided = false;
    None
}

/// Event reason, condition reason, event message and condition message of a selector that cannot be used.
fn selector_error(selector: &Selector) -> Option<(&'static str, &'static str, String, String)> {
    match selector {
        Selector::Valid => None,
        Selector::Missing => Some((
            "SelectorRequired",
            "InvalidSelector",
            "selector is required".to_owned(),
            "the HPA target's scale is missing a selector".to_owned(),
        )),
        Selector::Invalid(error) => {
            let message = format!("couldn't convert selector into a corresponding internal selector object: {error}");
            Some(("InvalidSelector", "InvalidSelector", message.clone(), message))
        }
        Selector::Ambiguous { selector, autoscalers } => {
            let autoscalers = autoscalers.join(" ");
            let message = format!("pods by selector {selector} are controlled by multiple HPAs: [{autoscalers}]");
            Some(("AmbiguousSelector", "AmbiguousSelector", message.clone(), message))
        }
    }
}

const LOWER: &str = "recent recommendations were lower than current one, applying the lowest recent recommendation";
const HIGHER: &str = "recent recommendations were higher than current one, applying the highest recent recommendation";

fn ready_for_new_scale() -> Condition {
    Condition::new(true, "ReadyForNewScale", "recommended size matches current size")
}

fn limited(decision: &mut Decision, wanted: i32, (replicas, limit): (i32, Limit), sink: &mut impl Sink) -> i32 {
    if replicas != wanted {
        sink.record(|| Step::Limit {
            reason: limit.reason(),
            wanted,
            replicas,
        });
    }
    decision.conditions.scaling_limited = Some(Condition::new(replicas != wanted, limit.reason(), limit.message()));
    replicas
}

#[allow(clippy::too_many_arguments)] // one call site; the arguments are the rule's own
fn normalize(
    current: i32,
    proposed: i32,
    bounds: Bounds,
    history: &mut History,
    settings: &Settings,
    now: Timestamp,
    decision: &mut Decision,
    sink: &mut impl Sink,
) -> i32 {
    let window_seconds = settings.downscale_stabilization.as_secs();
    let recent = if sink.on() {
        history.recent(window_seconds, true, now)
    } else {
        Vec::new()
    };
    let stabilized = history.stabilize_down(proposed, settings.downscale_stabilization, now);
    decision.conditions.able_to_scale = Some(if stabilized == proposed {
        ready_for_new_scale()
    } else {
        sink.record(|| Step::Stabilize {
            direction: Direction::Down,
            window_seconds,
            recent,
            proposed,
            replicas: stabilized,
        });
        Condition::new(true, "ScaleDownStabilized", HIGHER)
    });
    let result = limit_plain(current, stabilized, bounds, settings);
    if result.1 == Limit::ScaleUpLimit {
        sink.record(|| Step::FixedRate {
            limit: plain_rate(current, settings),
        });
    }
    limited(decision, stabilized, result, sink)
}

#[allow(clippy::too_many_arguments)] // one call site; the arguments are the rule's own
fn normalize_behavior(
    current: i32,
    proposed: i32,
    bounds: Bounds,
    [up, down]: [&Rules<'_>; 2],
    history: &mut History,
    now: Timestamp,
    decision: &mut Decision,
    sink: &mut impl Sink,
) -> i32 {
    let recent = if sink.on() {
        [up, down].map(|rules| history.recent(rules.stabilization_seconds, false, now))
    } else {
        [Vec::new(), Vec::new()]
    };
    let stabilized = history.stabilize(current, proposed, up, down, now);
    decision.conditions.able_to_scale = Some(if stabilized.replicas == proposed {
        ready_for_new_scale()
    } else {
        let [recent_up, recent_down] = recent;
        let (rules, recent, reason, message) = match stabilized.towards {
            Direction::Up => (up, recent_up, "ScaleUpStabilized", LOWER),
            Direction::Down => (down, recent_down, "ScaleDownStabilized", HIGHER),
        };
        sink.record(|| Step::Stabilize {
            direction: stabilized.towards,
            window_seconds: rules.stabilization_seconds,
            recent,
            proposed,
            replicas: stabilized.replicas,
        });
        Condition::new(true, reason, message)
    });
    let result = limit_behavior_traced(current, stabilized.replicas, bounds, up, down, history, now, sink);
    limited(decision, stabilized.replicas, result, sink)
}
