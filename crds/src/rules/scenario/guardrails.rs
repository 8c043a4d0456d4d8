//! Guardrails: figures that make sense.

use std::time::Duration;

use crate::{
    rules::{Broken, Cluster::Cel, Rule, each},
    scenario::{Guardrails, ScenarioSpec},
};

/// Shortest window: viewers report once a second.
const SHORTEST: Duration = Duration::from_secs(10);
/// Longest window: what is kept for it is bounded.
const LONGEST: Duration = Duration::from_secs(600);

pub(super) const RULES: &[Rule<ScenarioSpec>] = &[
    Rule {
        at: "spec",
        // In whole seconds, since CEL sums no durations everywhere.
        cluster: Cel(
            "self.audience.phases.map(p, duration(p.duration).getSeconds()).sum() + 120 <= \
             duration(self.guardrails.maxDuration).getSeconds()",
        ),
        message: "guardrails.maxDuration holds all phases and two minutes for taking faults back",
        check: |scenario| {
            let phases = &scenario.audience.phases;
            let length: u64 = phases.iter().map(|phase| phase.duration.0.as_secs()).sum();
            let longest = scenario.guardrails.max_duration;
            if length + Guardrails::UNDO.0.as_secs() <= longest.0.as_secs() {
                return Vec::new();
            }
            let detail = format!("the phases take {length} s, maxDuration is {longest}");
            vec![Broken {
                // A default is in no file: what it clashes with is.
                reads: Some("spec".into()),
                ..Broken::because("spec.guardrails.maxDuration", detail)
            }]
        },
    },
    Rule {
        at: "spec.guardrails.stopWhen[].window",
        cluster: Cel("duration(self) >= duration('10s') && duration(self) <= duration('10m')"),
        message: "a window is from 10s to 10m",
        check: |scenario| {
            let conditions = &scenario.guardrails.stop_when;
            each(conditions, "spec.guardrails.stopWhen", ".window", |condition| {
                !(SHORTEST..=LONGEST).contains(&condition.window.0)
            })
        },
    },
    Rule {
        at: "spec.guardrails.stopWhen[].above",
        cluster: Cel("self >= 0.0 && self < 1.0"),
        message: "above is a fraction: at least 0 and below 1",
        check: |scenario| {
            let conditions = &scenario.guardrails.stop_when;
            each(conditions, "spec.guardrails.stopWhen", ".above", |condition| {
                !(0.0..1.0).contains(&condition.above)
            })
        },
    },
];
