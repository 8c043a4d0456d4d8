//! What faults may take: never the last region with edges, and nothing that is out of reach.

use std::{collections::BTreeSet, time::Duration};

use super::{
    against::{asked, brown_outs, targets},
    begin,
};
use crate::{
    platform::{Region, Role, StreamingPlatformSpec},
    rules::Broken,
    scenario::{Fault, FaultAction, ScenarioSpec},
};

/// A fault that leaves regions without edges.
struct Loss<'a> {
    path: String,
    detail: String,
    regions: BTreeSet<&'a str>,
    begin: Duration,
    end: Duration,
}

impl Loss<'_> {
    /// Whether it holds at a moment; what happens in an instant holds at that.
    fn holds(&self, at: Duration) -> bool {
        self.begin == at || self.begin < at && at < self.end
    }
}

/// A drill may never take the last region with edges.
pub(super) fn last_region(scenario: &ScenarioSpec, platform: &StreamingPlatformSpec) -> Vec<Broken> {
    let with_edges = |region: &&Region| region.roles.contains(&Role::Edge);
    let edges: BTreeSet<&str> = platform.regions.iter().filter(with_edges).map(name).collect();
    let faults = scenario.faults.iter().enumerate();
    let losses: Vec<Loss> = faults
        .filter_map(|(index, fault)| loss(index, fault, scenario, &edges))
        .collect();
    let mut found = vec![];
    for loss in &losses {
        // The set of lost regions only grows where a loss begins.
        let during = losses.iter().filter(|other| other.holds(loss.begin));
        let lost: BTreeSet<&str> = during.flat_map(|other| other.regions.iter().copied()).collect();
        if !edges.is_disjoint(&loss.regions) && edges.is_subset(&lost) {
            found.push(Broken {
                // When faults overlap depends on every duration.
                reads: Some("spec".into()),
                ..Broken::because(&loss.path, &loss.detail)
            });
        }
    }
    found
}

/// What a fault leaves without edges: all that it cuts off, and all whose edges it takes at once.
fn loss<'a>(index: usize, fault: &'a Fault, scenario: &ScenarioSpec, edges: &BTreeSet<&'a str>) -> Option<Loss<'a>> {
    let (action, region) = match &fault.action {
        FaultAction::RegionLoss { region } => ("regionLoss", Some(region)),
        FaultAction::NetworkPartition {
            role: Role::Edge,
            region,
        } => ("networkPartition", region.as_ref()),
        FaultAction::PodKill {
            role: Role::Edge,
            region,
            count: None,
        } => ("podKill", region.as_ref()),
        _ => return None,
    };
    let begin = begin(&scenario.audience.phases, fault)?;
    let path = format!("spec.faults[{index}].action.{action}");
    let (path, detail, regions) = match region {
        Some(region) => (
            format!("{path}.region"),
            format!("the loss of `{region}` would leave no region with edges"),
            BTreeSet::from([region.as_str()]),
        ),
        None => (
            format!("{path}.role"),
            "it takes every edge of every region; name a region, or let podKill have a count".to_owned(),
            edges.clone(),
        ),
    };
    Some(Loss {
        path,
        detail,
        regions,
        begin,
        end: begin + fault.duration.0,
    })
}

/// Faults on pods that only clusters of regions' own have: a drill talks to the platform's cluster alone.
pub(super) fn apart(scenario: &ScenarioSpec, platform: &StreamingPlatformSpec) -> Vec<Broken> {
    let named = asked(scenario)
        .filter(|asked| asked.path.starts_with("spec.faults["))
        .filter(|asked| elsewhere(platform, |region| region.name == asked.region))
        .map(|asked| {
            let detail = format!("`{}` runs in a cluster of its own", asked.region);
            Broken::because(asked.path, detail)
        });
    let anywhere = targets(scenario)
        .filter(|(_, role, region)| region.is_none() && elsewhere(platform, |region| region.roles.contains(role)))
        .map(|(path, role, _)| {
            let detail = format!("every region with the role {role} runs in a cluster of its own");
            Broken::because(format!("{path}.role"), detail)
        });
    let ours = |name: &str| {
        let mut services = platform.services.iter();
        services.any(|service| service.name == name && service.url.is_none())
    };
    let services = brown_outs(scenario)
        .filter(|(_, name)| ours(name) && elsewhere(platform, |region| region.roles.contains(&Role::Services)))
        .map(|(path, _)| {
            let detail = "every region with the role services runs in a cluster of its own";
            Broken::because(path, detail)
        });
    named.chain(anywhere).chain(services).collect()
}

/// Whether there are such regions, and all of them in clusters of their own.
fn elsewhere(platform: &StreamingPlatformSpec, wanted: impl Fn(&Region) -> bool) -> bool {
    let mut regions = platform.regions.iter().filter(|region| wanted(region)).peekable();
    regions.peek().is_some() && regions.all(|region| region.cluster.is_some())
}

fn name(region: &Region) -> &str {
    &region.name
}
