//! What stands out in an evaluation, and what to do about it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::HPAScalingRules;
use serde::Serialize;

use super::text::clock;
use super::{Inputs, Projected};
use crate::hpa::{Action, Decision, Direction, Group, Kept, Select, Settings, Step, Trace, evaluate};
use crate::quantity::format_milli;

/// How urgent a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The autoscaler does not do its work.
    Problem,
    /// It does, but not as its owner is likely to want.
    Warning,
    /// Worth knowing.
    Note,
}

/// One thing that stands out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable name for programs.
    pub id: &'static str,
    /// How urgent it is.
    pub severity: Severity,
    /// What is so.
    pub what: String,
    /// What to do, if anything.
    pub action: Option<String>,
}

impl Finding {
    fn new(id: &'static str, severity: Severity, what: String, action: impl Into<Option<String>>) -> Self {
        Self {
            id,
            severity,
            what,
            action: action.into(),
        }
    }
}

/// The steps of one metric's turn that a finding may need.
#[derive(Clone, Copy, Default)]
struct Turn<'a> {
    name: &'a str,
    ready: i64,
    utilization: Option<(i32, i32)>,
    usage: Option<(i64, i64)>,
}

pub(super) fn find(
    inputs: &Inputs,
    decision: &Decision,
    trace: &Trace,
    settings: &Settings,
    projection: Option<&Projected>,
    now: Timestamp,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut turn = Turn::default();
    for step in &trace.steps {
        match step {
            Step::Metric { name, .. } => {
                turn = Turn {
                    name,
                    ..Turn::default()
                }
            }
            Step::Pods { ready, .. } => turn.ready = *ready,
            Step::Utilization { percent, target, .. } => turn.utilization = Some((*percent, *target)),
            Step::Usage { value_m, target_m, .. } => turn.usage = Some((*value_m, *target_m)),
            _ => {}
        }
        findings.extend(from_step(step, &turn, inputs, settings, now));
    }
    findings.extend(unsettled_scale_down(inputs, decision, settings, now));
    findings.extend(unknown_memory(inputs, decision, settings));
    findings.extend(slow_scale_up(inputs));
    findings.extend(projection.and_then(shortage));
    findings.sort_by_key(|finding| finding.severity);
    findings.dedup_by_key(|finding| (finding.id, finding.what.clone()));
    findings
}

fn from_step(step: &Step, turn: &Turn<'_>, inputs: &Inputs, settings: &Settings, now: Timestamp) -> Option<Finding> {
    use Severity::{Note, Problem, Warning};
    match step {
        Step::NoScale { error } => Some(Finding::new(
            "no-scale",
            Problem,
            format!("The size of the target cannot be read: {error}."),
            "Check scaleTargetRef (apiVersion, kind, name) and that the kind has a scale subresource.".to_owned(),
        )),
        Step::Disabled => Some(Finding::new(
            "disabled",
            Problem,
            "The target has 0 replicas: autoscaling is switched off until somebody scales it up by hand.".to_owned(),
            "Scale the target to at least minReplicas, or allow 0 with minReplicas: 0 and an Object or External metric."
                .to_owned(),
        )),
        Step::Failed { error, index, .. } => Some(failed(error, *index, turn, inputs)),
        Step::Keep { why: Kept::WithinTolerance, ratio, high, .. } if *ratio > 1.0 => {
            Some(within_tolerance(turn, *ratio, *high, settings))
        }
        Step::Pods { set_aside, .. } => {
            let pending = set_aside.iter().filter(|aside| aside.group == Group::Pending).count();
            (pending > 0).then(|| {
                Finding::new(
                    "pending-pods",
                    Warning,
                    format!("{pending} pods are pending: replicas that were asked for have no place to run yet."),
                    "See their events (kubectl describe pod): most often nodes are missing or a quota is used up."
                        .to_owned(),
                )
            })
        }
        Step::Limit { reason: "TooManyReplicas", wanted, replicas } => Some(Finding::new(
            "at-maximum",
            Problem,
            format!("The load asks for {wanted} replicas, but maxReplicas is {replicas}."),
            format!("Raise maxReplicas to {wanted} or more, if the cluster can hold them."),
        )),
        Step::Limit { reason: "ScaleUpLimit", wanted, replicas } => Some(Finding::new(
            "rate-limited",
            Warning,
            format!("The load asks for {wanted} replicas; the rate of growth allows {replicas} now, more later."),
            "Allow faster growth in behavior.scaleUp.policies, or raise minReplicas before the audience comes.".to_owned(),
        )),
        Step::Rate { select: Select::Disabled, direction, .. } => Some(Finding::new(
            "direction-disabled",
            Warning,
            format!("Scaling {} is disabled by behavior.", if *direction == Direction::Up { "up" } else { "down" }),
            "Remove selectPolicy: Disabled once it is wanted again.".to_owned(),
        )),
        Step::Stabilize { direction: Direction::Down, window_seconds, proposed, replicas, .. } => {
            let until = held_until(inputs, *window_seconds, *proposed, now)?;
            Some(Finding::new(
                "held-by-window",
                Note,
                format!(
                    "{proposed} replicas would do, but {replicas} were needed within the last {window_seconds} s: the \
                     size is held until {until} at the earliest."
                ),
                None,
            ))
        }
        _ => None,
    }
}

fn held_until(inputs: &Inputs, window_seconds: i64, proposed: i32, now: Timestamp) -> Option<Timestamp> {
    let past = inputs.history.recommendations.iter().flatten();
    let newest = past
        .filter(|past| past.replicas > proposed)
        .map(|past| past.at)
        .max()
        .unwrap_or(now);
    newest.checked_add(SignedDuration::from_secs(window_seconds)).ok()
}

/// The containers that set no request for `resource`.
fn without_request(inputs: &Inputs, resource: &str) -> BTreeSet<String> {
    inputs
        .observation
        .pods
        .iter()
        .flat_map(|pod| &pod.containers)
        .filter(|container| !container.requests.contains_key(resource))
        .map(|container| container.name.clone())
        .collect()
}

fn failed(error: &str, index: usize, turn: &Turn<'_>, inputs: &Inputs) -> Finding {
    let target = &inputs.hpa.spec.scale_target_ref;
    let metric = inputs.hpa.spec.metrics.as_ref().and_then(|metrics| metrics.get(index));
    let resource = metric.and_then(|metric| {
        let resource = metric.resource.as_ref().map(|source| source.name.as_str());
        resource.or_else(|| metric.container_resource.as_ref().map(|source| source.name.as_str()))
    });
    let resource = resource.unwrap_or("cpu");
    if error.contains("missing request for") || error.contains("missing pod-level request") {
        let containers = without_request(inputs, resource);
        let names = containers.iter().cloned().collect::<Vec<_>>().join(", ");
        let measured = inputs.observation.pods.iter().flat_map(|pod| &pod.containers);
        let other = measured
            .map(|container| &container.name)
            .find(|name| !containers.contains(*name));
        let instead = other.map_or_else(String::new, |name| {
            format!(" Or measure one container alone: a ContainerResource metric for {name:?}, which has a request.")
        });
        return Finding::new(
            "missing-request",
            Severity::Problem,
            format!(
                "Container {names} sets no {resource} request, so usage is a percentage of nothing: the autoscaler moves \
                 neither up nor down, whatever the load."
            ),
            format!(
                "Set resources.requests.{resource} for {names} in {}/{} (injected sidecars too).{instead}",
                target.kind, target.name
            ),
        );
    }
    if error.contains("no metrics returned from resource metrics API") {
        return Finding::new(
            "no-samples",
            Severity::Problem,
            format!("The metrics API knows no {resource} sample of the target's pods."),
            "Check `kubectl top pods` and metrics-server; new pods get their first sample after about a minute."
                .to_owned(),
        );
    }
    if error.contains("did not receive metrics for targeted pods") {
        return Finding::new(
            "none-ready",
            Severity::Problem,
            "Samples there are, but none of a pod that is ready: nothing can be concluded from them.".to_owned(),
            "Find out why the pods do not become ready: readiness probe, crash loop, slow start.".to_owned(),
        );
    }
    Finding::new(
        "metric-failed",
        Severity::Problem,
        format!("The metric {} cannot be read: {error}.", turn.name),
        "Check the adapter that serves this metric, and its name and selector in the autoscaler.".to_owned(),
    )
}

fn within_tolerance(turn: &Turn<'_>, ratio: f64, high: f64, settings: &Settings) -> Finding {
    let tolerance = ((ratio - 1.0) * 100.0 - 1e-9).floor().max(0.0) / 100.0;
    let later =
        "If the audience comes faster than pods start, no target is low enough: raise minReplicas before it comes.";
    let gate = if settings.configurable_tolerance {
        ""
    } else {
        " (feature gate HPAConfigurableTolerance)"
    };
    let (what, target) = match (turn.utilization, turn.usage) {
        (Some((percent, target)), _) => {
            // The first whole percentage outside the tolerance: utilisation has no fractions.
            let acts = (percent..=i32::MAX)
                .find(|percent| f64::from(*percent) / f64::from(target) > high)
                .unwrap_or(percent);
            let then = (f64::from(acts) / f64::from(target) * turn.ready as f64).ceil();
            let lower = (1..target)
                .rev()
                .find(|target| f64::from(percent) / f64::from(*target) > high);
            let lower = lower
                .map(|lower| format!("set averageUtilization to {lower} or less"))
                .unwrap_or_default();
            let what = format!(
                "{} is at {percent} %, above its target of {target} %, yet nothing happens: the tolerance holds the size \
                 until {acts} %, when it becomes {then}.",
                turn.name
            );
            (what, lower)
        }
        (None, usage) => {
            let (value, target) = usage.unwrap_or_default();
            let what = format!(
                "{} is {}, above its target of {} (ratio {ratio:.3}), yet nothing happens: the tolerance holds the size \
                 until the ratio exceeds {high:.2}.",
                turn.name,
                format_milli(value),
                format_milli(target)
            );
            (what, "lower the target".to_owned())
        }
    };
    Finding::new(
        "within-tolerance",
        Severity::Warning,
        what,
        format!("To act at this load, {target}, or behavior.scaleUp.tolerance to {tolerance:.2}{gate}. {later}"),
    )
}

/// A scale-down waits until its window has passed; what was needed within it, only the controller knows.
fn unknown_memory(inputs: &Inputs, decision: &Decision, settings: &Settings) -> Option<Finding> {
    if inputs.remembered || decision.action() != Action::ScaleDown {
        return None;
    }
    let behavior = inputs.hpa.spec.behavior.as_ref();
    let named = behavior.and_then(|behavior| behavior.scale_down.as_ref()?.stabilization_window_seconds);
    let window = named.map_or_else(|| settings.downscale_stabilization.as_secs(), i64::from);
    (window > 0).then(|| {
        Finding::new(
            "memory-unknown",
            Severity::Note,
            format!(
                "The controller scales down only when no more replicas were needed for {window} s. It alone remembers \
                 that, so the change may come up to {window} s later than said here."
            ),
            None,
        )
    })
}

/// Below this many seconds a scale-down window does not outlast an ordinary dip between two samples.
const SHORT_WINDOW: i32 = 60;

fn unsettled_scale_down(inputs: &Inputs, decision: &Decision, settings: &Settings, now: Timestamp) -> Option<Finding> {
    let rules = inputs.hpa.spec.behavior.as_ref()?.scale_down.as_ref()?;
    let window = rules
        .stabilization_window_seconds
        .filter(|window| *window < SHORT_WINDOW)?;
    if rules.select_policy.as_deref() == Some("Disabled") {
        return None;
    }
    let mut past: Vec<_> = inputs.history.recommendations.iter().flatten().collect();
    past.sort_by_key(|past| past.at);
    let sizes: Vec<i32> = past.iter().map(|past| past.replicas).collect();
    let moves: Vec<bool> = sizes
        .windows(2)
        .filter(|pair| pair[0] != pair[1])
        .map(|pair| pair[1] > pair[0])
        .collect();
    let turns = moves.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let flapping = if turns >= 2 {
        let sizes = sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!(" It is flapping: the recent recommendations were {sizes}, turning {turns} times.")
    } else {
        String::new()
    };
    let mut calmer = inputs.hpa.clone();
    if let Some(rules) = calmer
        .spec
        .behavior
        .as_mut()
        .and_then(|behavior| behavior.scale_down.as_mut())
    {
        *rules = HPAScalingRules {
            stabilization_window_seconds: None,
            ..rules.clone()
        };
    }
    let held = evaluate(&calmer, &inputs.observation, &mut inputs.history.clone(), settings, now).desired_replicas;
    let effect = if held == decision.desired_replicas {
        String::new()
    } else {
        format!(
            " The decision now would be {held} instead of {}.",
            decision.desired_replicas
        )
    };
    Some(Finding::new(
        "no-downscale-window",
        if turns >= 2 {
            Severity::Problem
        } else {
            Severity::Warning
        },
        format!(
            "Scale-down has a stabilisation window of {window} s: one low sample removes pods, and they are missing when \
             the load comes back.{flapping}"
        ),
        format!(
            "Remove behavior.scaleDown.stabilizationWindowSeconds: {window}; the default is {} s.{effect}",
            settings.downscale_stabilization.as_secs()
        ),
    ))
}

fn slow_scale_up(inputs: &Inputs) -> Option<Finding> {
    let rules = inputs.hpa.spec.behavior.as_ref()?.scale_up.as_ref()?;
    let window = rules.stabilization_window_seconds.filter(|window| *window > 0)?;
    Some(Finding::new(
        "upscale-window",
        Severity::Warning,
        format!("Scale-up waits until a need has lasted {window} s (behavior.scaleUp.stabilizationWindowSeconds)."),
        "Set it to 0, the default, unless the metric is noisy: a live audience does not wait.".to_owned(),
    ))
}

fn shortage(projected: &Projected) -> Option<Finding> {
    let projection = &projected.projection;
    let (from, until) = (projection.short_from?, projection.short_until?);
    let needed = projection
        .points
        .iter()
        .map(|point| point.needed)
        .max()
        .unwrap_or_default();
    let at_most = projection
        .points
        .iter()
        .map(|point| point.ready)
        .max()
        .unwrap_or_default();
    let (severity, consequence) = match projection.worst_unserved {
        0 => (
            Severity::Warning,
            "the headroom is used up, though every viewer is served".to_owned(),
        ),
        unserved => (Severity::Problem, format!("up to {unserved} viewers go unserved")),
    };
    Some(Finding::new(
        "projected-shortage",
        severity,
        format!(
            "Under the projected ramp ready replicas fall short from {} to {}: {needed} are needed at the peak, {at_most} \
             are ready at most; {consequence}.",
            clock(from),
            clock(until)
        ),
        format!(
            "Raise minReplicas (or schedule a Premiere) so that {needed} replicas are warm before the ramp begins."
        ),
    ))
}
