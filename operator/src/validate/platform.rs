//! A platform whose every name, unit and reference has been checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use showrunner_crds::{
    names,
    platform::{Audio, Freshness, Input, Probe, PushTo, Role, Rung, ServiceKind},
};

use super::{
    cluster::RemoteCluster,
    names::{ChannelName, Namespace, PlatformName, RegionName, ServiceName},
    units::{Mebibytes, MegabitsPerSecond, Millicores, Replicas, Viewers},
};

/// What every step after validation works on.
#[derive(Clone, Debug)]
pub struct ValidatedPlatform {
    /// Name of the resource.
    pub name: PlatformName,
    /// Namespace of the resource and of everything rendered from it.
    pub namespace: Namespace,
    /// Reference that makes the platform the controller of what is rendered; absent for a file that was never applied.
    pub owner: Option<OwnerReference>,
    /// Generation of the spec; 0 for a file that was never applied.
    pub generation: i64,
    /// Images and the cache's executable.
    pub images: Images,
    /// Channels in the order of the spec.
    pub channels: Vec<Channel>,
    /// Regions in the order of the spec.
    pub regions: Vec<Region>,
    /// Whom origins and shields let in from other clusters (CIDR). They count only where regions are in several
    /// clusters.
    pub source_ranges: Vec<String>,
    /// Sizing of encoders.
    pub encoder: EncoderTier,
    /// Sizing and freshness of origins.
    pub origin: OriginTier,
    /// Sizing of shields.
    pub shield: ShieldTier,
    /// Sizing of edges.
    pub edge: EdgeTier,
    /// Steering servers.
    pub steering: SteeringTier,
    /// Playback services, deployed and external.
    pub services: Vec<Service>,
    /// What must be survived.
    pub resilience: Resilience,
}

impl ValidatedPlatform {
    /// Regions that have a role, in the order of the spec.
    pub fn regions_with(&self, role: Role) -> impl Iterator<Item = &Region> {
        self.regions.iter().filter(move |region| region.has(role))
    }

    /// A region by name.
    #[must_use]
    pub fn region(&self, name: &RegionName) -> Option<&Region> {
        self.regions.iter().find(|region| region.name == *name)
    }

    /// Clusters that regions are in, besides the platform's own.
    #[must_use]
    pub fn clusters(&self) -> BTreeSet<RemoteCluster> {
        let clusters = self.regions.iter().filter_map(|region| region.cluster.clone());
        clusters.collect()
    }

    /// Whether regions are in several clusters, so that one has to be reached from another.
    #[must_use]
    pub fn spans_clusters(&self) -> bool {
        let mut clusters = self.regions.iter().map(|region| &region.cluster);
        let first = clusters.next();
        clusters.any(|cluster| Some(cluster) != first)
    }

    /// Regions in a cluster; `None` is the platform's own.
    pub fn regions_in<'a>(&'a self, cluster: Option<&'a RemoteCluster>) -> impl Iterator<Item = &'a Region> {
        self.regions
            .iter()
            .filter(move |region| region.cluster.as_ref() == cluster)
    }

    /// Namespace of the platform's objects in a cluster.
    #[must_use]
    pub fn namespace_in<'a>(&'a self, cluster: Option<&'a RemoteCluster>) -> &'a Namespace {
        cluster.map_or(&self.namespace, |cluster| &cluster.namespace)
    }

    /// UID of the platform; none for a file that was never applied.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        self.owner.as_ref().map(|owner| owner.uid.as_str())
    }

    /// Services that the platform deploys itself.
    pub fn deployed_services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| service.url.is_none())
    }

    /// Name of a region's workload and Service of a role.
    #[must_use]
    pub fn regional(&self, region: &RegionName, role: Role) -> String {
        names::regional(self.name.as_str(), region.as_str(), role)
    }

    /// Names of the Services in front of a region's origin replicas: the same as the names of the pods.
    #[must_use]
    pub fn origin_services(&self, region: &Region) -> Vec<String> {
        (0..self.origin.replicas.0)
            .map(|ordinal| names::origin_replica(self.name.as_str(), region.name.as_str(), ordinal))
            .collect()
    }

    /// Name of the Secret that holds the key playback tokens are signed with.
    #[must_use]
    pub fn signing_secret(&self) -> String {
        names::signing_key(self.name.as_str())
    }
}

/// Images and the cache's executable.
#[derive(Clone, Debug)]
pub struct Images {
    /// Image of encoder, origin, steering and services.
    pub media: String,
    /// Image of shield and edge.
    pub cache: String,
    /// Executable in it.
    pub cache_command: String,
}

/// One live stream.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Name.
    pub name: ChannelName,
    /// Where the pictures come from.
    pub input: Input,
    /// Rungs, as data-plane configuration takes them.
    pub ladder: Vec<Rung>,
    /// The audio rendition.
    pub audio: Audio,
    /// Frames per second.
    pub frame_rate: u32,
    /// Segment length in seconds.
    pub segment_seconds: u32,
    /// Seconds kept and listed.
    pub dvr_seconds: u32,
}

/// One place the platform runs in.
#[derive(Clone, Debug)]
pub struct Region {
    /// Name; also the pathway's ID.
    pub name: RegionName,
    /// Roles in the order in which media flows, each once.
    pub roles: Vec<Role>,
    /// Relative share of the audience.
    pub weight: u32,
    /// Where its pods run. Never empty.
    pub node_selector: BTreeMap<String, String>,
    /// Base URL given by the spec, without a trailing slash.
    pub public_url: Option<String>,
    /// Its cluster; `None` is the platform's own.
    pub cluster: Option<RemoteCluster>,
}

impl Region {
    /// Whether the region has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// Sizing of encoders.
#[derive(Clone, Debug)]
pub struct EncoderTier {
    /// Which origins are pushed to.
    pub push_to: PushTo,
    /// CPU request.
    pub cpu: Millicores,
    /// Memory request and limit.
    pub memory: Mebibytes,
}

/// Sizing and freshness of origins.
#[derive(Clone, Debug)]
pub struct OriginTier {
    /// Replicas a region.
    pub replicas: Replicas,
    /// When an origin is ready.
    pub freshness: Freshness,
    /// CPU request.
    pub cpu: Millicores,
    /// Memory request and limit.
    pub memory: Mebibytes,
}

/// Sizing of shields.
#[derive(Clone, Debug)]
pub struct ShieldTier {
    /// Replicas a region.
    pub replicas: Replicas,
    /// Cache size.
    pub cache: Mebibytes,
    /// CPU request.
    pub cpu: Millicores,
}

/// Sizing of edges.
#[derive(Clone, Debug)]
pub struct EdgeTier {
    /// What one replica carries. At least 1.
    pub viewers_per_replica: Viewers,
    /// What one replica may send.
    pub egress: Option<MegabitsPerSecond>,
    /// Cache size.
    pub cache: Mebibytes,
    /// CPU request.
    pub cpu: Millicores,
    /// How replicas follow the audience.
    pub autoscaling: Autoscaling,
}

/// How replicas follow the audience.
#[derive(Clone, Debug)]
pub struct Autoscaling {
    /// Off: exactly `min` replicas.
    pub enabled: bool,
    /// Fewest replicas of a region.
    pub min: Replicas,
    /// Most replicas of a region; at least `min`.
    pub max: Replicas,
    /// CPU utilisation aimed for, in percent of the request.
    pub target_cpu_percent: u32,
    /// Capacity kept free above the measured audience, in percent of it.
    pub headroom_percent: u32,
    /// How long a raised floor and a recommendation to shrink are held.
    pub scale_down_stabilisation: Duration,
}

/// Steering servers.
#[derive(Clone, Debug)]
pub struct SteeringTier {
    /// Replicas a region.
    pub replicas: Replicas,
    /// Off: players never change pathway.
    pub failover: bool,
    /// How often players poll, in seconds.
    pub ttl_seconds: u32,
    /// How edges are probed.
    pub probe: Probe,
}

/// A playback service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Name.
    pub name: ServiceName,
    /// What it does.
    pub kind: ServiceKind,
    /// URL of a service that others run, without a trailing slash.
    pub url: Option<String>,
    /// Replicas a region.
    pub replicas: Replicas,
}

/// What must be survived.
#[derive(Clone, Copy, Debug)]
pub struct Resilience {
    /// Regions that may vanish at once.
    pub regions_to_lose: u32,
    /// Viewers at the peak; 0 where only the measured audience counts.
    pub peak: Viewers,
}
