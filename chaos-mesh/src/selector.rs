//! Which pods an experiment is about, and how many of them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which pods. Every part that is stated must match; `pods` bypasses the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSelector {
    /// Namespaces of the pods; the experiment's own where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Names of nodes the pods must run on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Names of pods by namespace. Where stated, no other part of the selector is looked at.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pods: BTreeMap<String, Vec<String>>,
    /// Labels of the nodes the pods must run on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selectors: BTreeMap<String, String>,
    /// Fields of the pods, such as `spec.nodeName`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub field_selectors: BTreeMap<String, String>,
    /// Labels of the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub label_selectors: BTreeMap<String, String>,
    /// Set-based conditions on the labels of the pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expression_selectors: Vec<LabelSelectorRequirement>,
    /// Annotations of the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotation_selectors: BTreeMap<String, String>,
    /// Phases of the pods: `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pod_phase_selectors: Vec<String>,
}

impl PodSelector {
    /// Pods of a namespace that carry all of these labels.
    #[must_use]
    pub fn labels<K: Into<String>, V: Into<String>>(
        namespace: impl Into<String>,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self {
            namespaces: vec![namespace.into()],
            label_selectors: labels
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
            ..Self::default()
        }
    }

    /// Exactly these pods of a namespace.
    #[must_use]
    pub fn names<N: Into<String>>(namespace: impl Into<String>, names: impl IntoIterator<Item = N>) -> Self {
        Self {
            pods: BTreeMap::from([(namespace.into(), names.into_iter().map(Into::into).collect())]),
            ..Self::default()
        }
    }
}

/// How many of the selected pods. The number is in the experiment's `value`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// One at random.
    One,
    /// All, ready or not.
    #[default]
    All,
    /// `value` of them, or all if there are fewer.
    Fixed,
    /// `value` percent of them, rounded down.
    FixedPercent,
    /// A random number of them, `value` percent at most.
    RandomMaxPercent,
}

/// Why [`Mode::count`] has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// The mode needs a `value` and there is none.
    #[error("mode {0:?} needs a value")]
    MissingValue(Mode),
    /// The value is not a whole number in range.
    #[error("`{value}` is not a value for mode {mode:?}: write a whole number{}", if *mode == Mode::Fixed { " from 1" } else { " from 0 to 100" })]
    BadValue {
        /// The mode.
        mode: Mode,
        /// What was found.
        value: String,
    },
}

impl Mode {
    /// How many of `matched` pods are chosen: exactly, or for [`Mode::RandomMaxPercent`] at most.
    pub fn count(self, value: Option<&str>, matched: usize) -> Result<usize, ModeError> {
        let number = |range: std::ops::RangeInclusive<usize>| {
            let text = value
                .filter(|text| !text.is_empty())
                .ok_or(ModeError::MissingValue(self))?;
            match text.parse() {
                Ok(number) if range.contains(&number) => Ok(number),
                _ => Err(ModeError::BadValue {
                    mode: self,
                    value: text.to_owned(),
                }),
            }
        };
        match self {
            Mode::All => Ok(matched),
            Mode::One => Ok(matched.min(1)),
            Mode::Fixed => Ok(number(1..=usize::MAX)?.min(matched)),
            Mode::FixedPercent | Mode::RandomMaxPercent => Ok(matched * number(0..=100)? / 100),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn counts_by_mode() {
        for (mode, value, matched, expected) in [
            (Mode::All, None, 7, 7),
            (Mode::One, None, 7, 1),
            (Mode::One, None, 0, 0),
            (Mode::Fixed, Some("2"), 7, 2),
            (Mode::Fixed, Some("9"), 7, 7),
            (Mode::FixedPercent, Some("50"), 7, 3),
            (Mode::FixedPercent, Some("100"), 7, 7),
            (Mode::RandomMaxPercent, Some("30"), 7, 2),
        ] {
            assert_eq!(
                mode.count(value, matched),
                Ok(expected),
                "{mode:?} {value:?} of {matched}"
            );
        }
    }

    #[test]
    fn refuses_values_that_are_no_number_in_range() {
        for (mode, value) in [
            (Mode::Fixed, "0"),
            (Mode::Fixed, "-1"),
            (Mode::FixedPercent, "101"),
            (Mode::FixedPercent, "50%"),
        ] {
            assert_eq!(
                mode.count(Some(value), 3),
                Err(ModeError::BadValue {
                    mode,
                    value: value.into()
                })
            );
        }
        assert_eq!(Mode::Fixed.count(None, 3), Err(ModeError::MissingValue(Mode::Fixed)));
        assert_eq!(
            Mode::FixedPercent.count(Some(""), 3),
            Err(ModeError::MissingValue(Mode::FixedPercent))
        );
    }
}
