//! What must hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;

/// One criterion of the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gate {
    /// Name, unique in the scenario.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What is measured and what it must be.
    pub check: GateCheck,
    /// The part of the run it looks at; all of it where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Window>,
    /// With fewer samples than this the gate is inconclusive.
    #[serde(default = "default_samples")]
    #[schemars(range(min = 1))]
    pub min_samples: u32,
}

/// A part of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Window {
    /// One phase.
    Phase(#[schemars(length(min = 1, max = 63))] String),
    /// From a fault's injection until its undo and `after` more.
    #[serde(rename_all = "camelCase")]
    Fault {
        /// Name of the fault.
        #[schemars(length(min = 1, max = 63))]
        name: String,
        /// How long after the undo the window goes on.
        #[serde(default)]
        after: GoDuration,
    },
}

/// What is measured and what it must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GateCheck {
    /// Time from play to the first frame (CTA-2066 video startup time).
    #[serde(rename_all = "camelCase")]
    StartupTime {
        /// Percentile, above 0 up to 100.
        percentile: f64,
        /// The percentile must be below this.
        below: GoDuration,
    },
    /// Stalled time over stalled and playing time (CTA-2066 rebuffering ratio).
    #[serde(rename_all = "camelCase")]
    RebufferRatio {
        /// The ratio must be below this, in percent.
        below_percent: f64,
    },
    /// Sessions that ended with an error players do not survive.
    #[serde(rename_all = "camelCase")]
    FatalSessions {
        /// At most this many.
        at_most: u32,
    },
    /// Every viewer of the lost region that goes on watching plays from another region within a time.
    #[serde(rename_all = "camelCase")]
    FailoverTime {
        /// Name of the fault.
        #[schemars(length(min = 1, max = 63))]
        fault: String,
        /// Counted from the injection to the first segment from elsewhere.
        within: GoDuration,
    },
    /// Ready edges carry the audience in time, and are given back afterwards.
    #[serde(rename_all = "camelCase")]
    EdgeScaling {
        /// Phase at whose end the capacity clock starts.
        #[schemars(length(min = 1, max = 63))]
        surge: String,
        /// By then the ready edges' capacity is at least the audience.
        within: GoDuration,
        /// Replicas at the end of the run are at most this share of the peak's, in percent. 100 does not ask for it.
        #[serde(default = "hundred")]
        back_to_percent: u32,
    },
    /// Segment bytes that the edge answered from its cache.
    #[serde(rename_all = "camelCase")]
    SegmentHitRatio {
        /// The ratio must be above this, in percent.
        above_percent: f64,
    },
    /// How often a shield fetched the same object from the origins.
    #[serde(rename_all = "camelCase")]
    OriginFetches {
        /// At most this many per object and shield.
        at_most_per_object: u32,
    },
    /// The longest time without a new segment that a viewer saw.
    #[serde(rename_all = "camelCase")]
    StreamGap {
        /// The worst gap must be below this.
        below: GoDuration,
    },
    /// Every fault was undone, and that was verified.
    FaultsUndone {},
}

fn default_samples() -> u32 {
    1
}

fn hundred() -> u32 {
    100
}
