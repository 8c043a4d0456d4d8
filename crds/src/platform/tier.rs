//! The tiers that media passes through, and how each is sized.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;

/// The encoders of every channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Encoder {
    /// Which origins an encoder pushes to.
    #[serde(default)]
    pub push_to: PushTo,
    /// CPU request of an encoder pod, in millicores.
    #[serde(default = "Encoder::default_cpu")]
    #[schemars(range(min = 10))]
    pub cpu_millis: u32,
    /// Memory request and limit of an encoder pod, in MiB.
    #[serde(default = "Encoder::default_memory")]
    #[schemars(range(min = 32))]
    pub memory_mib: u32,
}

impl Encoder {
    fn default_cpu() -> u32 {
        500
    }
    fn default_memory() -> u32 {
        512
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            push_to: PushTo::default(),
            cpu_millis: Self::default_cpu(),
            memory_mib: Self::default_memory(),
        }
    }
}

/// Which origins an encoder pushes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PushTo {
    /// The origins of every region: any encoder keeps every origin alive.
    #[default]
    AllOrigins,
    /// The origins of the encoder's own region.
    LocalOrigins,
}

/// The origins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Origin {
    /// Replicas in each region that has the role.
    #[serde(default = "Origin::default_replicas")]
    #[schemars(range(min = 1, max = 10))]
    pub replicas: u32,
    /// When an origin is ready.
    #[serde(default)]
    pub freshness: Freshness,
    /// CPU request of an origin pod, in millicores.
    #[serde(default = "Origin::default_cpu")]
    #[schemars(range(min = 10))]
    pub cpu_millis: u32,
    /// Memory request and limit of an origin pod, in MiB.
    #[serde(default = "Origin::default_memory")]
    #[schemars(range(min = 32))]
    pub memory_mib: u32,
}

impl Origin {
    fn default_replicas() -> u32 {
        1
    }
    fn default_cpu() -> u32 {
        100
    }
    fn default_memory() -> u32 {
        512
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self {
            replicas: Self::default_replicas(),
            freshness: Freshness::default(),
            cpu_millis: Self::default_cpu(),
            memory_mib: Self::default_memory(),
        }
    }
}

/// Ready means fresh: a frozen stream is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freshness {
    /// Off, an origin is ready whenever its process answers: a frozen stream then looks healthy.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Age of the newest segment, in percent of a segment's length, from which a stream counts as frozen.
    #[serde(default = "Freshness::default_max_age")]
    #[schemars(range(min = 110, max = 1000))]
    pub max_age_percent: u32,
}

impl Freshness {
    fn default_max_age() -> u32 {
        175
    }
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            enabled: true,
            max_age_percent: Self::default_max_age(),
        }
    }
}

/// The cache tier between edges and origins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shield {
    /// Replicas in each region that has the role.
    #[serde(default = "Shield::default_replicas")]
    #[schemars(range(min = 1, max = 20))]
    pub replicas: u32,
    /// Cache size of a pod, in MiB.
    #[serde(default = "Shield::default_cache")]
    #[schemars(range(min = 16))]
    pub cache_mib: u32,
    /// CPU request of a shield pod, in millicores.
    #[serde(default = "Shield::default_cpu")]
    #[schemars(range(min = 10))]
    pub cpu_millis: u32,
}

impl Shield {
    fn default_replicas() -> u32 {
        1
    }
    fn default_cache() -> u32 {
        128
    }
    fn default_cpu() -> u32 {
        100
    }
}

impl Default for Shield {
    fn default() -> Self {
        Self {
            replicas: Self::default_replicas(),
            cache_mib: Self::default_cache(),
            cpu_millis: Self::default_cpu(),
        }
    }
}

/// The cache tier that viewers talk to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Edge {
    /// Concurrent viewers one edge pod can carry: the unit of the audience ladder.
    #[serde(default = "Edge::default_viewers")]
    #[schemars(range(min = 1))]
    pub viewers_per_replica: u32,
    /// What one edge pod may send, in Mbit/s (`kubernetes.io/egress-bandwidth`). No limit where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub egress_mbps: Option<u32>,
    /// Cache size of a pod, in MiB.
    #[serde(default = "Edge::default_cache")]
    #[schemars(range(min = 16))]
    pub cache_mib: u32,
    /// CPU request of an edge pod, in millicores.
    #[serde(default = "Edge::default_cpu")]
    #[schemars(range(min = 10))]
    pub cpu_millis: u32,
    /// How the number of edge pods follows the audience.
    #[serde(default)]
    pub autoscaling: Autoscaling,
}

impl Edge {
    fn default_viewers() -> u32 {
        1000
    }
    fn default_cache() -> u32 {
        256
    }
    fn default_cpu() -> u32 {
        200
    }
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            viewers_per_replica: Self::default_viewers(),
            egress_mbps: None,
            cache_mib: Self::default_cache(),
            cpu_millis: Self::default_cpu(),
            autoscaling: Autoscaling::default(),
        }
    }
}

/// How the number of edge pods follows the audience.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaling {
    /// Off, every region has exactly `minReplicas` edges and no HorizontalPodAutoscaler.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Fewest edges of a region, also without an audience.
    #[serde(default = "Autoscaling::default_min")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: u32,
    /// Most edges of a region.
    #[serde(default = "Autoscaling::default_max")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: u32,
    /// CPU utilisation the HorizontalPodAutoscaler aims for, in percent of the request.
    #[serde(default = "Autoscaling::default_cpu")]
    #[schemars(range(min = 1, max = 100))]
    pub target_cpu_percent: u32,
    /// Capacity kept free above the measured audience, in percent of it.
    #[serde(default = "Autoscaling::default_headroom")]
    #[schemars(range(max = 500))]
    pub headroom_percent: u32,
    /// Stabilisation window on the way down.
    #[serde(default = "Autoscaling::default_stabilisation")]
    pub scale_down_stabilisation: GoDuration,
}

impl Autoscaling {
    fn default_min() -> u32 {
        1
    }
    fn default_max() -> u32 {
        20
    }
    fn default_cpu() -> u32 {
        60
    }
    fn default_headroom() -> u32 {
        25
    }
    fn default_stabilisation() -> GoDuration {
        GoDuration::from_secs(300)
    }
}

impl Default for Autoscaling {
    fn default() -> Self {
        Self {
            enabled: true,
            min_replicas: Self::default_min(),
            max_replicas: Self::default_max(),
            target_cpu_percent: Self::default_cpu(),
            headroom_percent: Self::default_headroom(),
            scale_down_stabilisation: Self::default_stabilisation(),
        }
    }
}

/// The steering servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Steering {
    /// Replicas in each region that has the role.
    #[serde(default = "Steering::default_replicas")]
    #[schemars(range(min = 1, max = 20))]
    pub replicas: u32,
    /// Off, players are given one pathway and never another: the loss of its region is the loss of its viewers.
    #[serde(default = "yes")]
    pub failover: bool,
    /// How often players ask again, in seconds (`TTL` of the steering manifest).
    #[serde(default = "Steering::default_ttl")]
    #[schemars(range(min = 1, max = 300))]
    pub ttl_seconds: u32,
    /// How edges are probed.
    #[serde(default)]
    pub probe: Probe,
}

impl Steering {
    fn default_replicas() -> u32 {
        1
    }
    fn default_ttl() -> u32 {
        5
    }
}

impl Default for Steering {
    fn default() -> Self {
        Self {
            replicas: Self::default_replicas(),
            failover: true,
            ttl_seconds: Self::default_ttl(),
            probe: Probe::default(),
        }
    }
}

/// A health probe with hysteresis: separate thresholds for failing and for coming back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// Time between probes, in milliseconds.
    #[serde(default = "Probe::default_interval")]
    #[schemars(range(min = 100, max = 60_000))]
    pub interval_ms: u32,
    /// How long a probe waits, in milliseconds.
    #[serde(default = "Probe::default_timeout")]
    #[schemars(range(min = 50, max = 60_000))]
    pub timeout_ms: u32,
    /// Consecutive failures until a pathway is down.
    #[serde(default = "Probe::default_failures")]
    #[schemars(range(min = 1, max = 100))]
    pub failures: u32,
    /// Consecutive successes until it is up again.
    #[serde(default = "Probe::default_successes")]
    #[schemars(range(min = 1, max = 100))]
    pub successes: u32,
}

impl Probe {
    fn default_interval() -> u32 {
        1000
    }
    fn default_timeout() -> u32 {
        800
    }
    fn default_failures() -> u32 {
        2
    }
    fn default_successes() -> u32 {
        3
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            interval_ms: Self::default_interval(),
            timeout_ms: Self::default_timeout(),
            failures: Self::default_failures(),
            successes: Self::default_successes(),
        }
    }
}

fn yes() -> bool {
    true
}
