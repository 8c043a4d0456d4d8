//! What a fault may touch.

use std::collections::BTreeMap;

use showrunner_crds::{
    labels,
    platform::{Region, Role, StreamingPlatformSpec},
    scenario::FaultAction,
};

/// The pods that a fault may touch: a label selector, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blast {
    /// Labels every touched pod has, besides the platform's own.
    pub labels: BTreeMap<String, String>,
    /// At most this many pods at a time; all where `None`.
    pub count: Option<u32>,
    /// Regions that cannot serve viewers while it lasts.
    pub regions_lost: Vec<String>,
}

/// What an action may touch on a platform, or why it aims at nothing.
pub fn blast(action: &FaultAction, platform: &StreamingPlatformSpec) -> Result<Blast, String> {
    let region_known = |name: &str| -> Result<(), String> {
        if platform.regions.iter().any(|r| r.name == name) {
            return Ok(());
        }
        let known = platform
            .regions
            .iter()
            .map(|r| format!("`{}`", r.name))
            .collect::<Vec<_>>()
            .join(", ");
        Err(format!("the platform has no region `{name}`; it has {known}"))
    };
    let role_in = |role: Role, region: Option<&String>| -> Result<(), String> {
        if let Some(region) = region {
            region_known(region)?;
        }
        let here = platform
            .regions
            .iter()
            .any(|r| region.is_none_or(|name| &r.name == name) && r.roles.contains(&role));
        let place = region.map_or_else(|| "the platform".to_owned(), |name| format!("region `{name}`"));
        if here {
            Ok(())
        } else {
            Err(format!("{place} has no {role}"))
        }
    };
    let select = |role: Role, region: Option<&String>| {
        let mut selector = BTreeMap::from([(labels::ROLE.to_owned(), role.to_string())]);
        if let Some(region) = region {
            selector.insert(labels::REGION.to_owned(), region.clone());
        }
        selector
    };
    // Regions that serve nobody while their edges are gone.
    let without_edges = |role: Role, region: Option<&String>| -> Result<Vec<String>, String> {
        if role != Role::Edge {
            return Ok(Vec::new());
        }
        let with_edges = platform
            .regions
            .iter()
            .filter(|r| r.roles.contains(&Role::Edge))
            .map(|r| &r.name);
        let (lost, left): (Vec<&String>, Vec<&String>) = with_edges.partition(|name| region.is_none_or(|r| &r == name));
        if left.is_empty() {
            return Err(no_path(role));
        }
        Ok(lost.into_iter().cloned().collect())
    };
    match action {
        FaultAction::RegionLoss { region } => {
            region_known(region)?;
            if platform
                .regions
                .iter()
                .filter(|r| r.roles.contains(&Role::Edge))
                .count()
                < 2
            {
                return Err(format!(
                    "`{region}` is the only region with edges: its loss would leave no path to any viewer"
                ));
            }
            Ok(Blast {
                labels: BTreeMap::from([(labels::REGION.to_owned(), region.clone())]),
                count: None,
                regions_lost: vec![region.clone()],
            })
        }
        FaultAction::PodKill { role, region, count } => {
            role_in(*role, region.as_ref())?;
            let regions_lost = if count.is_none_or(|count| u64::from(count) >= most_edges(platform, region.as_ref())) {
                without_edges(*role, region.as_ref())?
            } else {
                Vec::new()
            };
            Ok(Blast {
                labels: select(*role, region.as_ref()),
                count: *count,
                regions_lost,
            })
        }
        FaultAction::NetworkPartition { role, region } => {
            role_in(*role, region.as_ref())?;
            let regions_lost = without_edges(*role, region.as_ref())?;
            let others = platform
                .regions
                .iter()
                .any(|r| region.as_ref().is_some_and(|lost| &r.name != lost) && r.roles.contains(role));
            // Edges fetch from any shield, shields from any origin, and any encoder keeps a stream alive: one region with
            // the role is enough. Without steering, whoever watches goes on.
            if !others && matches!(role, Role::Encoder | Role::Origin | Role::Shield) {
                return Err(no_path(*role));
            }
            Ok(Blast {
                labels: select(*role, region.as_ref()),
                count: None,
                regions_lost,
            })
        }
        FaultAction::NetworkDelay { role, region, .. } => {
            role_in(*role, region.as_ref())?;
            Ok(Blast {
                labels: select(*role, region.as_ref()),
                count: None,
                regions_lost: Vec::new(),
            })
        }
        FaultAction::CacheFlush { role, region } => {
            if !matches!(role, Role::Edge | Role::Shield) {
                return Err(format!("cacheFlush takes `edge` or `shield`, found `{role}`"));
            }
            role_in(*role, region.as_ref())?;
            Ok(Blast {
                labels: select(*role, region.as_ref()),
                count: None,
                regions_lost: Vec::new(),
            })
        }
        FaultAction::ServiceBrownOut { service, .. } => {
            let Some(found) = platform.services.iter().find(|s| &s.name == service) else {
                return Err(format!("the platform has no service `{service}`"));
            };
            if found.url.is_some() {
                return Err(format!(
                    "service `{service}` is run by others (it has a url): we do not break what is not ours"
                ));
            }
            Ok(Blast {
                labels: BTreeMap::from([(labels::SERVICE.to_owned(), service.clone())]),
                count: None,
                regions_lost: Vec::new(),
            })
        }
    }
}

fn no_path(role: Role) -> String {
    format!("it takes every {role} of every region: that would leave no path to any viewer")
}

/// As many edges as the regions may have, or the one that is named.
fn most_edges(platform: &StreamingPlatformSpec, region: Option<&String>) -> u64 {
    let scaling = &platform.edge.autoscaling;
    let most = if scaling.enabled {
        scaling.max_replicas.max(scaling.min_replicas)
    } else {
        scaling.min_replicas
    };
    let has_edges = |r: &&Region| r.roles.contains(&Role::Edge) && region.is_none_or(|name| &r.name == name);
    platform.regions.iter().filter(has_edges).count() as u64 * u64::from(most)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::platform;

    #[test]
    fn every_edge_at_once_is_refused_however_it_is_said() {
        let platform = platform();
        for action in [
            FaultAction::NetworkPartition {
                role: Role::Edge,
                region: None,
            },
            FaultAction::PodKill {
                role: Role::Edge,
                region: None,
                count: None,
            },
        ] {
            assert!(blast(&action, &platform).is_err(), "{action:?}");
        }
        let some = FaultAction::PodKill {
            role: Role::Edge,
            region: None,
            count: Some(1),
        };
        assert!(blast(&some, &platform).unwrap().regions_lost.is_empty());
        let one = FaultAction::NetworkPartition {
            role: Role::Edge,
            region: Some("eu".into()),
        };
        assert_eq!(blast(&one, &platform).unwrap().regions_lost, ["eu"]);
    }
    /// Three regions with at most 20 edges each.
    #[test]
    fn a_count_of_all_that_there_may_be_is_all_of_them() {
        let kill = |region: Option<&str>, count| {
            let action = FaultAction::PodKill {
                role: Role::Edge,
                region: region.map(str::to_owned),
                count: Some(count),
            };
            blast(&action, &platform()).map(|blast| blast.regions_lost)
        };
        assert_eq!(kill(Some("eu"), 10_000).unwrap(), ["eu"]);
        assert_eq!(kill(Some("eu"), 20).unwrap(), ["eu"]);
        assert!(kill(Some("eu"), 19).unwrap().is_empty());
        assert!(kill(None, 59).unwrap().is_empty());
        for count in [60, 10_000] {
            let refused = kill(None, count).unwrap_err();
            assert!(refused.contains("every edge of every region"), "{refused}");
        }
        let mut fixed = platform();
        fixed.edge.autoscaling.enabled = false;
        let one = FaultAction::PodKill {
            role: Role::Edge,
            region: Some("eu".into()),
            count: Some(1),
        };
        assert_eq!(blast(&one, &fixed).unwrap().regions_lost, ["eu"]);
    }

    #[test]
    fn no_tier_that_media_passes_through_is_cut_off_everywhere() {
        let cut = |role, region: Option<&str>, platform: &StreamingPlatformSpec| {
            let region = region.map(str::to_owned);
            blast(&FaultAction::NetworkPartition { role, region }, platform)
        };
        let platform = platform();
        let mut single = platform.clone();
        // `us` and `apac` have edges only.
        single.regions[1].roles = single.regions[2].roles.clone();
        for role in [Role::Encoder, Role::Origin, Role::Shield] {
            let refused = cut(role, None, &platform).unwrap_err();
            assert!(refused.contains(&format!("every {role} of every region")), "{refused}");
            assert!(cut(role, Some("eu"), &platform).is_ok(), "us has the {role}");
            assert!(cut(role, Some("eu"), &single).is_err(), "eu alone has the {role}");
        }
        for role in [Role::Steering, Role::Services] {
            assert!(cut(role, None, &platform).is_ok(), "{role}");
        }
    }
}
