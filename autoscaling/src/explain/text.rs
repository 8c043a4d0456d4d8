//! The explanation as text.

use std::fmt::Write as _;

use super::{Explanation, Projected, Severity, chart};
use crate::hpa::{Action, Direction, Group, Kept, PolicyKind, Select, SetAside, Step};
use crate::quantity::format_milli;

const WIDTH: usize = 100;

pub(super) fn render(explanation: &Explanation) -> String {
    let mut out = String::new();
    let decision = &explanation.decision;
    let (current, desired) = (decision.current, decision.desired);
    let verdict = match (decision.action, &decision.error) {
        (Action::ScaleUp, _) => format!("scale up from {current} to {desired}"),
        (Action::ScaleDown, _) => format!("scale down from {current} to {desired}"),
        (Action::None, Some(_)) => format!("stay at {current}, because nothing could be decided"),
        (Action::None, None) => format!("stay at {current}"),
    };
    let reason = decision.reason.as_deref().filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    line(
        &mut out,
        0,
        &format!(
            "{} scales {} between {} and {} replicas. At {} it decides: {verdict}{reason}.",
            explanation.autoscaler, explanation.target, decision.min, decision.max, explanation.at
        ),
    );
    if !explanation.findings.is_empty() {
        out.push_str("\nWhat stands out\n");
    }
    for finding in &explanation.findings {
        let mark = match finding.severity {
            Severity::Problem => "✗",
            Severity::Warning => "!",
            Severity::Note => "·",
        };
        line(&mut out, 2, &format!("{mark} {}", finding.what));
        if let Some(action) = &finding.action {
            line(&mut out, 6, &format!("→ {action}"));
        }
    }
    out.push_str("\nHow it was decided\n");
    for step in &explanation.trace.steps {
        let indent = if inside_a_metric(step) { 6 } else { 2 };
        line(&mut out, indent, &format!("- {}", describe(step)));
    }
    out.push_str("\nConditions\n");
    for named in &explanation.conditions {
        let status = if named.condition.status { "True" } else { "False" };
        let text = format!(
            "{} {status} {}: {}",
            named.type_, named.condition.reason, named.condition.message
        );
        line(&mut out, 2, &text);
    }
    if let Some(projected) = &explanation.projection {
        out.push('\n');
        render_projection(&mut out, projected);
    }
    out
}

fn inside_a_metric(step: &Step) -> bool {
    matches!(
        step,
        Step::Pods { .. }
            | Step::Utilization { .. }
            | Step::Usage { .. }
            | Step::Assumed { .. }
            | Step::Keep { .. }
            | Step::Propose { .. }
            | Step::Failed { .. }
    )
}

fn render_projection(out: &mut String, projected: &Projected) {
    let (ramp, projection) = (&projected.ramp, &projected.projection);
    let title = format!(
        "Projection: from {} viewers, {:+} a second for {:#}",
        ramp.initial, ramp.per_second, ramp.rises_for
    );
    line(out, 0, &title);
    let model = &projected.model;
    let assumed = format!(
        "Assumed: a replica uses all it requests at {} viewers and is ready {:#} after its creation; {} % headroom is \
         wanted.{}",
        model.capacity.viewers_per_replica,
        model.start,
        model.capacity.headroom_percent,
        if projected.assumes_mended {
            " What keeps the metric from being read is mended first: until then the size does not move."
        } else {
            ""
        }
    );
    line(out, 0, &assumed);
    out.push_str(&chart(projection));
    let verdict = match (projection.short_from, projection.short_until) {
        (Some(from), Some(until)) if projection.worst_unserved == 0 => format!(
            "Ready replicas fall short of the headroom from {} to {}; every viewer is served.",
            clock(from),
            clock(until)
        ),
        (Some(from), Some(until)) => format!(
            "Ready replicas fall short of the audience from {} to {}; at worst {} viewers are beyond what the ready \
             replicas carry.",
            clock(from),
            clock(until),
            projection.worst_unserved
        ),
        _ => "Ready replicas keep up with the audience throughout.".to_owned(),
    };
    line(out, 0, &verdict);
}

pub(super) fn clock(seconds: i64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// One line, wrapped at [`WIDTH`], continuation lines two columns further in.
fn line(out: &mut String, indent: usize, text: &str) {
    let mut column = indent;
    let _ = write!(out, "{:indent$}", "");
    for (at, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if at > 0 && column + 1 + width > WIDTH {
            column = indent + 2;
            let _ = write!(out, "\n{:column$}", "");
        } else if at > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}

fn ratio(ratio: f64) -> String {
    format!("{ratio:.3}")
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}

/// One rule of a trace as a sentence.
pub fn describe(step: &Step) -> String {
    match step {
        Step::Target {
            spec_replicas,
            status_replicas,
            min,
            max,
        } => format!(
            "The target asks for {spec_replicas} replicas and has {status_replicas}; the bounds are {min} and {max}."
        ),
        Step::NoScale { error } => format!("The target's scale could not be read: {error}."),
        Step::Disabled => "The target has 0 replicas and minReplicas is not 0: autoscaling is switched off.".to_owned(),
        Step::OutOfBounds { current, bound } => {
            format!("{current} is outside the bounds: it becomes {bound}, and no metric is looked at.")
        }
        Step::Metric { index, name } => format!("Metric {}: {name}.", index + 1),
        Step::Pods {
            total,
            ready,
            set_aside,
            superfluous,
        } => describe_pods(*total, *ready, set_aside, *superfluous),
        Step::Utilization {
            usage_m,
            requests_m,
            percent,
            target,
            ratio: value,
        } => format!(
            "They use {} of {} requested: {percent} % (truncated), target {target} %, ratio {}.",
            format_milli(*usage_m),
            format_milli(*requests_m),
            ratio(*value)
        ),
        Step::Usage {
            value_m,
            target_m,
            ratio: value,
        } => format!(
            "The value is {}, the target {}, the ratio {}.",
            format_milli(*value_m),
            format_milli(*target_m),
            ratio(*value)
        ),
        Step::Assumed {
            of,
            pods,
            percent,
            ratio: value,
        } => format!(
            "{pods} {of} pods are taken to use {percent} %, so that doubt does not move the size: the ratio becomes {}.",
            ratio(*value)
        ),
        Step::Keep {
            why,
            ratio: value,
            low,
            high,
            replicas,
        } => match why {
            Kept::WithinTolerance => format!(
                "{} is within tolerance ({low:.2} to {high:.2}): the metric keeps {replicas}.",
                ratio(*value)
            ),
            Kept::RatioTurned => {
                format!("The assumptions turn the ratio to the other side of 1: the metric keeps {replicas}.")
            }
            Kept::SizeTurned => {
                format!("The assumptions would move the size against the ratio: the metric keeps {replicas}.")
            }
        },
        Step::Propose {
            ratio: value,
            pods,
            replicas,
        } => {
            format!("It asks for ⌈{} × {pods}⌉ = {replicas}.", ratio(*value))
        }
        Step::Failed { reason, error, .. } => format!("It fails ({reason}): {error}."),
        Step::Chosen {
            name,
            replicas,
            metrics,
            failed,
        } => {
            let failures = if *failed > 0 {
                format!(", {failed} failed")
            } else {
                String::new()
            };
            format!("The largest of {metrics} metrics counts{failures}: {replicas}, from {name}.")
        }
        Step::Undecided {
            metrics,
            failed,
            proposed,
        } => match proposed {
            Some(proposed) => format!(
                "{failed} of {metrics} metrics failed and the rest would scale down to {proposed}: nothing is decided."
            ),
            None if *metrics == 1 => "The only metric failed: nothing is decided.".to_owned(),
            None => format!("All {metrics} metrics failed: nothing is decided."),
        },
        Step::Stabilize {
            direction: towards,
            window_seconds,
            recent,
            proposed,
            replicas,
        } => format!(
            "{proposed} is held back: of the recommendations of the last {window_seconds} s ({}) the {} counts on the way \
             {}, so {replicas}.",
            list(recent),
            if *towards == Direction::Up { "lowest" } else { "highest" },
            direction(*towards)
        ),
        Step::Rate {
            direction: towards,
            select,
            policies,
            limit,
        } => {
            let policies = policies.iter().map(|policy| {
                let unit = match policy.kind {
                    PolicyKind::Pods => " pods",
                    PolicyKind::Percent => " %",
                    PolicyKind::Unknown => " (unknown type)",
                };
                let (value, period) = (policy.value, policy.period_seconds);
                let used = if policy.added != 0 || policy.removed != 0 {
                    format!(" (already +{} −{})", policy.added, policy.removed)
                } else {
                    String::new()
                };
                format!("{value}{unit} in {period} s{used} allows {}", policy.allows)
            });
            let policies = policies.collect::<Vec<_>>().join("; ");
            match select {
                Select::Disabled => format!("Scaling {} is disabled.", direction(*towards)),
                Select::Max | Select::Min => {
                    format!(
                        "Rate {} ({select:?} of the policies): {policies}. Limit {limit}.",
                        direction(*towards)
                    )
                }
            }
        }
        Step::FixedRate { limit } => {
            format!("Without behavior a size may double at once, or reach 4: limit {limit}.")
        }
        Step::Limit {
            reason,
            wanted,
            replicas,
        } => format!("{wanted} becomes {replicas} ({reason})."),
        Step::Outcome { from, to } if from == to => format!("The size stays {to}."),
        Step::Outcome { from, to } => format!("The size goes from {from} to {to}."),
    }
}

fn list(values: &[i32]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    if values.is_empty() {
        "none".to_owned()
    } else {
        values.join(", ")
    }
}

/// Names shown for each group; the rest are counted.
const NAMED: usize = 3;

fn describe_pods(total: usize, ready: i64, set_aside: &[SetAside], superfluous: i64) -> String {
    let mut text = format!("Of {total} pods {ready} count with their sample");
    let mut seen: Vec<Group> = Vec::new();
    for SetAside { group, .. } in set_aside {
        if seen.contains(group) {
            continue;
        }
        seen.push(*group);
        let names: Vec<&str> = set_aside
            .iter()
            .filter(|other| other.group == *group)
            .map(|other| other.pod.as_str())
            .collect();
        let more = if names.len() > NAMED {
            format!(" and {} more", names.len() - NAMED)
        } else {
            String::new()
        };
        let _ = write!(
            text,
            "; {} {}: {}{more}",
            names.len(),
            why(*group),
            names[..names.len().min(NAMED)].join(", ")
        );
    }
    if superfluous > 0 {
        let _ = write!(text, "; {superfluous} samples are of pods not under the selector");
    }
    text.push('.');
    text
}

pub(super) fn why(group: Group) -> &'static str {
    match group {
        Group::Ready => "ready",
        Group::Deleting => "being deleted (ignored)",
        Group::Failed => "failed (ignored)",
        Group::Pending => "pending (unready)",
        Group::Missing => "without a sample (missing)",
        Group::NoReadiness => "without a Ready condition or start time (unready)",
        Group::InitializingUnready => "still initialising and not ready (unready)",
        Group::InitializingStaleSample => "still initialising, sampled before they were ready (unready)",
        Group::NeverReady => "never ready since their start (unready)",
    }
}
