//! Scenarios: alone, and against the platform they are to run on.

mod against;
mod faults;
mod gates;
mod guardrails;
mod reach;
mod timeline;

use std::time::Duration;

use serde_json::Value;

pub(crate) use against::against;
pub use against::{AGAINST, Against};

use super::{Rule, Violation, broken, validate};
use crate::{
    platform::StreamingPlatformSpec,
    scenario::{Fault, Phase, ScenarioSpec},
    source::{shown, suggest},
};

/// Every rule of a `Scenario` by itself.
pub const SCENARIO: &[&[Rule<ScenarioSpec>]] = &[timeline::RULES, faults::RULES, gates::RULES, guardrails::RULES];

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
    let alone = SCENARIO.iter().flat_map(|group| group.iter());
    let mut found: Vec<Violation> = alone.flat_map(|rule| broken(rule, scenario)).collect();
    if let Some(platform) = platform {
        found.extend(against::violations(scenario, platform));
    }
    found
}

/// When a fault begins, from the start of the timeline.
fn begin(phases: &[Phase], fault: &Fault) -> Option<Duration> {
    let index = phases.iter().position(|phase| phase.name == fault.start.phase)?;
    Some(phases[..index].iter().map(|phase| phase.duration.0).sum::<Duration>() + fault.start.after.0)
}

/// What is said of a name that nothing has.
fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    format!("there is no {what} `{}`{}", shown(name), suggest(name, &known))
}
