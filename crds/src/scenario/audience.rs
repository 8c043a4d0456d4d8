//! Who watches, from where, and when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;

/// The audience of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Audience {
    /// Channel they watch.
    #[schemars(length(min = 1, max = 63))]
    pub channel: String,
    /// Where they are. The region's share of all viewers is its share over the sum.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["region"]))]
    pub regions: Vec<RegionShare>,
    /// The access networks they have, drawn by share.
    #[serde(default = "AccessNetwork::defaults")]
    // Atomic: networks of the default belong to nobody, and would stay among those that are applied.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub networks: Vec<AccessNetwork>,
    /// How many watch over time: each phase moves linearly from the previous number to its own.
    // Atomic: their order is the timeline.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub phases: Vec<Phase>,
}

/// Part of the audience that is in one region: the pathway it starts on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegionShare {
    /// Name of a region of the platform.
    #[schemars(length(min = 1, max = 63))]
    pub region: String,
    /// Relative share.
    #[schemars(range(min = 1, max = 10_000))]
    pub share: u32,
}

/// What a viewer's access network carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessNetwork {
    /// Name for reports: `fibre`, `4g`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Relative share.
    #[schemars(range(min = 1, max = 10_000))]
    pub share: u32,
    /// Bandwidth towards the viewer in kbit/s.
    #[schemars(range(min = 64))]
    pub down_kbps: u32,
    /// Round-trip time added to every request, in milliseconds.
    #[serde(default)]
    #[schemars(range(max = 5000))]
    pub rtt_ms: u32,
}

impl AccessNetwork {
    /// A wired home and a phone.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        vec![
            Self {
                name: "home".into(),
                share: 70,
                down_kbps: 20_000,
                rtt_ms: 15,
            },
            Self {
                name: "mobile".into(),
                share: 30,
                down_kbps: 4000,
                rtt_ms: 50,
            },
        ]
    }
}

/// One stretch of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Phase {
    /// Name, unique in the scenario; faults and gates refer to it.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// How long it lasts.
    pub duration: GoDuration,
    /// Concurrent viewers at its end.
    #[schemars(range(max = 10_000_000))]
    pub viewers: u32,
}
