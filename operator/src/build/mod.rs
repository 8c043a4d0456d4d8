//! Step three, pure: every Kubernetes object of a platform.
//!
//! *Architecture invariant:* nothing here talks to an API server, reads a clock or draws a random number. The same
//! platform, addresses and floors give the same objects, byte for byte.

mod autoscaling;
mod cache;
mod cluster;
mod config;
mod encoder;
mod identity;
mod meta;
mod network;
mod origin;
mod pod;
mod services;
mod steering;
#[cfg(test)]
mod tests;
pub mod vcl;

pub use services::KEY_FILE;

use std::collections::BTreeMap;

use showrunner_crds::platform::Role;

use crate::{
    addresses::Addresses,
    floor::Floor,
    kind::Stage,
    resources::{Object, Prepared, Resources},
    topology::Topology,
    validate::{RemoteCluster, ValidatedPlatform, names::RegionName, units::Replicas},
};

/// What the objects are rendered from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The platform.
    pub platform: &'a ValidatedPlatform,
    /// Addresses known so far.
    pub addresses: &'a Addresses,
    /// Floors by region; a region without one gets the spec's minimum.
    pub floors: &'a BTreeMap<RegionName, Floor>,
    /// Edges of the regions where their number is ours to write.
    pub fixed: &'a BTreeMap<RegionName, Replicas>,
}

/// Renders every object.
#[must_use]
pub fn build(input: Input<'_>) -> Resources<Prepared> {
    let platform = input.platform;
    let mut objects = Vec::new();
    let home = std::iter::once(None);
    for cluster in home.chain(platform.clusters().into_iter().map(Some)) {
        let in_cluster = of_cluster(input, cluster.as_ref()).into_iter();
        objects.extend(in_cluster.map(|object| match &cluster {
            Some(cluster) => cluster::relocated(object, cluster, platform.uid()),
            None => object,
        }));
    }
    Resources::new(objects, &Topology::of(platform).role_order())
}

/// Objects of one cluster.
fn of_cluster(input: Input<'_>, cluster: Option<&RemoteCluster>) -> Vec<Object> {
    let Input {
        platform,
        addresses,
        floors,
        fixed,
    } = input;
    let has = |role: Role| platform.regions_in(cluster).any(|region| region.has(role));
    let roles: Vec<Role> = Role::ALL.into_iter().filter(|&role| has(role)).collect();
    let mut objects = Vec::new();
    objects.extend(identity::service_accounts(platform, &roles));
    objects.extend(network::policies(platform, &roles));
    if has(Role::Steering) {
        objects.extend(steering::shared(platform, cluster, addresses));
    }
    if has(Role::Services) {
        objects.extend(services::shared(platform));
    }
    for region in platform.regions_in(cluster) {
        for &role in &region.roles {
            let mut of_role = match role {
                Role::Encoder => encoder::render(platform, region, addresses),
                Role::Origin => origin::render(platform, region),
                Role::Shield => cache::shield(platform, region, addresses),
                Role::Edge => {
                    let mut edge = cache::edge(platform, region, fixed.get(&region.name).copied(), addresses);
                    edge.extend(autoscaling::autoscaler(platform, region, floors.get(&region.name)));
                    edge
                }
                Role::Steering => steering::render(platform, region),
                Role::Services => services::render(platform, region),
            };
            of_role.extend(autoscaling::disruption_budget(platform, region, role));
            // What watches over a workload waits with it.
            if of_role.iter().any(|object| object.withheld) {
                let watching = of_role.iter_mut().filter(|object| object.kind.stage() == Stage::Policy);
                watching.for_each(|object| object.withheld = true);
            }
            objects.extend(of_role);
        }
    }
    objects
}

/// A helper of the modules: wraps typed objects of one region and role.
fn object<K: k8s_openapi::Resource + serde::Serialize>(
    kind: crate::kind::Kind,
    region: Option<&RegionName>,
    role: Role,
    object: &K,
) -> Object {
    Object::new(kind, region, role, object)
}
