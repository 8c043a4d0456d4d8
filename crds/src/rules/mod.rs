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
mod url;

use std::{collections::BTreeSet, fmt};

pub use premiere::RULES as PREMIERE;
pub(crate) use scenario::against;
pub use scenario::{AGAINST, Against, PatchError, SCENARIO, patched, validate_scenario};

use crate::{
    platform::{StreamingPlatform, StreamingPlatformSpec},
    premiere::PremiereSpec,
    source::shown,
};

/// One rule.
pub struct Rule<T: 'static> {
    /// Part of the schema that the rule looks at, and nothing beyond it: `spec.channels[].ladder`; empty: the root.
    pub at: &'static str,
    /// Who refuses what breaks the rule on `kubectl apply`.
    pub cluster: Cluster,
    /// What is said when it is broken.
    pub message: &'static str,
    /// What breaks it.
    pub check: fn(&T) -> Vec<Broken>,
}

/// Who holds a rule in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// The definition carries the rule in CEL, with the same message; `self` is what [`Rule::at`] names.
    Cel(&'static str),
    /// Nobody: why CEL cannot.
    Nobody(&'static str),
}

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    path: String,
    /// What was found, and what would do: CEL messages cannot say that.
    detail: Option<String>,
    /// What the rule looked at, where that is less than [`Rule::at`]: `spec.gates[].name`.
    reads: Option<String>,
}

impl From<String> for Broken {
    fn from(path: String) -> Self {
        Self {
            path,
            detail: None,
            reads: None,
        }
    }
}

impl Broken {
    fn because(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            detail: Some(detail.into()),
            reads: None,
        }
    }

    /// Only this field of the items of a list was looked at.
    fn reading(self, list: &str, field: &str) -> Self {
        Self {
            reads: Some(format!("{list}[].{field}")),
            ..self
        }
    }
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// What breaks it: `spec.regions[1].weight`.
    pub path: String,
    /// The rule's message; after a colon, where there is more to say, what was found and what would do.
    pub message: String,
    /// The rule's message alone: what the API server says too, where it holds the rule.
    pub rule: &'static str,
    /// The part of the object that the rule looked at; `[]` stands for every item.
    pub(crate) scope: String,
}

impl Violation {
    fn of(rule: &'static str, at: Option<&str>, broken: Broken) -> Self {
        let message = match broken.detail {
            Some(detail) => format!("{rule}: {detail}"),
            None => rule.to_owned(),
        };
        Self {
            rule,
            scope: broken
                .reads
                .or_else(|| Some(scope(at?, &broken.path)))
                .unwrap_or_else(|| broken.path.clone()),
            path: broken.path,
            message,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The part that a rule at `at` looked at when it found `path`: `spec.channels[].ladder` and
/// `spec.channels[1].ladder[0].name` give `spec.channels[1].ladder`.
fn scope(at: &str, path: &str) -> String {
    let mut found = Vec::new();
    let mut steps = path.split('.');
    for wanted in at.split('.').filter(|step| !step.is_empty()) {
        let Some(step) = steps.next() else {
            return String::new();
        };
        let name = step.split('[').next().unwrap_or(step);
        if wanted.trim_end_matches("[]") != name {
            return String::new();
        }
        found.push(if wanted.ends_with("[]") { step } else { name });
    }
    found.join(".")
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
        .map(|broken| Violation::of(rule.message, Some(rule.at), broken))
        .collect()
}

/// The path, if the rule does not hold.
fn unless(holds: bool, path: &str) -> Vec<Broken> {
    if holds { vec![] } else { vec![path.to_owned().into()] }
}

/// `path[index]suffix` of every item that `bad` finds.
fn each<T>(items: &[T], path: &str, suffix: &str, bad: impl Fn(&T) -> bool) -> Vec<Broken> {
    let found = items.iter().enumerate().filter(|(_, item)| bad(item));
    found
        .map(|(index, _)| format!("{path}[{index}]{suffix}").into())
        .collect()
}

/// `path[index].name` of every item whose name was there before.
fn repeated<'a, T>(items: &'a [T], path: &str, name: impl Fn(&'a T) -> &'a str) -> Vec<Broken> {
    let mut seen = BTreeSet::new();
    let again = items.iter().enumerate().filter(|(_, item)| !seen.insert(name(item)));
    again
        .map(|(index, item)| {
            let detail = format!("`{}` is there already", shown(name(item)));
            Broken::because(format!("{path}[{index}].name"), detail).reading(path, "name")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_looks_at_a_part() {
        for (at, path, expected) in [
            ("", "metadata.name", ""),
            ("spec", "spec.regions[1].name", "spec"),
            ("spec.regions", "spec.regions[1].name", "spec.regions"),
            ("spec.regions[]", "spec.regions[1].publicUrl", "spec.regions[1]"),
            (
                "spec.channels[].ladder",
                "spec.channels[1].ladder[0].name",
                "spec.channels[1].ladder",
            ),
            (
                "spec.channels[].ladder[].name",
                "spec.channels[1].ladder[0].name",
                "spec.channels[1].ladder[0].name",
            ),
            ("spec.edge", "metadata.name", ""),
        ] {
            assert_eq!(scope(at, path), expected, "{at} {path}");
        }
    }
}
