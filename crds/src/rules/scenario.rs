//! Scenarios: alone, and against the platform they are to run on.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::{Violation, repeated, validate};
use crate::{
    platform::{Role, StreamingPlatformSpec},
    scenario::{Fault, FaultAction, Gate, GateCheck, Phase, ScenarioSpec, Window},
};

/// Why a scenario's `platformPatch` cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// What comes out is not a platform.
    #[error("the patched platform cannot be read: {0}")]
    Unreadable(String),
    /// What comes out breaks rules.
    #[error("the patched platform is not valid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
}

/// The platform that a scenario runs on: the given one with the scenario's `platformPatch` merged in (RFC 7386).
pub fn patched(platform: &StreamingPlatformSpec, patch: Option<&Value>) -> Result<StreamingPlatformSpec, PatchError> {
    let Some(patch) = patch else {
        return Ok(platform.clone());
    };
    let unreadable = |error: serde_json::Error| PatchError::Unreadable(error.to_string());
    let mut value = serde_json::to_value(platform).map_err(unreadable)?;
    json_patch::merge(&mut value, patch);
    let patched = serde_json::from_value(value).map_err(unreadable)?;
    let violations = validate(&patched);
    if violations.is_empty() {
        Ok(patched)
    } else {
        Err(PatchError::Invalid(violations))
    }
}

/// Everything that is wrong with a scenario; with a platform, also everything it asks of the platform in vain.
#[must_use]
pub fn validate_scenario(scenario: &ScenarioSpec, platform: Option<&StreamingPlatformSpec>) -> Vec<Violation> {
    let mut found = Found::default();
    found.timeline(scenario);
    for (index, fault) in scenario.faults.iter().enumerate() {
        found.fault(scenario, fault, &format!("spec.faults[{index}]"));
    }
    for (index, gate) in scenario.gates.iter().enumerate() {
        found.gate(scenario, gate, &format!("spec.gates[{index}]"));
    }
    if let Some(platform) = platform {
        match patched(platform, scenario.platform_patch.as_ref()) {
            Ok(platform) => found.against(scenario, &platform),
            Err(error) => found.add("spec.platformPatch", error.to_string()),
        }
    }
    found.0
}

#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation::new(path, message));
    }

    fn require(&mut self, holds: bool, path: impl Into<String>, message: impl Into<String>) {
        if !holds {
            self.add(path, message);
        }
    }

    fn timeline(&mut self, scenario: &ScenarioSpec) {
        let audience = &scenario.audience;
        let unique = [
            (
                repeated(&audience.phases, "spec.audience.phases", |phase| &phase.name),
                "names of phases must be unique",
            ),
            (
                repeated(&audience.networks, "spec.audience.networks", |network| &network.name),
                "names of networks must be unique",
            ),
            (
                repeated(&scenario.faults, "spec.faults", |fault| &fault.name),
                "names of faults must be unique",
            ),
            (
                repeated(&scenario.gates, "spec.gates", |gate| &gate.name),
                "names of gates must be unique",
            ),
        ];
        for (paths, message) in unique {
            for path in paths {
                self.add(path, message);
            }
        }
        let mut regions = BTreeSet::new();
        for (index, share) in audience.regions.iter().enumerate() {
            let path = format!("spec.audience.regions[{index}].region");
            self.require(
                regions.insert(&share.region),
                path,
                "a region's share can be stated once",
            );
        }
        for (index, phase) in audience.phases.iter().enumerate() {
            let path = format!("spec.audience.phases[{index}].duration");
            self.require(
                phase.duration.0 > Duration::ZERO,
                path,
                "a phase must last longer than 0s",
            );
        }
    }

    fn fault(&mut self, scenario: &ScenarioSpec, fault: &Fault, path: &str) {
        let phases = &scenario.audience.phases;
        if let Some(phase) = phases.iter().find(|phase| phase.name == fault.start.phase) {
            let inside = fault.start.after.0 < phase.duration.0;
            self.require(
                inside,
                format!("{path}.start.after"),
                format!("phase `{}` lasts {}", phase.name, phase.duration),
            );
            let total: Duration = phases.iter().map(|phase| phase.duration.0).sum();
            let end = begin(phases, fault).unwrap_or_default() + fault.duration.0;
            let message = "the fault ends after the last phase: nobody would see it undone";
            self.require(end <= total, format!("{path}.duration"), message);
        } else {
            self.add(
                format!("{path}.start.phase"),
                unknown("phase", &fault.start.phase, phases.iter().map(|phase| &phase.name)),
            );
        }
        let action = format!("{path}.action");
        match &fault.action {
            FaultAction::RegionLoss { .. } | FaultAction::NetworkPartition { .. } => {
                self.require(fault.duration.0 > Duration::ZERO, format!("{path}.duration"), LASTS);
            }
            FaultAction::PodKill { count, .. } => {
                self.require(
                    *count != Some(0),
                    format!("{action}.podKill.count"),
                    "count must be at least 1",
                );
            }
            FaultAction::NetworkDelay {
                latency_ms, jitter_ms, ..
            } => {
                self.require(fault.duration.0 > Duration::ZERO, format!("{path}.duration"), LASTS);
                let action = format!("{action}.networkDelay");
                self.require(
                    *latency_ms <= LONGEST_DELAY,
                    format!("{action}.latencyMs"),
                    "latencyMs must be at most 60000",
                );
                self.require(
                    jitter_ms <= latency_ms,
                    format!("{action}.jitterMs"),
                    "jitterMs must not be more than latencyMs",
                );
            }
            FaultAction::CacheFlush { role, .. } => {
                let cache = matches!(role, Role::Edge | Role::Shield);
                self.require(
                    cache,
                    format!("{action}.cacheFlush.role"),
                    "only edge and shield have caches",
                );
            }
            FaultAction::ServiceBrownOut {
                latency_ms,
                loss_percent,
                ..
            } => {
                self.require(fault.duration.0 > Duration::ZERO, format!("{path}.duration"), LASTS);
                let action = format!("{action}.serviceBrownOut");
                self.require(
                    *latency_ms <= LONGEST_DELAY,
                    format!("{action}.latencyMs"),
                    "latencyMs must be at most 60000",
                );
                self.require(
                    *loss_percent <= 100,
                    format!("{action}.lossPercent"),
                    "lossPercent must be at most 100",
                );
            }
        }
    }

    fn gate(&mut self, scenario: &ScenarioSpec, gate: &Gate, path: &str) {
        match &gate.within {
            Some(Window::Phase(name)) => self.known_phase(scenario, name, format!("{path}.within.phase")),
            Some(Window::Fault { name, .. }) => self.known_fault(scenario, name, format!("{path}.within.fault.name")),
            None => {}
        }
        let check = format!("{path}.check");
        match &gate.check {
            GateCheck::StartupTime { percentile, below } => {
                let valid = *percentile > 0.0 && *percentile <= 100.0;
                self.require(
                    valid,
                    format!("{check}.startupTime.percentile"),
                    "a percentile is above 0 and at most 100",
                );
                self.require(
                    below.0 > Duration::ZERO,
                    format!("{check}.startupTime.below"),
                    "below must be more than 0s",
                );
            }
            GateCheck::RebufferRatio { below_percent } => {
                let valid = *below_percent > 0.0 && *below_percent <= 100.0;
                let path = format!("{check}.rebufferRatio.belowPercent");
                self.require(valid, path, "belowPercent is above 0 and at most 100");
            }
            GateCheck::FailoverTime { fault, within } => {
                let path = format!("{check}.failoverTime");
                self.known_fault(scenario, fault, format!("{path}.fault"));
                let action = scenario
                    .faults
                    .iter()
                    .find(|other| other.name == *fault)
                    .map(|fault| &fault.action);
                let lost = action.is_none_or(|action| matches!(action, FaultAction::RegionLoss { .. }));
                self.require(
                    lost,
                    format!("{path}.fault"),
                    "viewers fail over when a region is lost: name a regionLoss",
                );
                self.require(
                    within.0 > Duration::ZERO,
                    format!("{path}.within"),
                    "within must be more than 0s",
                );
            }
            GateCheck::EdgeScaling {
                surge, back_to_percent, ..
            } => {
                let path = format!("{check}.edgeScaling");
                self.known_phase(scenario, surge, format!("{path}.surge"));
                let valid = (1..=100).contains(back_to_percent);
                self.require(valid, format!("{path}.backToPercent"), "backToPercent is from 1 to 100");
            }
            GateCheck::SegmentHitRatio { above_percent } => {
                let valid = *above_percent >= 0.0 && *above_percent < 100.0;
                let path = format!("{check}.segmentHitRatio.abovePercent");
                self.require(valid, path, "abovePercent is at least 0 and below 100");
            }
            GateCheck::OriginFetches { at_most_per_object } => {
                let path = format!("{check}.originFetches.atMostPerObject");
                self.require(*at_most_per_object >= 1, path, "atMostPerObject must be at least 1");
            }
            GateCheck::StreamGap { below } => {
                self.require(
                    below.0 > Duration::ZERO,
                    format!("{check}.streamGap.below"),
                    "below must be more than 0s",
                );
            }
            GateCheck::FatalSessions { .. } | GateCheck::FaultsUndone {} => {}
        }
    }

    fn known_phase(&mut self, scenario: &ScenarioSpec, name: &str, path: String) {
        let mut names = scenario.audience.phases.iter().map(|phase| &phase.name);
        self.require(
            names.clone().any(|known| known == name),
            path,
            unknown("phase", name, &mut names),
        );
    }

    fn known_fault(&mut self, scenario: &ScenarioSpec, name: &str, path: String) {
        let mut names = scenario.faults.iter().map(|fault| &fault.name);
        self.require(
            names.clone().any(|known| known == name),
            path,
            unknown("fault", name, &mut names),
        );
    }

    fn against(&mut self, scenario: &ScenarioSpec, platform: &StreamingPlatformSpec) {
        let audience = &scenario.audience;
        let mut channels = platform.channels.iter().map(|channel| &channel.name);
        let known = channels.clone().any(|name| *name == audience.channel);
        self.require(
            known,
            "spec.audience.channel",
            unknown("channel", &audience.channel, &mut channels),
        );
        for (index, share) in audience.regions.iter().enumerate() {
            self.region(
                platform,
                &share.region,
                Some(Role::Edge),
                format!("spec.audience.regions[{index}].region"),
            );
        }
        for (index, fault) in scenario.faults.iter().enumerate() {
            let path = format!("spec.faults[{index}].action");
            match &fault.action {
                FaultAction::RegionLoss { region } => {
                    self.region(platform, region, None, format!("{path}.regionLoss.region"));
                }
                FaultAction::PodKill { role, region, .. } => {
                    self.target(platform, *role, region.as_deref(), &path, "podKill");
                }
                FaultAction::NetworkDelay { role, region, .. } => {
                    self.target(platform, *role, region.as_deref(), &path, "networkDelay");
                }
                FaultAction::NetworkPartition { role, region } => {
                    self.target(platform, *role, region.as_deref(), &path, "networkPartition");
                }
                FaultAction::CacheFlush { role, region } => {
                    self.target(platform, *role, region.as_deref(), &path, "cacheFlush");
                }
                FaultAction::ServiceBrownOut { service, .. } => {
                    let path = format!("{path}.serviceBrownOut.service");
                    match platform.services.iter().find(|known| known.name == *service) {
                        None => self.add(
                            path,
                            unknown("service", service, platform.services.iter().map(|known| &known.name)),
                        ),
                        Some(known) if known.url.is_some() => {
                            self.add(
                                path,
                                format!("service `{service}` is run by others: no fault can be injected into it"),
                            );
                        }
                        Some(_) => {}
                    }
                }
            }
        }
        self.losses(scenario, platform);
    }

    fn region(&mut self, platform: &StreamingPlatformSpec, name: &str, role: Option<Role>, path: String) {
        match (platform.regions.iter().find(|region| region.name == name), role) {
            (None, _) => self.add(
                path,
                unknown("region", name, platform.regions.iter().map(|region| &region.name)),
            ),
            (Some(region), Some(role)) if !region.roles.contains(&role) => {
                self.add(path, format!("region `{name}` does not have the role {role}"));
            }
            _ => {}
        }
    }

    fn target(&mut self, platform: &StreamingPlatformSpec, role: Role, region: Option<&str>, path: &str, action: &str) {
        if let Some(region) = region {
            self.region(platform, region, Some(role), format!("{path}.{action}.region"));
        } else {
            let anywhere = platform.regions.iter().any(|region| region.roles.contains(&role));
            self.require(
                anywhere,
                format!("{path}.{action}.role"),
                format!("no region has the role {role}"),
            );
        }
    }

    /// A drill may never take the last region with edges.
    fn losses(&mut self, scenario: &ScenarioSpec, platform: &StreamingPlatformSpec) {
        let edges: BTreeSet<&str> = platform
            .regions
            .iter()
            .filter(|region| region.roles.contains(&Role::Edge))
            .map(|region| region.name.as_str())
            .collect();
        let losses: Vec<_> = scenario
            .faults
            .iter()
            .enumerate()
            .filter_map(|(index, fault)| match &fault.action {
                FaultAction::RegionLoss { region } => {
                    let begin = begin(&scenario.audience.phases, fault)?;
                    Some((index, region.as_str(), begin, begin + fault.duration.0))
                }
                _ => None,
            })
            .collect();
        for &(index, region, begin, _) in &losses {
            // The set of lost regions only grows where a loss begins.
            let lost: BTreeSet<&str> = losses
                .iter()
                .filter(|loss| loss.2 <= begin && begin < loss.3)
                .map(|loss| loss.1)
                .collect();
            let last = edges.contains(region) && edges.is_subset(&lost);
            let message = format!("the loss of `{region}` would leave no region with edges");
            self.require(!last, format!("spec.faults[{index}].action.regionLoss.region"), message);
        }
    }
}

const LASTS: &str = "the fault must last longer than 0s";
const LONGEST_DELAY: u32 = 60_000;

/// When a fault begins, from the start of the timeline.
fn begin(phases: &[Phase], fault: &Fault) -> Option<Duration> {
    let index = phases.iter().position(|phase| phase.name == fault.start.phase)?;
    Some(phases[..index].iter().map(|phase| phase.duration.0).sum::<Duration>() + fault.start.after.0)
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    format!("there is no {what} `{name}`{}", crate::source::suggest(name, &known))
}
