//! What a schema cannot say: rules across fields.
//!
//! A rule stands here once, with its two forms side by side: CEL, which the definition carries so that `kubectl apply`
//! refuses what we would refuse, and a function, which also knows *where* the mistake is. Both have the same words.

mod channels;
mod naming;
mod premiere;
mod production;
mod regions;
mod scenario;
mod tiers;

use std::{collections::BTreeSet, fmt};

pub use premiere::RULES as PREMIERE;
pub use scenario::{PatchError, patched, validate_scenario};

use crate::{
    platform::{StreamingPlatform, StreamingPlatformSpec},
    premiere::PremiereSpec,
};

/// One rule.
pub struct Rule<T: 'static> {
    /// Part of the schema that carries the CEL form: `spec.channels[].ladder`; empty: the root.
    pub at: &'static str,
    /// The rule in CEL; `self` is what `at` names.
    pub cel: &'static str,
    /// What is said when it is broken.
    pub message: &'static str,
    /// Paths of what breaks it.
    pub check: fn(&T) -> Vec<String>,
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// What breaks it: `spec.regions[1].weight`.
    pub path: String,
    /// Why.
    pub message: String,
}

impl Violation {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Every rule of a `StreamingPlatform`.
pub const PLATFORM: &[&[Rule<StreamingPlatform>]] = &[
    naming::RULES,
    channels::RULES,
    regions::RULES,
    tiers::RULES,
    production::RULES,
];

/// Everything that is wrong with a platform, its name included.
#[must_use]
pub fn validate_platform(platform: &StreamingPlatform) -> Vec<Violation> {
    PLATFORM
        .iter()
        .flat_map(|group| group.iter())
        .flat_map(|rule| broken(rule, platform))
        .collect()
}

/// Everything that is wrong with a platform's spec. Rules about its name are not looked at: [`validate_platform`] does.
#[must_use]
pub fn validate(spec: &StreamingPlatformSpec) -> Vec<Violation> {
    // The shortest name there is breaks no rule about names that a spec by itself does not break.
    validate_platform(&StreamingPlatform::new("p", spec.clone()))
}

/// Everything that is wrong with a premiere's spec.
#[must_use]
pub fn validate_premiere(spec: &PremiereSpec) -> Vec<Violation> {
    PREMIERE.iter().flat_map(|rule| broken(rule, spec)).collect()
}

fn broken<T>(rule: &Rule<T>, object: &T) -> Vec<Violation> {
    (rule.check)(object)
        .into_iter()
        .map(|path| Violation::new(path, rule.message))
        .collect()
}

/// The path, if the rule does not hold.
fn unless(holds: bool, path: &str) -> Vec<String> {
    if holds { vec![] } else { vec![path.to_owned()] }
}

/// `path[index]suffix` of every item that `bad` finds.
fn each<T>(items: &[T], path: &str, suffix: &str, bad: impl Fn(&T) -> bool) -> Vec<String> {
    let found = items.iter().enumerate().filter(|(_, item)| bad(item));
    found.map(|(index, _)| format!("{path}[{index}]{suffix}")).collect()
}

/// `path[index].name` of every item whose name was there before.
fn repeated<'a, T>(items: &'a [T], path: &str, name: impl Fn(&'a T) -> &'a str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let again = items.iter().enumerate().filter(|(_, item)| !seen.insert(name(item)));
    again.map(|(index, _)| format!("{path}[{index}].name")).collect()
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}
