//! The audience and its phases.

use std::time::Duration;

use crate::{
    rules::{Broken, Cluster::Cel, Rule, each, repeated},
    scenario::ScenarioSpec,
    source::shown,
};

pub(super) const RULES: &[Rule<ScenarioSpec>] = &[
    Rule {
        at: "spec.audience.phases",
        cluster: Cel("self.all(a, self.exists_one(b, b.name == a.name))"),
        message: "names of phases must be unique",
        check: |scenario| repeated(&scenario.audience.phases, "spec.audience.phases", |phase| &phase.name),
    },
    Rule {
        at: "spec.audience.networks",
        cluster: Cel("self.all(a, self.exists_one(b, b.name == a.name))"),
        message: "names of networks must be unique",
        check: |scenario| {
            repeated(&scenario.audience.networks, "spec.audience.networks", |network| {
                &network.name
            })
        },
    },
    Rule {
        at: "spec.audience.regions",
        cluster: Cel("self.all(a, self.exists_one(b, b.region == a.region))"),
        message: "a region's share can be stated once",
        check: |scenario| {
            let shares = &scenario.audience.regions;
            let again = shares
                .iter()
                .enumerate()
                .filter(|(index, share)| shares[..*index].iter().any(|other| other.region == share.region));
            again
                .map(|(index, share)| {
                    let detail = format!("`{}` is there already", shown(&share.region));
                    Broken::because(format!("spec.audience.regions[{index}].region"), detail)
                        .reading("spec.audience.regions", "region")
                })
                .collect()
        },
    },
    Rule {
        at: "spec.audience.phases[].duration",
        cluster: Cel("duration(self) > duration('0s')"),
        message: "a phase must last longer than 0s",
        check: |scenario| {
            each(
                &scenario.audience.phases,
                "spec.audience.phases",
                ".duration",
                |phase| phase.duration.0 == Duration::ZERO,
            )
        },
    },
    Rule {
        at: "spec.faults",
        cluster: Cel("self.all(a, self.exists_one(b, b.name == a.name))"),
        message: "names of faults must be unique",
        check: |scenario| repeated(&scenario.faults, "spec.faults", |fault| &fault.name),
    },
    Rule {
        at: "spec.gates",
        cluster: Cel("self.all(a, self.exists_one(b, b.name == a.name))"),
        message: "names of gates must be unique",
        check: |scenario| repeated(&scenario.gates, "spec.gates", |gate| &gate.name),
    },
];
