//! What neither the API's rules nor a newtype says: bounds that the schema states for newer objects, and names of objects
//! that are made of several names.

use std::collections::BTreeSet;

use showrunner_crds::{names, platform::Role};

use super::{error::Violations, platform::ValidatedPlatform};

/// Longest name of a Service or a label value.
const MAX_LABEL: usize = 63;
/// Longest name of a StatefulSet: its pods carry it in a label, with a hyphen and a hash of up to ten characters.
const MAX_STATEFUL_SET: usize = 52;

pub(super) fn check(platform: &ValidatedPlatform, violations: &mut Violations) {
    sizes(platform, violations);
    object_names(platform, violations);
}

fn sizes(platform: &ValidatedPlatform, violations: &mut Violations) {
    let edge = &platform.edge;
    if edge.viewers_per_replica.0 == 0 {
        violations.add("spec.edge.viewersPerReplica", "must be at least 1");
    }
    let scaling = &edge.autoscaling;
    if scaling.min.0 == 0 {
        violations.add("spec.edge.autoscaling.minReplicas", "must be at least 1");
    }
    if scaling.target_cpu_percent == 0 {
        violations.add("spec.edge.autoscaling.targetCpuPercent", "must be at least 1");
    }
    if platform.channels.is_empty() {
        violations.add("spec.channels", "needs at least one channel");
    }
}

/// Names made of names: none may be too long, and no two objects may come to have the same one.
fn object_names(platform: &ValidatedPlatform, violations: &mut Violations) {
    let name = platform.name.as_str();
    let mut services = vec![(names::steering(name), MAX_LABEL)];
    let mut workloads = Vec::new();
    for service in platform.deployed_services() {
        services.push((names::service(name, service.name.as_str()), MAX_LABEL));
    }
    for region in &platform.regions {
        for &role in &region.roles {
            let regional = platform.regional(&region.name, role);
            match role {
                Role::Encoder => workloads.extend(platform.channels.iter().map(|channel| {
                    (
                        names::encoder(name, region.name.as_str(), channel.name.as_str()),
                        MAX_STATEFUL_SET,
                    )
                })),
                Role::Origin => {
                    for ordinal in 0..platform.origin.replicas.0 {
                        services.push((names::origin_replica(name, region.name.as_str(), ordinal), MAX_LABEL));
                    }
                    services.push((regional.clone(), MAX_LABEL));
                    workloads.push((regional, MAX_STATEFUL_SET));
                }
                Role::Shield | Role::Edge => {
                    services.push((regional.clone(), MAX_LABEL));
                    workloads.push((regional, MAX_LABEL));
                }
                Role::Steering => workloads.push((regional, MAX_LABEL)),
                Role::Services => workloads.extend(platform.deployed_services().map(|service| {
                    (
                        names::service_workload(name, region.name.as_str(), service.name.as_str()),
                        MAX_LABEL,
                    )
                })),
            }
        }
    }
    for list in [services, workloads] {
        let mut seen = BTreeSet::new();
        for (object, max) in list {
            if object.len() > max {
                violations.add(
                    "metadata.name",
                    format!(
                        "the object `{object}` would have {} characters of {max}: shorten a name",
                        object.len()
                    ),
                );
            } else if !seen.insert(object.clone()) {
                violations.add(
                    "metadata.name",
                    format!("two objects would be called `{object}`: rename a part of it"),
                );
            }
        }
    }
}
