//! How many regions and pods faults touch at a time: counted on the pods that are there, whenever a fault takes more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use showrunner_crds::{
    labels,
    platform::{Role, StreamingPlatformSpec},
    scenario::Guardrails,
};

use super::{Guardrail, Place, Tripped};
use crate::plan::{PlannedFault, Timeline};

/// What may be touched at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Regions; any number where `None`.
    pub regions: Option<u32>,
    /// Running pods of a role in the whole platform, in percent.
    pub pod_percent: u32,
}

impl Limits {
    /// No limit.
    pub const NONE: Self = Self {
        regions: None,
        pod_percent: 100,
    };

    /// A scenario's limits. A cluster has one region touched unless the scenario says otherwise.
    #[must_use]
    pub fn of(guardrails: &Guardrails, place: Place) -> Self {
        Self {
            regions: guardrails.max_regions.or((place == Place::Cluster).then_some(1)),
            pod_percent: guardrails.max_pod_percent,
        }
    }

    /// Whether anything is limited at all.
    #[must_use]
    pub fn any(&self) -> bool {
        self.regions.is_some() || self.pod_percent < 100
    }
}

/// A running pod of the platform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Its UID: a pod of the same name later is another one.
    pub uid: String,
    /// Its role; empty where it has none.
    pub role: String,
    /// Its region; empty where it belongs to none.
    pub region: String,
}

impl Target {
    /// A pod that is there and running; otherwise nothing.
    #[must_use]
    pub fn of(pod: &Pod) -> Option<Self> {
        let running = pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
        if !running || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let label = |key: &str| pod.labels().get(key).cloned().unwrap_or_default();
        Some(Self {
            uid: pod.uid()?,
            role: label(labels::ROLE),
            region: label(labels::REGION),
        })
    }
}

/// The pods that faults hold.
#[derive(Debug)]
pub struct Ledger {
    limits: Limits,
    held: Mutex<BTreeMap<String, Held>>,
}

/// The pods that one fault holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pods: BTreeSet<Target>,
    /// It happens in an instant.
    instant: bool,
}

impl Held {
    /// Those that count as touched. What lasts has let go of a pod that is no longer there; a pod that was killed is gone because
    /// of it.
    fn counted<'a>(&'a self, there: &'a BTreeSet<&str>) -> impl Iterator<Item = &'a Target> {
        let gone_counts = self.instant;
        let pods = self.pods.iter();
        pods.filter(move |target| gone_counts || there.contains(target.uid.as_str()))
    }
}

impl Ledger {
    /// Nothing held.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: Mutex::default(),
        }
    }

    /// What it holds faults to.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes the pods `fresh` for `fault`, unless with them too many regions or too large a share of a role would be
    /// touched; then it takes none. `live` are the platform's running pods. What happens in an instant has no hold on the
    /// pods it took before: `instead` of them it takes these.
    pub fn claim(&self, fault: &str, fresh: &[String], live: &[Target], instead: bool) -> Result<(), Tripped> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = held.get(fault).filter(|_| !instead).cloned().unwrap_or_default();
        own.instant = instead;
        own.pods
            .extend(live.iter().filter(|target| fresh.contains(&target.uid)).cloned());
        let there = uids(live);
        let others = held.iter().filter(|(name, _)| *name != fault).map(|(_, pods)| pods);
        let all: Vec<&Held> = others.chain([&own]).collect();
        // Also those of which nothing is left: it may come back.
        let regions = all
            .iter()
            .flat_map(|held| &held.pods)
            .map(|target| target.region.as_str());
        self.limits.hold_regions(&regions.collect())?;
        let touched = all.iter().flat_map(|held| held.counted(&there)).collect();
        self.limits.hold_share(&touched, live)?;
        held.insert(fault.to_owned(), own);
        Ok(())
    }

    /// Whether what is held is not too large a share of any role, now that `live` are the running pods. What was killed counts
    /// neither as touched nor as running until more is claimed.
    pub fn recheck(&self, live: &[Target]) -> Result<(), Tripped> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let there = uids(live);
        let all = held.values().flat_map(|held| &held.pods);
        let touched = all.filter(|target| there.contains(target.uid.as_str())).collect();
        self.limits.hold_share(&touched, live)
    }

    /// What `fault` holds.
    pub(crate) fn held_by(&self, fault: &str) -> Option<Held> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(fault).cloned()
    }

    /// Takes back a claim of what was not touched after all: `fault` holds what it held `before`.
    pub(crate) fn unclaim(&self, fault: &str, before: Option<Held>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match before {
            Some(before) => drop(held.insert(fault.to_owned(), before)),
            None => drop(held.remove(fault)),
        }
    }

    /// Gives back what `fault` held, once it is known to be taken back.
    pub fn release(&self, fault: &str) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(fault);
    }
}

fn uids(live: &[Target]) -> BTreeSet<&str> {
    live.iter().map(|target| target.uid.as_str()).collect()
}

impl Limits {
    fn hold_regions(&self, regions: &BTreeSet<&str>) -> Result<(), Tripped> {
        if let Some(most) = self.regions
            && regions.len() > most as usize
        {
            let names: Vec<&str> = regions.iter().copied().collect();
            let why = format!(
                "{} regions would be touched at a time ({}), at most {most} may",
                names.len(),
                names.join(", ")
            );
            return Err(Tripped::new(Guardrail::MaxRegions, why));
        }
        Ok(())
    }

    fn hold_share(&self, touched: &BTreeSet<&Target>, live: &[Target]) -> Result<(), Tripped> {
        let roles: BTreeSet<&str> = touched.iter().map(|target| target.role.as_str()).collect();
        for role in roles {
            let of_role = |target: &&Target| target.role == role;
            let (taken, all) = (
                touched.iter().copied().filter(of_role).count(),
                live.iter().filter(of_role).count(),
            );
            // A pod that was killed is no longer there, and counts: so the share may be above 100 %.
            if taken * 100 > all * self.pod_percent as usize {
                let most = self.pod_percent;
                let why =
                    format!("{taken} of {all} running {role} pods would be touched at a time, at most {most} % may");
                return Err(Tripped::new(Guardrail::MaxPodPercent, why));
            }
        }
        Ok(())
    }
}

/// The faults that would touch too many regions together with those that overlap them, as far as the plan shows.
#[must_use]
pub fn planned(timeline: &Timeline, platform: &StreamingPlatformSpec, limits: Limits) -> Vec<(String, Tripped)> {
    let Some(most) = limits.regions else {
        return Vec::new();
    };
    let found = timeline.faults.iter().filter_map(|fault| {
        // Something that touches at least so many regions at the moment this one begins.
        let during = |other: &&PlannedFault| {
            other.fault.name == fault.fault.name
                || other.inject_ms <= fault.inject_ms && fault.inject_ms < other.undo_ms
        };
        let mut touched = BTreeSet::new();
        for other in timeline.faults.iter().filter(during) {
            touched.extend(regions(other, platform));
        }
        (touched.len() > most as usize).then(|| {
            let names: Vec<&str> = touched.into_iter().collect();
            let why = format!(
                "it touches {} regions at a time ({}), guardrails.maxRegions is {most}",
                names.len(),
                names.join(", ")
            );
            (fault.fault.name.clone(), Tripped::new(Guardrail::MaxRegions, why))
        })
    });
    found.collect()
}

/// Regions that a fault is certain to touch, by the platform's spec.
fn regions<'a>(fault: &PlannedFault, platform: &'a StreamingPlatformSpec) -> Vec<&'a str> {
    let labels = &fault.blast.labels;
    let named = labels.get(labels::REGION);
    let role = labels.get(labels::ROLE).map(String::as_str);
    let service = labels.contains_key(labels::SERVICE);
    let touched = platform.regions.iter().filter(|region| {
        named.is_none_or(|name| &region.name == name)
            && role.is_none_or(|role| region.roles.iter().any(|has| has.to_string() == role))
            && (!service || region.roles.contains(&Role::Services))
    });
    // A few pods drawn from all regions may well be of one.
    let most = if named.is_none() && fault.blast.count.is_some() {
        1
    } else {
        usize::MAX
    };
    touched.take(most).map(|region| region.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        plan::plan,
        testing::{platform, scenario},
    };

    /// `eu-edge-0` and the like: region, role, number.
    fn pods(names: &[&str]) -> Vec<Target> {
        let target = |name: &&str| {
            let mut parts = name.split('-');
            Target {
                uid: (*name).to_owned(),
                region: parts.next().unwrap().to_owned(),
                role: parts.next().unwrap().to_owned(),
            }
        };
        names.iter().map(target).collect()
    }

    fn ledger(regions: Option<u32>, pod_percent: u32) -> Ledger {
        Ledger::new(Limits { regions, pod_percent })
    }

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_second_region_is_refused_while_the_first_is_held() {
        let live = pods(&["eu-edge-0", "us-edge-0", "apac-edge-0"]);
        let ledger = ledger(Some(1), 100);
        assert!(ledger.claim("a", &named(&["eu-edge-0"]), &live, false).is_ok());
        let refused = ledger.claim("b", &named(&["us-edge-0"]), &live, false).unwrap_err();
        assert_eq!(refused.guardrail, Guardrail::MaxRegions);
        assert!(
            refused.why.contains("2 regions") && refused.why.contains("eu, us"),
            "{refused}"
        );
        ledger.release("a");
        assert!(ledger.claim("b", &named(&["us-edge-0"]), &live, false).is_ok());
        let all = self::ledger(Some(1), 100).claim("all", &named(&["eu-edge-0", "us-edge-0"]), &live, false);
        assert!(all.is_err(), "one fault in two regions");
        assert!(
            self::ledger(None, 100)
                .claim("all", &named(&["eu-edge-0", "us-edge-0"]), &live, false)
                .is_ok()
        );
    }

    #[test]
    fn pods_that_come_are_counted_again() {
        let ledger = ledger(None, 50);
        let mut live = pods(&["eu-edge-0", "us-edge-0", "us-origin-0"]);
        assert!(
            ledger.claim("lost", &named(&["eu-edge-0"]), &live, false).is_ok(),
            "1 of 2"
        );
        // The autoscaler adds edges where they are lost.
        live.extend(pods(&["eu-edge-1"]));
        let refused = ledger.claim("lost", &named(&["eu-edge-1"]), &live, false).unwrap_err();
        assert_eq!(refused.guardrail, Guardrail::MaxPodPercent);
        assert!(refused.why.contains("2 of 3 running edge pods"), "{refused}");
        live.extend(pods(&["us-edge-1"]));
        assert!(
            ledger.claim("lost", &named(&["eu-edge-1"]), &live, false).is_ok(),
            "2 of 4"
        );
        assert!(
            ledger.claim("o", &named(&["us-origin-0"]), &live, false).is_err(),
            "1 of 1 origin"
        );
    }

    #[test]
    fn a_claim_that_is_taken_back_leaves_what_was_held_before() {
        let live = pods(&["eu-edge-0", "us-edge-0", "apac-edge-0"]);
        let ledger = ledger(Some(1), 100);
        for before in [None, Some("eu-edge-0")] {
            if let Some(before) = before {
                ledger.claim("kill", &named(&[before]), &live, true).unwrap();
            }
            let held = ledger.held_by("kill");
            ledger.claim("kill", &named(&["us-edge-0"]), &live, true).unwrap();
            ledger.unclaim("kill", held);
            let other = ledger.claim("other", &named(&["apac-edge-0"]), &live, false);
            ledger.release("other");
            match before {
                None => assert!(other.is_ok(), "nothing is held"),
                Some(_) => assert!(other.unwrap_err().why.contains("apac, eu")),
            }
        }
    }

    #[test]
    fn what_is_held_is_too_much_once_the_role_shrinks() {
        let edges: Vec<String> = (0..10).map(|n| format!("eu-edge-{n}")).collect();
        let names: Vec<&str> = edges.iter().map(String::as_str).collect();
        let (live, ledger) = (pods(&names), ledger(None, 40));
        ledger.claim("slow", &named(&names[..4]), &live, false).unwrap();
        assert!(ledger.recheck(&live).is_ok(), "4 of 10");
        let tripped = ledger.recheck(&pods(&names[..5])).unwrap_err();
        assert_eq!(tripped.guardrail, Guardrail::MaxPodPercent);
        assert!(tripped.why.contains("4 of 5 running edge pods"), "{tripped}");
        // The autoscaler took those away that were touched: what is left is within the limit, and there is room for more.
        let others = pods(&names[3..]);
        assert!(ledger.recheck(&others).is_ok(), "1 of 7");
        assert!(
            ledger.claim("slow", &named(&names[4..5]), &others, false).is_ok(),
            "2 of 7"
        );
        assert!(
            ledger.claim("slow", &named(&names[5..7]), &others, false).is_err(),
            "4 of 7"
        );
        ledger.release("slow");
        assert!(ledger.recheck(&pods(&names[..1])).is_ok(), "nothing is held");
    }

    #[test]
    fn pods_that_were_killed_do_not_make_the_share_of_others_larger() {
        let live = pods(&["eu-edge-0", "eu-edge-1", "us-edge-0", "us-edge-1"]);
        let ledger = ledger(None, 50);
        ledger.claim("slow", &named(&["eu-edge-0"]), &live, false).unwrap();
        ledger.claim("kill", &named(&["eu-edge-1"]), &live, true).unwrap();
        let killed = pods(&["eu-edge-0", "us-edge-0", "us-edge-1"]);
        assert!(ledger.recheck(&killed).is_ok());
        let refused = ledger.claim("slow", &named(&["us-edge-0"]), &killed, false);
        assert!(refused.is_err(), "what was killed counts when more is taken");
        let back = pods(&["eu-edge-0", "eu-edge-2", "us-edge-0", "us-edge-1"]);
        assert!(ledger.recheck(&back).is_ok());
    }

    #[test]
    fn a_refused_claim_holds_nothing() {
        let live = pods(&["eu-edge-0", "us-edge-0"]);
        let ledger = ledger(None, 50);
        assert!(
            ledger
                .claim("a", &named(&["eu-edge-0", "us-edge-0"]), &live, false)
                .is_err()
        );
        assert!(ledger.claim("b", &named(&["us-edge-0"]), &live, false).is_ok());
    }

    #[test]
    fn one_at_a_time_is_one_and_two_faults_at_a_time_are_two() {
        let ledger = ledger(None, 25);
        let live = pods(&["eu-edge-0", "eu-edge-1", "us-edge-0", "us-edge-1"]);
        assert!(ledger.claim("kill", &named(&["eu-edge-0"]), &live, true).is_ok());
        let later = pods(&["eu-edge-2", "eu-edge-1", "us-edge-0", "us-edge-1"]);
        assert!(
            ledger.claim("kill", &named(&["eu-edge-1"]), &later, true).is_ok(),
            "the first was replaced"
        );
        let other = ledger.claim("more", &named(&["us-edge-0"]), &later, true);
        assert!(other.is_err(), "{other:?}");
    }

    #[test]
    fn only_running_pods_count() {
        let pod = |phase: &str, gone: bool| {
            let mut pod: Pod = serde_json::from_value(serde_json::json!({
                "metadata": {"uid": "1", "labels": {"showrunner.dev/role": "edge", "showrunner.dev/region": "eu"}},
                "status": {"phase": phase},
            }))
            .unwrap();
            pod.metadata.deletion_timestamp =
                gone.then(|| serde_json::from_value(serde_json::json!("2026-01-01T00:00:00Z")).unwrap());
            Target::of(&pod)
        };
        assert_eq!(pod("Running", false).unwrap().role, "edge");
        assert_eq!((pod("Pending", false), pod("Running", true)), (None, None));
    }

    #[test]
    fn a_plan_that_touches_two_regions_at_a_time_is_found() {
        let platform = platform();
        let limits = Limits::of(&Guardrails::default(), Place::Cluster);
        let timeline = |faults: serde_json::Value| {
            let mut scenario = scenario();
            scenario.faults = serde_json::from_value(faults).unwrap();
            plan(&scenario, &platform, None).unwrap()
        };
        let fault = |name: &str, after: &str, action: serde_json::Value| serde_json::json!({"name": name, "start": {"phase": "peak", "after": after}, "duration": "10s", "action": action});
        let slow =
            |region: &str| serde_json::json!({"networkDelay": {"role": "edge", "region": region, "latencyMs": 5}});
        let apart = timeline(serde_json::json!([
            fault("a", "0s", slow("eu")),
            fault("b", "10s", slow("us"))
        ]));
        assert_eq!(planned(&apart, &platform, limits), []);
        let together = timeline(serde_json::json!([
            fault("a", "0s", slow("eu")),
            fault("b", "9s", slow("us"))
        ]));
        let found = planned(&together, &platform, limits);
        assert!(found.len() == 1 && found[0].0 == "b", "{found:?}");
        let sandbox = Limits::of(&Guardrails::default(), Place::Sandbox);
        assert_eq!(planned(&together, &platform, sandbox), []);
        let everywhere = serde_json::json!({"cacheFlush": {"role": "edge"}});
        let flush = timeline(serde_json::json!([fault("flush", "0s", everywhere)]));
        let found = planned(&flush, &platform, limits);
        assert!(found.len() == 1 && found[0].1.why.contains("3 regions"), "{found:?}");
        let few = serde_json::json!({"podKill": {"role": "edge", "count": 1}});
        assert_eq!(
            planned(
                &timeline(serde_json::json!([fault("one", "0s", few)])),
                &platform,
                limits
            ),
            []
        );
    }
}
