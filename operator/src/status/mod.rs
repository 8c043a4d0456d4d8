//! Step five: what the operator reports, a pure function of what was applied and what was observed.

mod conditions;
mod evacuation;
mod regions;
mod transitions;
mod update;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use showrunner_crds::platform::{
    ChannelEndpoint, ClusterStatus, RegionState, ServiceEndpoint, ServiceKind, StatusEndpoints, StreamingPlatformStatus,
};

pub use regions::{serves, unavailable};
pub use transitions::{Transition, transitions};
pub use update::{StatusError, update_platform, update_premiere};

use crate::{
    addresses::Addresses,
    audience::Audience,
    floor::Floor,
    observed::Observed,
    remote::Lingering,
    resources::{Applied, Resources},
    topology::Topology,
    validate::{RemoteCluster, ValidateError, ValidatedPlatform, names::RegionName},
};

/// Everything status is derived from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The platform.
    pub platform: &'a ValidatedPlatform,
    /// What was applied.
    pub applied: &'a Resources<Applied>,
    /// What was seen.
    pub observed: &'a Observed,
    /// Addresses known.
    pub addresses: &'a Addresses,
    /// The measured audience.
    pub audience: &'a Audience,
    /// Floors in force.
    pub floors: &'a BTreeMap<RegionName, Floor>,
    /// Regions whose edges do not serve.
    pub unavailable: &'a BTreeSet<RegionName>,
    /// The graph of the platform.
    pub topology: &'a Topology,
    /// Clusters that cannot be asked, and why.
    pub unseen: &'a BTreeMap<RemoteCluster, String>,
    /// Clusters that no region is in any more and that still have objects.
    pub leaving: &'a BTreeMap<RemoteCluster, Lingering>,
}

/// Status of a valid platform.
#[must_use]
pub fn compute(facts: &Facts<'_>) -> StreamingPlatformStatus {
    let regions = regions::compute(facts);
    let ready = regions
        .iter()
        .filter(|region| region.state == RegionState::Ready)
        .count();
    StreamingPlatformStatus {
        observed_generation: Some(facts.platform.generation),
        summary: format!("{ready}/{} regions ready", regions.len()),
        audience: facts.audience.total(),
        conditions: conditions::compute(facts, &regions),
        endpoints: endpoints(facts),
        clusters: clusters(facts),
        regions,
    }
}

fn clusters(facts: &Facts<'_>) -> Vec<ClusterStatus> {
    let status = |cluster: &RemoteCluster, message: Option<String>| ClusterStatus {
        addresses: facts.addresses.record(cluster),
        message,
        ..cluster.status()
    };
    let wanted = facts.platform.clusters();
    let wanted = wanted
        .iter()
        .map(|cluster| status(cluster, facts.unseen.get(cluster).cloned()));
    let leaving = facts.leaving.iter();
    wanted
        .chain(leaving.map(|(cluster, why)| status(cluster, why.message().map(str::to_owned))))
        .collect()
}

/// Status of a platform that is being deleted, while these clusters hold it.
#[must_use]
pub fn leaving(
    clusters: Vec<ClusterStatus>,
    before: Option<&StreamingPlatformStatus>,
    generation: i64,
    now: Timestamp,
) -> StreamingPlatformStatus {
    let mut status = before.cloned().unwrap_or_default();
    status.conditions = conditions::leaving(&clusters, &status.conditions, generation, now);
    status.observed_generation = Some(generation);
    status.clusters = clusters;
    status
}

/// Status of a platform that is refused: everything that runs goes on running, and is reported as it last was.
#[must_use]
pub fn refused(
    error: &ValidateError,
    before: Option<&StreamingPlatformStatus>,
    generation: i64,
    now: Timestamp,
) -> StreamingPlatformStatus {
    let mut status = before.cloned().unwrap_or_default();
    status.observed_generation = Some(generation);
    status.conditions = conditions::refused(error, &status.conditions, generation, now);
    status
}

fn endpoints(facts: &Facts<'_>) -> StatusEndpoints {
    let Facts {
        platform, addresses, ..
    } = facts;
    StatusEndpoints {
        channels: addresses
            .steering_url()
            .map(|base| {
                platform
                    .channels
                    .iter()
                    .map(|channel| ChannelEndpoint {
                        name: channel.name.to_string(),
                        url: format!("{base}/play/{}/multivariant.m3u8", channel.name),
                    })
                    .collect()
            })
            .unwrap_or_default(),
        services: platform
            .services
            .iter()
            .filter_map(|service| {
                Some(ServiceEndpoint {
                    name: service.name.to_string(),
                    kind: kind_name(service.kind).to_owned(),
                    url: addresses.service_url(service)?,
                })
            })
            .collect(),
    }
}

const fn kind_name(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Entitlement => "entitlement",
        ServiceKind::Licence => "licence",
        ServiceKind::Session => "session",
        ServiceKind::Other => "other",
    }
}

/// The condition of a type, if there is one.
fn find<'c>(conditions: &'c [Condition], type_: &str) -> Option<&'c Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}
