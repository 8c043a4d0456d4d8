//! What goes wrong, when, and for how long.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{duration::GoDuration, platform::Role};

/// One fault on the timeline. Its undo is on record before it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Name, a DNS label unique in the scenario: it becomes part of the name of what injects it, and gates refer to it.
    #[schemars(length(min = 1, max = 40), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// When it begins.
    pub start: FaultStart,
    /// How long it lasts. What happens in an instant (`podKill`, `cacheFlush`) is repeated on what comes back for as long
    /// as this; 0s: once.
    #[serde(default)]
    pub duration: GoDuration,
    /// What happens.
    pub action: FaultAction,
}

/// A point of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultStart {
    /// Phase it falls into.
    #[schemars(length(min = 1, max = 63))]
    pub phase: String,
    /// Time since the phase began.
    #[serde(default)]
    pub after: GoDuration,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FaultAction {
    /// Every pod of a region is cut off, also those that the autoscaler adds meanwhile.
    #[serde(rename_all = "camelCase")]
    RegionLoss {
        /// The region that is lost.
        #[schemars(length(min = 1, max = 63))]
        region: String,
    },
    /// Pods are killed.
    #[serde(rename_all = "camelCase")]
    PodKill {
        /// Their role.
        role: Role,
        /// Their region; any where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
        /// How many at a time; all where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
    },
    /// Traffic of pods is delayed.
    #[serde(rename_all = "camelCase")]
    NetworkDelay {
        /// Their role.
        role: Role,
        /// Their region; any where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
        /// Added latency in milliseconds.
        latency_ms: u32,
        /// Variation of it in milliseconds.
        #[serde(default)]
        jitter_ms: u32,
    },
    /// Pods cannot reach, nor be reached by, anyone.
    #[serde(rename_all = "camelCase")]
    NetworkPartition {
        /// Their role.
        role: Role,
        /// Their region; any where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
    },
    /// Caches forget everything.
    #[serde(rename_all = "camelCase")]
    CacheFlush {
        /// `edge` or `shield`.
        role: Role,
        /// Their region; any where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
    },
    /// A playback service answers slowly and loses connections.
    #[serde(rename_all = "camelCase")]
    ServiceBrownOut {
        /// Name of the service in the platform.
        #[schemars(length(min = 1, max = 63))]
        service: String,
        /// Added latency in milliseconds.
        latency_ms: u32,
        /// Share of traffic lost, in percent.
        #[serde(default)]
        loss_percent: u32,
    },
}
