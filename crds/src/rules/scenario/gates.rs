//! Gates: what they refer to, and figures that make sense.

use std::time::Duration;

use super::unknown;
use crate::{
    rules::{Broken, Cluster::Cel, Rule},
    scenario::{FaultAction, Gate, GateCheck, ScenarioSpec, Window},
};

pub(super) const RULES: &[Rule<ScenarioSpec>] = &[
    Rule {
        at: "spec",
        cluster: Cel("self.gates.all(g, !has(g.within) || !has(g.within.phase) || \
             self.audience.phases.exists(p, p.name == g.within.phase))"),
        message: "a gate's window is a phase of the audience",
        check: |scenario| {
            gates(scenario, |path, gate| match &gate.within {
                Some(Window::Phase(name)) => no_phase(scenario, name, format!("{path}.within.phase")),
                _ => None,
            })
        },
    },
    Rule {
        at: "spec",
        cluster: Cel("self.gates.all(g, !has(g.within) || !has(g.within.fault) || \
             has(self.faults) && self.faults.exists(f, f.name == g.within.fault.name))"),
        message: "a gate's window is a fault of the scenario",
        check: |scenario| {
            gates(scenario, |path, gate| match &gate.within {
                Some(Window::Fault { name, .. }) => no_fault(scenario, name, format!("{path}.within.fault.name")),
                _ => None,
            })
        },
    },
    Rule {
        at: "spec.gates[].check.startupTime.percentile",
        cluster: Cel("self > 0.0 && self <= 100.0"),
        message: "a percentile is above 0 and at most 100",
        check: |scenario| {
            gates(scenario, |path, gate| match gate.check {
                GateCheck::StartupTime { percentile, .. } if !(percentile > 0.0 && percentile <= 100.0) => {
                    Some(format!("{path}.check.startupTime.percentile").into())
                }
                _ => None,
            })
        },
    },
    Rule {
        at: "spec.gates[].check.startupTime.below",
        cluster: Cel("duration(self) > duration('0s')"),
        message: "below must be more than 0s",
        check: |scenario| {
            gates(scenario, |path, gate| match gate.check {
                GateCheck::StartupTime { below, .. } if below.0 == Duration::ZERO => {
                    Some(format!("{path}.check.startupTime.below").into())
                }
                _ => None,
            })
        },
    },
    Rule {
        at: "spec.gates[].check.rebufferRatio.belowPercent",
        cluster: Cel("self > 0.0 && self <= 100.0"),
        message: "belowPercent is above 0 and at most 100",
        check: |scenario| {
            gates(scenario, |path, gate| match gate.check {
                GateCheck::RebufferRatio { below_percent } if !(below_percent > 0.0 && below_percent <= 100.0) => {
                    Some(format!("{path}.check.rebufferRatio.belowPercent").into())
                }
                _ => None,
            })
        },
    },
    Rule {
        at: "spec",
        cluster: Cel("self.gates.all(g, !has(g.check.failoverTime) || \
             has(self.faults) && self.faults.exists(f, f.name == g.check.failoverTime.fault))"),
        message: "failoverTime is measured on a fault of the scenario",
        check: |scenario| {
            gates(scenario, |path, gate| match &gate.check {
                GateCheck::FailoverTime { fault, .. } => {
                    no_fault(scenario, fault, format!("{path}.check.failoverTime.fault"))
                }
                _ => None,
            })
        },
    },
    Rule {
        at: "spec",
        cluster: Cel("self.gates.all(g, !has(g.check.failoverTime) || !has(self.faults) || \
             self.faults.all(f, f.name != g.check.failoverTime.fault || has(f.action.regionLoss)))"),
        message: "viewers fail over when a region is lost: name a regionLoss",
        check: |scenario| {
            gates(scenario, |path, gate| {
                let GateCheck::FailoverTime { fault: name, .. } = &gate.check else {
                    return None;
                };
                let fault = scenario.faults.iter().find(|fault| fault.name == *name)?;
                let lost = matches!(fault.action, FaultAction::RegionLoss { .. });
                (!lost).then(|| format!("{path}.check.failoverTime.fault").into())
            })
        },
    },
    Rule {
        at: "spec.gates[].check.failoverTime.within",
        cluster: Cel("duration(self) > duration('0s')"),
        message: "within must be more than 0s",
        check: |scenario| {
            gates(scenario, |path, gate| match gate.check {
                GateCheck::FailoverTime { within, .. } if within.0 == Duration::ZERO => {
                    Some(format!("{path}.check.failoverTime.within").into())
                }
                _ => None,
            })
        },
    },
    Rule {
        at: "spec",
        cluster: Cel("self.gates.all(g, !has(g.check.edgeScaling) || \
             self.audience.phases.exists(p, p.name == g.check.edgeScaling.surge))"),
        message: "edgeScaling.surge is a phase of the audience",
        check: |scenario| {
            gates(scenario, |path, gate| match &gate.check {
                GateCheck::EdgeScaling { surge, .. } => {
                    no_phase(scenario, surge, format!("{path}.check.edgeScaling.surge"))
                }
                _ => None,
            })
        },
    },
    Rule {
        at: "spec.gates[].check.edgeScaling.backToPercent",
        cluster: Cel("self >= 1 && self <= 100"),
        message: "backToPercent is from 1 to 100",
        check: |scenario| {
            gates(scenario, |path, gate| match gate.check {
                GateCheck::EdgeScaling { back_to_percent, .. } if !(1..=100).contains(&back_to_percent) => {
                    Some(format!("{path}.check.edgeScaling.backToPercent").into())
                }
                _ => None,
            })
        },
    },
    Rule {
        at: "spec.gates[].check.segmentHitRatio.abovePercent",
        cluster: Cel("self >= 0.0 && self < 100.0"),
        message: "abovePercent is at least 0 and below 100",
        check: |scenario| {
            gates(scenario, |path, gate| match gate.check {
                GateCheck::SegmentHitRatio { above_percent } if !(0.0..100.0).contains(&above_percent) => {
                    Some(format!("{path}.check.segmentHitRatio.abovePercent").into())
                }
                _ => None,
            })
        },
    },
    Rule {
        at: "spec.gates[].check.originFetches.atMostPerObject",
        cluster: Cel("self >= 1"),
        message: "atMostPerObject must be at least 1",
        check: |scenario| {
            gates(scenario, |path, gate| match gate.check {
                GateCheck::OriginFetches { at_most_per_object: 0 } => {
                    Some(format!("{path}.check.originFetches.atMostPerObject").into())
                }
                _ => None,
            })
        },
    },
    Rule {
        at: "spec.gates[].check.streamGap.below",
        cluster: Cel("duration(self) > duration('0s')"),
        message: "below must be more than 0s",
        check: |scenario| {
            gates(scenario, |path, gate| match gate.check {
                GateCheck::StreamGap { below } if below.0 == Duration::ZERO => {
                    Some(format!("{path}.check.streamGap.below").into())
                }
                _ => None,
            })
        },
    },
];

fn gates(scenario: &ScenarioSpec, find: impl Fn(&str, &Gate) -> Option<Broken>) -> Vec<Broken> {
    let gates = scenario.gates.iter().enumerate();
    gates
        .filter_map(|(index, gate)| find(&format!("spec.gates[{index}]"), gate))
        .collect()
}

fn no_phase(scenario: &ScenarioSpec, name: &str, path: String) -> Option<Broken> {
    let names = scenario.audience.phases.iter().map(|phase| &phase.name);
    let known = names.clone().any(|known| known == name);
    (!known).then(|| Broken::because(path, unknown("phase", name, names)))
}

fn no_fault(scenario: &ScenarioSpec, name: &str, path: String) -> Option<Broken> {
    let names = scenario.faults.iter().map(|fault| &fault.name);
    let known = names.clone().any(|known| known == name);
    (!known).then(|| Broken::because(path, unknown("fault", name, names)))
}
