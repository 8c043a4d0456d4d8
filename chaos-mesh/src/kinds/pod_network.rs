//! `PodNetworkChaos`: what Chaos Mesh applies to one pod's network on behalf of every `NetworkChaos`. Read only: the
//! controller owns it, under the pod's name.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::network::{Bandwidth, Corrupt, Delay, Duplicate, Loss, Rate};

/// What is applied to one pod's network.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "chaos-mesh.org",
    version = "v1alpha1",
    kind = "PodNetworkChaos",
    plural = "podnetworkchaos",
    singular = "podnetworkchaos",
    namespaced,
    status = "PodNetworkChaosStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct PodNetworkChaosSpec {
    /// Sets of addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ipsets: Vec<IpSet>,
    /// Rules that drop traffic.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub iptables: Vec<Iptables>,
    /// Rules that shape traffic.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tcs: Vec<TrafficControl>,
}

/// A set of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IpSet {
    /// Its name.
    pub name: String,
    /// What is in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cidrs: Vec<String>,
    /// `namespace/name` of the experiment.
    #[serde(default)]
    pub source: String,
}

/// A chain that drops traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Iptables {
    /// Its name.
    pub name: String,
    /// Names of the sets concerned; everyone where empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipsets: Option<Vec<String>>,
    /// `input` or `output`.
    pub direction: String,
    /// `namespace/name` of the experiment.
    #[serde(default)]
    pub source: String,
}

/// A rule that shapes traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficControl {
    /// `netem` or `bandwidth`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// Duplication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Duplicate>,
    /// Damage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<Corrupt>,
    /// Rate limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Token bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// Name of the set concerned; everyone where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipset: Option<String>,
    /// `namespace/name` of the experiment.
    #[serde(default)]
    pub source: String,
}

/// Whether it was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodNetworkChaosStatus {
    /// Why it was not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub failed_message: String,
    /// Generation that was applied.
    pub observed_generation: i64,
}
