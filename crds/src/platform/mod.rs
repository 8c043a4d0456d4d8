//! `StreamingPlatform`: channels, regions, caches, steering and the promises made about them.

mod channel;
mod input;
pub(crate) mod interconnect;
mod region;
mod role;
mod service;
mod status;
mod tier;

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use channel::{Audio, Channel, Rung};
pub use input::Input;
pub use interconnect::Interconnect;
pub use region::{KubeconfigSecretRef, Placement, Region, RegionCluster};
pub use role::Role;
pub use service::{CircuitBreaker, ServiceDependency, ServiceKind};
pub use status::{
    ChannelEndpoint, ClusterAddress, ClusterStatus, ConditionType, EdgeCapacity, RegionState, RegionStatus, RoleStatus,
    ServiceEndpoint, StatusEndpoints, StreamingPlatformStatus,
};
pub use tier::{Autoscaling, Edge, Encoder, Freshness, Origin, Probe, PushTo, Shield, Steering};

/// A streaming platform: what is encoded, where it is served from, and what it must withstand.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "showrunner.dev",
    version = "v1alpha1",
    kind = "StreamingPlatform",
    namespaced,
    status = "StreamingPlatformStatus",
    shortname = "sp",
    shortname = "platform",
    category = "showrunner",
    doc = "A streaming platform: what is encoded, where it is served from, and what it must withstand.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Regions","type":"string","jsonPath":".status.summary"}"#,
    printcolumn = r#"{"name":"Audience","type":"integer","jsonPath":".status.audience"}"#,
    printcolumn = r#"{"name":"Evacuation-Safe","type":"string","jsonPath":".status.conditions[?(@.type==\"EvacuationSafe\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamingPlatformSpec {
    /// What the platform is for; rules are stricter in production.
    #[serde(default)]
    pub environment: Environment,
    /// Container images of the data plane.
    #[serde(default)]
    pub images: Images,
    /// What is streamed. At least one.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub channels: Vec<Channel>,
    /// Where it is served from. At least one.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub regions: Vec<Region>,
    /// How the clusters of regions reach one another, where regions are in several.
    #[serde(default, skip_serializing_if = "Interconnect::is_default")]
    pub interconnect: Interconnect,
    /// The encoders of every channel.
    #[serde(default)]
    pub encoder: Encoder,
    /// The origins of every encoding region.
    #[serde(default)]
    pub origin: Origin,
    /// The cache tier between edges and origins.
    #[serde(default)]
    pub shield: Shield,
    /// The cache tier that viewers talk to.
    #[serde(default)]
    pub edge: Edge,
    /// The steering servers: multivariant playlists, steering manifests, the audience count.
    #[serde(default)]
    pub steering: Steering,
    /// What playback depends on besides media: entitlement, licence, session, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub services: Vec<ServiceDependency>,
    /// What the platform must survive.
    #[serde(default)]
    pub resilience: Resilience,
    /// What viewers are promised.
    #[serde(default)]
    pub slo: Slo,
}

/// What a platform is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A laptop, a sandbox, a branch.
    #[default]
    Development,
    /// A rehearsal stage.
    Staging,
    /// The real audience: three regions at least, and the loss of one must be survivable.
    Production,
}

/// Container images of the data plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Images {
    /// Image of encoder, origin, steering and services.
    #[serde(default = "Images::default_media")]
    #[schemars(length(min = 1, max = 512))]
    pub media: String,
    /// Image of shield and edge. Varnish has been renamed Vinyl Cache: see `cacheCommand`.
    #[serde(default = "Images::default_cache")]
    #[schemars(length(min = 1, max = 512))]
    pub cache: String,
    /// The cache's executable in that image: `varnishd`, or `vinyld` from version 9.
    #[serde(default = "Images::default_cache_command")]
    #[schemars(length(min = 1, max = 512))]
    pub cache_command: String,
}

impl Images {
    fn default_media() -> String {
        "ghcr.io/showrunner/media:0.1.0".into()
    }
    fn default_cache() -> String {
        "varnish:7.1".into()
    }
    fn default_cache_command() -> String {
        "varnishd".into()
    }
}

impl Default for Images {
    fn default() -> Self {
        Self {
            media: Self::default_media(),
            cache: Self::default_cache(),
            cache_command: Self::default_cache_command(),
        }
    }
}

/// What the platform must survive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resilience {
    /// How many regions may be lost at once while the rest carry the whole audience.
    #[serde(default = "one")]
    #[schemars(range(max = 15))]
    pub regions_to_lose: u32,
    /// Concurrent viewers the platform must carry at its peak; `EvacuationSafe` is judged against it. 0: the measured audience alone.
    #[serde(default)]
    pub peak_viewers: u32,
}

impl Default for Resilience {
    fn default() -> Self {
        Self {
            regions_to_lose: one(),
            peak_viewers: 0,
        }
    }
}

fn one() -> u32 {
    1
}

/// What viewers are promised; alerts and audits are judged against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slo {
    /// 95th percentile of the time from play to the first frame, in milliseconds.
    #[serde(default = "Slo::default_startup")]
    #[schemars(range(min = 1))]
    pub startup_p95_ms: u32,
    /// Rebuffer ratio in parts per thousand of playing time.
    #[serde(default = "Slo::default_rebuffer")]
    #[schemars(range(max = 1000))]
    pub rebuffer_permille: u32,
    /// Sessions that end with a fatal error, in parts per million.
    #[serde(default = "Slo::default_fatal")]
    #[schemars(range(max = 1_000_000))]
    pub fatal_sessions_ppm: u32,
}

impl Slo {
    fn default_startup() -> u32 {
        2000
    }
    fn default_rebuffer() -> u32 {
        10
    }
    fn default_fatal() -> u32 {
        1000
    }
}

impl Default for Slo {
    fn default() -> Self {
        Self {
            startup_p95_ms: Self::default_startup(),
            rebuffer_permille: Self::default_rebuffer(),
            fatal_sessions_ppm: Self::default_fatal(),
        }
    }
}

/// Free-form labels, ordered so that rendering is deterministic.
pub type Labels = BTreeMap<String, String>;
