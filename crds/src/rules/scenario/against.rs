//! A scenario against the platform it is to run on. A definition's rules see one object: none of these can be held by the
//! API server.

use super::{patched, reach, unknown};
use crate::{
    platform::{Role, StreamingPlatformSpec},
    rules::{Broken, Violation},
    scenario::{FaultAction, ScenarioSpec},
};

/// One thing that a scenario asks of a platform.
pub struct Against {
    /// What is said when the platform does not have it.
    pub message: &'static str,
    /// What asks for it in vain.
    pub check: fn(&ScenarioSpec, &StreamingPlatformSpec) -> Vec<Broken>,
}

/// Everything a scenario asks of a platform, after its `platformPatch`.
pub const AGAINST: &[Against] = &[
    Against {
        message: "the audience watches a channel of the platform",
        check: |scenario, platform| {
            let name = &scenario.audience.channel;
            let names = platform.channels.iter().map(|channel| &channel.name);
            if names.clone().any(|known| known == name) {
                vec![]
            } else {
                vec![Broken::because(
                    "spec.audience.channel",
                    unknown("channel", name, names),
                )]
            }
        },
    },
    Against {
        message: "the audience is in regions of the platform",
        check: |scenario, platform| {
            asked(scenario)
                .filter(|asked| asked.path.starts_with("spec.audience."))
                .filter_map(|asked| asked.unknown(platform))
                .collect()
        },
    },
    Against {
        message: "a fault is in a region of the platform",
        check: |scenario, platform| {
            asked(scenario)
                .filter(|asked| asked.path.starts_with("spec.faults["))
                .filter_map(|asked| asked.unknown(platform))
                .collect()
        },
    },
    Against {
        message: "the region must have the role",
        check: |scenario, platform| {
            asked(scenario)
                .filter_map(|asked| asked.without_role(platform))
                .collect()
        },
    },
    Against {
        message: "a region must have the role",
        check: |scenario, platform| {
            targets(scenario)
                .filter(|(_, _, region)| region.is_none())
                .filter(|(_, role, _)| !platform.regions.iter().any(|region| region.roles.contains(role)))
                .map(|(path, role, _)| Broken::because(format!("{path}.role"), format!("none has the role {role}")))
                .collect()
        },
    },
    Against {
        message: "a brown-out is of a service of the platform",
        check: |scenario, platform| {
            let names = platform.services.iter().map(|service| &service.name);
            brown_outs(scenario)
                .filter(|(_, name)| !names.clone().any(|known| known == *name))
                .map(|(path, name)| Broken::because(path, unknown("service", name, names.clone())))
                .collect()
        },
    },
    Against {
        message: "no fault can be injected into a service that is run by others",
        check: |scenario, platform| {
            let others = |name: &str| {
                let mut services = platform.services.iter();
                services.any(|service| service.name == name && service.url.is_some())
            };
            brown_outs(scenario)
                .filter(|(_, name)| others(name))
                .map(|(path, name)| Broken::because(path, format!("`{name}` has a url")))
                .collect()
        },
    },
    Against {
        message: "a region with edges must be left",
        check: reach::last_region,
    },
    Against {
        message: "drills reach pods of the platform's own cluster only",
        check: reach::apart,
    },
];

/// What is said of a `platformPatch` that leaves no platform.
const PATCH: &str = "platformPatch must leave a valid platform";

/// Everything that a scenario asks in vain of a platform that is patched already.
pub(crate) fn against(scenario: &ScenarioSpec, patched: &StreamingPlatformSpec) -> Vec<Violation> {
    // What a scenario refers to is wrong or right whatever else is wrong with it.
    let broken = AGAINST.iter().flat_map(|rule| {
        let broken = (rule.check)(scenario, patched).into_iter();
        broken.map(|broken| Violation::of(rule.message, None, broken))
    });
    broken.collect()
}

pub(super) fn violations(scenario: &ScenarioSpec, platform: &StreamingPlatformSpec) -> Vec<Violation> {
    match patched(platform, scenario.platform_patch.as_ref()) {
        Ok(platform) => against(scenario, &platform),
        Err(error) => vec![Violation::of(
            PATCH,
            None,
            Broken::because("spec.platformPatch", error.to_string()),
        )],
    }
}

/// A region that is named, and the role it is named for.
pub(super) struct Asked<'a> {
    pub(super) path: String,
    pub(super) region: &'a str,
    role: Option<Role>,
}

impl Asked<'_> {
    fn unknown(&self, platform: &StreamingPlatformSpec) -> Option<Broken> {
        let names = platform.regions.iter().map(|region| &region.name);
        let known = names.clone().any(|known| known == self.region);
        (!known).then(|| Broken::because(&self.path, unknown("region", self.region, names)))
    }

    fn without_role(&self, platform: &StreamingPlatformSpec) -> Option<Broken> {
        let region = platform.regions.iter().find(|region| region.name == self.region)?;
        let role = self.role.filter(|role| !region.roles.contains(role))?;
        let detail = format!("`{}` does not have the role {role}", region.name);
        Some(Broken::because(&self.path, detail))
    }
}

pub(super) fn asked(scenario: &ScenarioSpec) -> impl Iterator<Item = Asked<'_>> {
    let audience = scenario
        .audience
        .regions
        .iter()
        .enumerate()
        .map(|(index, share)| Asked {
            path: format!("spec.audience.regions[{index}].region"),
            region: &share.region,
            role: Some(Role::Edge),
        });
    let losses = scenario
        .faults
        .iter()
        .enumerate()
        .filter_map(|(index, fault)| match &fault.action {
            FaultAction::RegionLoss { region } => Some(Asked {
                path: format!("spec.faults[{index}].action.regionLoss.region"),
                region,
                role: None,
            }),
            _ => None,
        });
    let faults = targets(scenario).filter_map(|(path, role, region)| {
        Some(Asked {
            path: format!("{path}.region"),
            region: region?,
            role: Some(role),
        })
    });
    audience.chain(losses).chain(faults)
}

/// Faults that pick pods: path of the action, role, region.
pub(super) fn targets(scenario: &ScenarioSpec) -> impl Iterator<Item = (String, Role, Option<&str>)> {
    scenario.faults.iter().enumerate().filter_map(|(index, fault)| {
        let (name, role, region) = match &fault.action {
            FaultAction::PodKill { role, region, .. } => ("podKill", role, region),
            FaultAction::NetworkDelay { role, region, .. } => ("networkDelay", role, region),
            FaultAction::NetworkPartition { role, region } => ("networkPartition", role, region),
            FaultAction::CacheFlush { role, region } => ("cacheFlush", role, region),
            FaultAction::RegionLoss { .. } | FaultAction::ServiceBrownOut { .. } => return None,
        };
        Some((format!("spec.faults[{index}].action.{name}"), *role, region.as_deref()))
    })
}

pub(super) fn brown_outs(scenario: &ScenarioSpec) -> impl Iterator<Item = (String, &String)> {
    let faults = scenario.faults.iter().enumerate();
    faults.filter_map(|(index, fault)| match &fault.action {
        FaultAction::ServiceBrownOut { service, .. } => {
            Some((format!("spec.faults[{index}].action.serviceBrownOut.service"), service))
        }
        _ => None,
    })
}
