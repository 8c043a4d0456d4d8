//! Whether each region serves, and from what.

use std::collections::BTreeSet;

use showrunner_crds::{
    names,
    platform::{EdgeCapacity, RegionState, RegionStatus, Role, RoleStatus},
};

use super::Facts;
use crate::{
    kind::Kind,
    observed::{Observed, WorkloadState},
    validate::{Region, ValidatedPlatform, names::RegionName},
};

/// Workloads of one region and role.
pub(super) fn workloads(platform: &ValidatedPlatform, region: &Region, role: Role) -> Vec<(Kind, String)> {
    let (name, regional) = (platform.name.as_str(), platform.regional(&region.name, role));
    match role {
        Role::Encoder => platform
            .channels
            .iter()
            .map(|channel| {
                (
                    Kind::StatefulSet,
                    names::encoder(name, region.name.as_str(), channel.name.as_str()),
                )
            })
            .collect(),
        Role::Origin => vec![(Kind::StatefulSet, regional)],
        Role::Shield | Role::Edge | Role::Steering => vec![(Kind::Deployment, regional)],
        Role::Services => platform
            .deployed_services()
            .map(|service| {
                (
                    Kind::Deployment,
                    names::service_workload(name, region.name.as_str(), service.name.as_str()),
                )
            })
            .collect(),
    }
}

/// State of one region and role, summed over its workloads.
pub(super) fn role_state(
    platform: &ValidatedPlatform,
    observed: &Observed,
    region: &Region,
    role: Role,
) -> WorkloadState {
    let live = observed.of(region);
    let states = workloads(platform, region, role).into_iter().map(|(kind, name)| {
        let read = live.map(|live| WorkloadState::read(live, kind, &name));
        read.unwrap_or_default()
    });
    states.fold(
        WorkloadState {
            settled: true,
            ..WorkloadState::default()
        },
        |sum, state| WorkloadState {
            // Figures of another cluster may be anything.
            desired: sum.desired.saturating_add(state.desired),
            ready: sum.ready.saturating_add(state.ready),
            settled: sum.settled && state.settled,
        },
    )
}

/// Regions whose edges do not serve.
#[must_use]
pub fn unavailable(platform: &ValidatedPlatform, observed: &Observed) -> BTreeSet<RegionName> {
    platform
        .regions_with(Role::Edge)
        .filter(|region| role_state(platform, observed, region, Role::Edge).ready == 0)
        .map(|region| region.name.clone())
        .collect()
}

/// The roles of a region that have workloads, and how these do.
fn role_states(
    platform: &ValidatedPlatform,
    observed: &Observed,
    region: &Region,
) -> impl Iterator<Item = (Role, WorkloadState)> {
    let roles = region.roles.iter().copied();
    roles
        .filter(|&role| !workloads(platform, region, role).is_empty())
        .map(|role| (role, role_state(platform, observed, region, role)))
}

/// Whether a region serves from every role it has.
#[must_use]
pub fn serves(platform: &ValidatedPlatform, observed: &Observed, region: &Region) -> bool {
    role_states(platform, observed, region).all(|(_, state)| state.ready > 0)
}

pub(super) fn compute(facts: &Facts<'_>) -> Vec<RegionStatus> {
    facts
        .platform
        .regions
        .iter()
        .map(|region| region_status(facts, region))
        .collect()
}

fn region_status(facts: &Facts<'_>, region: &Region) -> RegionStatus {
    let Facts {
        platform,
        applied,
        observed,
        addresses,
        audience,
        floors,
        ..
    } = facts;
    let roles: Vec<(Role, WorkloadState)> = role_states(platform, observed, region).collect();
    let state = state(&roles);
    let edge = roles
        .iter()
        .find(|(role, _)| *role == Role::Edge)
        .and_then(|(_, edges)| {
            let floor = floors.get(&region.name)?;
            Some(EdgeCapacity {
                floor: floor.replicas.0,
                floor_reason: floor.reason.as_str().to_owned(),
                viewers: edges.ready.saturating_mul(platform.edge.viewers_per_replica.0),
            })
        });
    let message = applied
        .failures()
        .get(&region.name)
        .cloned()
        .or_else(|| message(state, &roles))
        .or_else(|| {
            let silent = audience.silent.contains(&region.name);
            silent.then(|| "steering servers do not tell their audience".to_owned())
        });
    RegionStatus {
        name: region.name.to_string(),
        state,
        url: region.has(Role::Edge).then(|| addresses.edge_url(region)).flatten(),
        audience: audience.of(&region.name),
        roles: roles
            .iter()
            .map(|(role, workload)| RoleStatus {
                role: role.to_string(),
                desired: workload.desired,
                ready: workload.ready,
            })
            .collect(),
        edge,
        message,
    }
}

/// Viewers are served by edges: without a ready one, a region that should have some does not serve, whatever else it has.
fn state(roles: &[(Role, WorkloadState)]) -> RegionState {
    let edges = roles.iter().find(|(role, _)| *role == Role::Edge);
    if roles.iter().all(|(_, workload)| workload.desired == 0) {
        RegionState::Unknown
    } else if edges.is_some_and(|(_, edges)| edges.ready == 0) || roles.iter().all(|(_, workload)| workload.ready == 0)
    {
        RegionState::Unavailable
    } else if roles.iter().all(|(_, workload)| workload.ready >= workload.desired) {
        RegionState::Ready
    } else {
        RegionState::Degraded
    }
}

fn message(state: RegionState, roles: &[(Role, WorkloadState)]) -> Option<String> {
    if state == RegionState::Ready {
        return None;
    }
    let short: Vec<String> = roles
        .iter()
        .filter(|(_, workload)| workload.ready < workload.desired || workload.desired == 0)
        .map(|(role, workload)| format!("{role} {}/{} ready", workload.ready, workload.desired))
        .collect();
    (!short.is_empty()).then(|| short.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_serves_through_its_edges() {
        let workload = |desired, ready| WorkloadState {
            desired,
            ready,
            settled: true,
        };
        for (edge, shield, expected) in [
            ((2, 2), (1, 1), RegionState::Ready),
            ((2, 1), (1, 1), RegionState::Degraded),
            ((2, 2), (1, 0), RegionState::Degraded),
            ((2, 0), (1, 1), RegionState::Unavailable),
            ((0, 0), (0, 0), RegionState::Unknown),
        ] {
            let roles = [
                (Role::Edge, workload(edge.0, edge.1)),
                (Role::Shield, workload(shield.0, shield.1)),
            ];
            assert_eq!(state(&roles), expected, "{roles:?}");
        }
        assert_eq!(
            state(&[(Role::Encoder, workload(1, 0)), (Role::Origin, workload(1, 0))]),
            RegionState::Unavailable
        );
        assert_eq!(
            state(&[(Role::Encoder, workload(1, 0)), (Role::Origin, workload(1, 1))]),
            RegionState::Degraded
        );
    }
}
