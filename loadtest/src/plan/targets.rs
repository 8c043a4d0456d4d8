//! What a fault may touch.

use std::collections::BTreeMap;

use showrunner_crds::{
    labels,
    platform::{Role, StreamingPlatformSpec},
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
            return Err("it takes every edge of every region: that would leave no path to any viewer".to_owned());
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
            let regions_lost = if count.is_none() {
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
}
