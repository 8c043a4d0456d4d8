//! Faults: when they happen, and how much of what.

use std::time::Duration;

use super::{begin, unknown};
use crate::{
    platform::Role,
    rules::{
        Broken,
        Cluster::{Cel, Nobody},
        Rule,
    },
    scenario::{Fault, FaultAction, ScenarioSpec},
};

/// Longest latency that is added, in milliseconds: beyond it every client has given up, which is a partition.
const LONGEST_DELAY: u32 = 60_000;

pub(super) const RULES: &[Rule<ScenarioSpec>] = &[
    Rule {
        at: "spec",
        cluster: Cel(
            "!has(self.faults) || self.faults.all(f, self.audience.phases.exists(p, p.name == f.start.phase))",
        ),
        message: "a fault starts in a phase of the audience",
        check: |scenario| {
            let phases = &scenario.audience.phases;
            faults(scenario, |path, fault| {
                let known = phases.iter().any(|phase| phase.name == fault.start.phase);
                let names = phases.iter().map(|phase| &phase.name);
                let detail = || unknown("phase", &fault.start.phase, names);
                (!known).then(|| Broken::because(format!("{path}.start.phase"), detail()))
            })
        },
    },
    Rule {
        at: "spec",
        cluster: Cel(
            "!has(self.faults) || self.faults.all(f, self.audience.phases.all(p, p.name != f.start.phase || \
             duration(f.start.after) < duration(p.duration)))",
        ),
        message: "a fault starts before its phase ends",
        check: |scenario| {
            faults(scenario, |path, fault| {
                let phases = &scenario.audience.phases;
                let phase = phases.iter().find(|phase| phase.name == fault.start.phase)?;
                let late = fault.start.after.0 >= phase.duration.0;
                let detail = format!("phase `{}` lasts {}", phase.name, phase.duration);
                late.then(|| Broken::because(format!("{path}.start.after"), detail))
            })
        },
    },
    Rule {
        at: "spec",
        cluster: Nobody("a sum over the phases before one, for each fault, is above what CEL may cost"),
        message: "a fault ends with the last phase at the latest: nobody would see it undone",
        check: |scenario| {
            let phases = &scenario.audience.phases;
            let total: Duration = phases.iter().map(|phase| phase.duration.0).sum();
            faults(scenario, |path, fault| {
                let late = begin(phases, fault)? + fault.duration.0 > total;
                late.then(|| format!("{path}.duration").into())
            })
        },
    },
    Rule {
        at: "spec.faults[]",
        cluster: Cel(
            "has(self.action.podKill) || has(self.action.cacheFlush) || duration(self.duration) > duration('0s')",
        ),
        message: "the fault must last longer than 0s",
        check: |scenario| {
            faults(scenario, |path, fault| {
                let instant = matches!(
                    fault.action,
                    FaultAction::PodKill { .. } | FaultAction::CacheFlush { .. }
                );
                (!instant && fault.duration.0 == Duration::ZERO).then(|| format!("{path}.duration").into())
            })
        },
    },
    Rule {
        at: "spec.faults[].action.podKill",
        cluster: Cel("!has(self.count) || self.count >= 1"),
        message: "count must be at least 1",
        check: |scenario| {
            faults(scenario, |path, fault| {
                let none = matches!(fault.action, FaultAction::PodKill { count: Some(0), .. });
                none.then(|| format!("{path}.action.podKill.count").into())
            })
        },
    },
    Rule {
        at: "spec.faults[].action.networkDelay.latencyMs",
        cluster: Cel("self <= 60000"),
        message: "latencyMs must be at most 60000",
        check: |scenario| {
            faults(scenario, |path, fault| {
                let long =
                    matches!(fault.action, FaultAction::NetworkDelay { latency_ms, .. } if latency_ms > LONGEST_DELAY);
                long.then(|| format!("{path}.action.networkDelay.latencyMs").into())
            })
        },
    },
    Rule {
        at: "spec.faults[].action.networkDelay",
        cluster: Cel("self.jitterMs <= self.latencyMs"),
        message: "jitterMs must not be more than latencyMs",
        check: |scenario| {
            faults(scenario, |path, fault| {
                let more = matches!(fault.action, FaultAction::NetworkDelay { latency_ms, jitter_ms, .. } if jitter_ms > latency_ms);
                more.then(|| format!("{path}.action.networkDelay.jitterMs").into())
            })
        },
    },
    Rule {
        at: "spec.faults[].action.cacheFlush.role",
        cluster: Cel("self in ['edge', 'shield']"),
        message: "only edge and shield have caches",
        check: |scenario| {
            faults(scenario, |path, fault| {
                let FaultAction::CacheFlush { role, .. } = fault.action else {
                    return None;
                };
                (!matches!(role, Role::Edge | Role::Shield)).then(|| format!("{path}.action.cacheFlush.role").into())
            })
        },
    },
    Rule {
        at: "spec.faults[].action.serviceBrownOut.latencyMs",
        cluster: Cel("self <= 60000"),
        message: "latencyMs must be at most 60000",
        check: |scenario| {
            faults(scenario, |path, fault| {
                let long = matches!(fault.action, FaultAction::ServiceBrownOut { latency_ms, .. } if latency_ms > LONGEST_DELAY);
                long.then(|| format!("{path}.action.serviceBrownOut.latencyMs").into())
            })
        },
    },
    Rule {
        at: "spec.faults[].action.serviceBrownOut.lossPercent",
        cluster: Cel("self <= 100"),
        message: "lossPercent must be at most 100",
        check: |scenario| {
            faults(scenario, |path, fault| {
                let more =
                    matches!(fault.action, FaultAction::ServiceBrownOut { loss_percent, .. } if loss_percent > 100);
                more.then(|| format!("{path}.action.serviceBrownOut.lossPercent").into())
            })
        },
    },
];

fn faults(scenario: &ScenarioSpec, find: impl Fn(&str, &Fault) -> Option<Broken>) -> Vec<Broken> {
    let faults = scenario.faults.iter().enumerate();
    faults
        .filter_map(|(index, fault)| find(&format!("spec.faults[{index}]"), fault))
        .collect()
}
