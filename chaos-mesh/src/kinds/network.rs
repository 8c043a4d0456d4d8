//! `NetworkChaos`: traffic is cut, delayed, lost, damaged or shaped.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::experiment;
use crate::{
    selector::{Mode, PodSelector},
    status::ChaosStatus,
};

/// Traffic of pods is cut, delayed, lost, damaged or shaped.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "chaos-mesh.org",
    version = "v1alpha1",
    kind = "NetworkChaos",
    plural = "networkchaos",
    singular = "networkchaos",
    namespaced,
    status = "ChaosStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct NetworkChaosSpec {
    /// Which pods.
    pub selector: PodSelector,
    /// How many of them.
    pub mode: Mode,
    /// The number that the mode needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How long it lasts, in Go's notation; until it is deleted where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// What happens.
    pub action: NetworkAction,
    /// Which traffic, seen from the selected pods; `to` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The other side; everyone where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Other sides outside the cluster: addresses, CIDR blocks, names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_targets: Vec<String>,
    /// Network interface of the selected pods; the default one where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Network interface of the target pods; the default one where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_device: Option<String>,
    /// Parameters of `delay`, or part of `netem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Parameters of `loss`, or part of `netem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// Parameters of `duplicate`, or part of `netem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Duplicate>,
    /// Parameters of `corrupt`, or part of `netem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<Corrupt>,
    /// Rate limit, part of `netem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Parameters of `bandwidth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
}

/// What happens to traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetworkAction {
    /// Several of the following at once.
    Netem,
    /// It arrives late.
    #[default]
    Delay,
    /// Part of it does not arrive.
    Loss,
    /// Part of it arrives twice.
    Duplicate,
    /// Part of it arrives damaged.
    Corrupt,
    /// None of it arrives.
    Partition,
    /// It is limited to a rate by a token bucket.
    Bandwidth,
}

/// Which traffic, seen from the selected pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the selected pods to the target.
    #[default]
    To,
    /// From the target to the selected pods.
    From,
    /// Both.
    Both,
}

/// The other side of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Which pods.
    pub selector: PodSelector,
    /// How many of them.
    pub mode: Mode,
    /// The number that the mode needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Delay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delay {
    /// How late, a Go duration.
    pub latency: String,
    /// Variation of it, a Go duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<String>,
    /// Percentage by which one packet depends on the one before, `0` to `100`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// Packets overtake others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reorder: Option<Reorder>,
}

/// Reordering of delayed packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reorder {
    /// Percentage that is sent at once, `0` to `100`.
    pub reorder: String,
    /// Percentage by which one packet depends on the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// Packets between two reordered ones.
    pub gap: i64,
}

/// Loss.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Loss {
    /// Percentage of packets, `0` to `100`.
    pub loss: String,
    /// Percentage by which one packet depends on the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
}

/// Duplication.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Duplicate {
    /// Percentage of packets, `0` to `100`.
    pub duplicate: String,
    /// Percentage by which one packet depends on the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
}

/// Damage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Corrupt {
    /// Percentage of packets, `0` to `100`.
    pub corrupt: String,
    /// Percentage by which one packet depends on the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
}

/// A rate limit within `netem`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Number and unit, `1mbps`: a bps is a *byte* per second.
    pub rate: String,
}

/// A token bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bandwidth {
    /// Number and unit, `1mbps`: a bps is a *byte* per second. Units: `bps`, `kbps`, `mbps`, `gbps`, `tbps`.
    pub rate: String,
    /// Bytes that may wait for tokens.
    #[schemars(range(min = 1))]
    pub limit: u32,
    /// Bytes that may be sent at once.
    #[schemars(range(min = 1))]
    pub buffer: u32,
    /// Fastest rate at which the bucket may empty, in bytes per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peakrate: Option<u64>,
    /// Size of the peak-rate bucket in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minburst: Option<u32>,
}

experiment!(NetworkChaos);
