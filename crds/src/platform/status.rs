//! What the operator reports.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Observed state of a platform.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamingPlatformStatus {
    /// The generation these facts were derived from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `2/3 regions ready`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Measured concurrent viewers.
    #[serde(default)]
    pub audience: u32,
    /// `Ready`, `Progressing`, `Degraded`, `EvacuationSafe`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// One entry a region, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub regions: Vec<RegionStatus>,
    /// Where to play and whom to ask.
    #[serde(default)]
    pub endpoints: StatusEndpoints,
    /// Clusters other than the platform's own that have, or may have, objects of it: deletion waits for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["secretName", "key", "namespace"]))]
    pub clusters: Vec<ClusterStatus>,
}

/// Another cluster that has objects of the platform.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The Secret with its kubeconfig.
    pub secret_name: String,
    /// Key in the Secret.
    pub key: String,
    /// Namespace in that cluster.
    pub namespace: String,
    /// Load balancers there, as they were last seen: other clusters go by them while this one cannot be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["service"]))]
    pub addresses: Vec<ClusterAddress>,
    /// Why it cannot be reached, or cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Address of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterAddress {
    /// Name of the Service.
    pub service: String,
    /// IP or host name.
    pub address: String,
}

/// Types of the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// Every region serves, from every role it has.
    Ready,
    /// A rollout or a scaling is under way.
    Progressing,
    /// Something that should run does not.
    Degraded,
    /// The remaining regions can carry the peak if `regionsToLose` are lost.
    EvacuationSafe,
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Observed state of one region.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    /// Name of the region.
    pub name: String,
    /// Whether viewers can be served from here.
    pub state: RegionState,
    /// Base URL viewers reach its edges at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Measured concurrent viewers.
    #[serde(default)]
    pub audience: u32,
    /// Desired and ready replicas of each role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["role"]))]
    pub roles: Vec<RoleStatus>,
    /// What the edges can carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeCapacity>,
    /// Why the region is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whether a region serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RegionState {
    /// Every role has its replicas.
    Ready,
    /// It serves, with fewer replicas than desired.
    Degraded,
    /// It does not serve.
    Unavailable,
    /// Nothing observed yet.
    #[default]
    Unknown,
}

/// Replicas of one role in one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// `encoder`, `origin`, `shield`, `edge`, `steering`, `services`.
    pub role: String,
    /// Replicas that should run.
    pub desired: u32,
    /// Replicas that are ready.
    pub ready: u32,
}

/// Capacity of a region's edges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EdgeCapacity {
    /// The floor under the autoscaler: what audience, premieres and `regionsToLose` need, in replicas.
    pub floor: u32,
    /// Why the floor is what it is: `spec`, `audience`, `premiere` or `evacuation`.
    pub floor_reason: String,
    /// Concurrent viewers the ready edges carry.
    pub viewers: u32,
}

/// Where to play and whom to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusEndpoints {
    /// Playback URLs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub channels: Vec<ChannelEndpoint>,
    /// URLs of the playback services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub services: Vec<ServiceEndpoint>,
}

/// Where a channel plays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelEndpoint {
    /// Name of the channel.
    pub name: String,
    /// URL of its multivariant playlist.
    pub url: String,
}

/// Where a playback service answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEndpoint {
    /// Name of the service.
    pub name: String,
    /// `entitlement`, `licence`, `session` or `other`.
    pub kind: String,
    /// Base URL.
    pub url: String,
}
