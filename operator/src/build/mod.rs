//! Step three, pure: every Kubernetes object of a platform.
//!
//! *Architecture invariant:* nothing here talks to an API server, reads a clock or draws a random number. The same
//! platform, addresses and floors give the same objects, byte for byte.

mod autoscaling;
mod cache;
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
    floor::Floor,
    observed::Addresses,
    resources::{Object, Prepared, Resources},
    topology::Topology,
    validate::{ValidatedPlatform, names::RegionName, units::Replicas},
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
    let Input {
        platform,
        addresses,
        floors,
        fixed,
    } = input;
    let mut objects = Vec::new();
    objects.extend(identity::service_accounts(platform));
    objects.extend(network::policies(platform));
    objects.extend(steering::shared(platform, addresses));
    objects.extend(services::shared(platform));
    for region in &platform.regions {
        for &role in &region.roles {
            objects.extend(match role {
                Role::Encoder => encoder::render(platform, region),
                Role::Origin => origin::render(platform, region),
                Role::Shield => cache::shield(platform, region),
                Role::Edge => {
                    let mut edge = cache::edge(platform, region, fixed.get(&region.name).copied());
                    edge.extend(autoscaling::autoscaler(platform, region, floors.get(&region.name)));
                    edge
                }
                Role::Steering => steering::render(platform, region),
                Role::Services => services::render(platform, region),
            });
            objects.extend(autoscaling::disruption_budget(platform, region, role));
        }
    }
    Resources::new(objects, &Topology::of(platform).role_order())
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
