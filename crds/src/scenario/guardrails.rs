//! What ends a run, whatever the scenario asks for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;

/// Limits of a run. One that is met ends it: its faults are taken back, and it proves nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Guardrails {
    /// Regions in which pods are touched at a time, at most. Where absent: 1 on a cluster, any number in a sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub max_regions: Option<u32>,
    /// Share of a role's running pods in the whole platform that is touched at a time, at most, in percent.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 100))]
    pub max_pod_percent: u32,
    /// Longest the run may take, from its preflight until the last fault is taken back.
    #[serde(default = "two_hours")]
    pub max_duration: GoDuration,
    /// What viewers may not meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    // Atomic: nothing names a condition.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub stop_when: Vec<StopCondition>,
}

impl Default for Guardrails {
    fn default() -> Self {
        Self {
            max_regions: None,
            max_pod_percent: hundred(),
            max_duration: two_hours(),
            stop_when: Vec::new(),
        }
    }
}

impl Guardrails {
    /// What is kept of [`Guardrails::max_duration`] for taking faults back: the timeline has the rest.
    pub const UNDO: GoDuration = GoDuration::from_secs(120);
}

/// Ends the run when viewers fare worse than this over the last `window`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StopCondition {
    /// What is measured.
    pub metric: StopMetric,
    /// How far back it looks, from 10s to 10m.
    #[serde(default = "half_a_minute")]
    pub window: GoDuration,
    /// Ends the run when the fraction, from 0 to below 1, is above this.
    pub above: f64,
    /// With fewer samples than this in the window it does not say anything.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1))]
    pub min_samples: u32,
}

/// What a stop condition measures: a fraction of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StopMetric {
    /// Sessions that ended with an error players do not survive, of those that were watching or ended.
    FatalSessions,
    /// Seconds that viewers stood still, of the seconds since they had a picture.
    RebufferRatio,
    /// Requests that failed, of all requests.
    RequestErrors,
    /// Sessions that ended without a picture by an error or after 5 s of waiting, of those that got one or ended without.
    StartupFailures,
}

impl StopMetric {
    /// Its name in a scenario.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FatalSessions => "fatalSessions",
            Self::RebufferRatio => "rebufferRatio",
            Self::RequestErrors => "requestErrors",
            Self::StartupFailures => "startupFailures",
        }
    }
}

fn hundred() -> u32 {
    100
}

fn two_hours() -> GoDuration {
    GoDuration::from_secs(7200)
}

fn half_a_minute() -> GoDuration {
    GoDuration::from_secs(30)
}

fn twenty() -> u32 {
    20
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_not_stated_has_its_default() {
        let read: Guardrails = serde_json::from_str("{}").unwrap();
        assert_eq!(read, Guardrails::default());
        assert!(serde_json::from_str::<Guardrails>(r#"{"maxRegion": 2}"#).is_err());
    }

    #[test]
    fn a_metric_says_its_name_as_it_is_written() {
        for metric in [
            StopMetric::FatalSessions,
            StopMetric::RebufferRatio,
            StopMetric::RequestErrors,
            StopMetric::StartupFailures,
        ] {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
        }
    }
}
