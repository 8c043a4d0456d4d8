//! The guardrail: never the last region that serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use crate::observe::Snapshot;

/// Regions that faults have taken. A look at the cluster shows a loss only some time after it, so a second fault cannot go by
/// what was seen last.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Faults that hold each region.
    taken: Mutex<BTreeMap<String, u32>>,
    /// By fault, the edges that it kills one by one: their UIDs.
    struck: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

/// A running edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    /// UID of the pod.
    pub(super) uid: String,
    /// Its region.
    pub(super) region: String,
    /// Whether it says that it is ready.
    pub(super) ready: bool,
}

impl Guard {
    /// Takes `regions`, unless no region with a ready edge would be left; then it says so and takes none.
    pub(super) fn take(&self, snapshot: &Snapshot, regions: &[String]) -> Result<(), String> {
        if regions.is_empty() {
            return Ok(());
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let left = snapshot
            .edges
            .iter()
            .any(|e| e.ready > 0 && !regions.contains(&e.region) && !taken.contains_key(&e.region));
        if !left {
            let gone: Vec<&str> = taken.keys().chain(regions).map(String::as_str).collect();
            return Err(format!(
                "no region but {} has a ready edge: the last healthy path is never cut",
                gone.join(", ")
            ));
        }
        for region in regions {
            *taken.entry(region.clone()).or_default() += 1;
        }
        Ok(())
    }

    /// Whether a region that no fault has taken has a ready edge.
    pub(super) fn others_serve(&self, snapshot: &Snapshot) -> bool {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut edges = snapshot.edges.iter();
        edges.any(|e| e.ready > 0 && !taken.contains_key(&e.region))
    }

    /// Counts the edges `chosen` as killed by `fault`, and gives their regions that have no ready edge but those that faults
    /// kill: these regions are lost with them. `edges` are all edges of those regions.
    pub(super) fn strike(&self, fault: &str, chosen: &[String], edges: &[Edge]) -> Vec<String> {
        let mut struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        struck
            .entry(fault.to_owned())
            .or_default()
            .extend(chosen.iter().cloned());
        let hit = edges.iter().filter(|edge| chosen.contains(&edge.uid));
        let hit: BTreeSet<&str> = hit.map(|edge| edge.region.as_str()).collect();
        let left = |region: &&str| {
            let spared = |edge: &Edge| !struck.values().any(|pods| pods.contains(&edge.uid));
            edges
                .iter()
                .any(|edge| edge.region == **region && edge.ready && spared(edge))
        };
        let emptied = hit.into_iter().filter(|region| !left(region));
        emptied.map(str::to_owned).collect()
    }

    /// The edges `chosen` are not killed after all.
    pub(super) fn spare(&self, fault: &str, chosen: &[String]) {
        let mut struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pods) = struck.get_mut(fault) {
            pods.retain(|uid| !chosen.contains(uid));
        }
    }

    /// Nothing of `fault` is left: the edges that it killed count no more.
    pub(super) fn over(&self, fault: &str) {
        let mut struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        struck.remove(fault);
    }

    /// Gives `regions` back once their fault is known to be undone.
    pub(super) fn release(&self, regions: &[String]) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for region in regions {
            if let Some(held) = taken.get_mut(region) {
                *held -= 1;
                if *held == 0 {
                    taken.remove(region);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::EdgeSeen;

    fn snapshot(ready: &[(&str, u32)]) -> Snapshot {
        let edges = ready.iter().map(|(region, ready)| EdgeSeen {
            region: (*region).into(),
            ready: *ready,
            ..EdgeSeen::default()
        });
        Snapshot {
            edges: edges.collect(),
            ..Snapshot::default()
        }
    }

    fn take(guard: &Guard, ready: &[(&str, u32)], region: &str) -> bool {
        guard.take(&snapshot(ready), &[region.to_owned()]).is_ok()
    }

    #[test]
    fn the_last_healthy_region_is_never_cut() {
        assert!(take(&Guard::default(), &[("eu", 2), ("us", 1)], "eu"));
        assert!(!take(&Guard::default(), &[("eu", 2), ("us", 0)], "eu"));
        assert!(!take(&Guard::default(), &[], "eu"), "no data is no permission");
    }

    #[test]
    fn two_losses_at_once_do_not_both_count_on_the_other_region() {
        let guard = Guard::default();
        let seen = [("eu", 2), ("us", 2)];
        assert!(take(&guard, &seen, "eu"));
        assert!(!take(&guard, &seen, "us"), "the look was before the loss of eu");
        guard.release(&["eu".to_owned()]);
        assert!(take(&guard, &seen, "us"));
    }

    /// `eu-0` and the like; those in `ready` are ready.
    fn edges(names: &[&str], ready: &[&str]) -> Vec<Edge> {
        let edge = |name: &&str| Edge {
            uid: (*name).to_owned(),
            region: name.chars().take_while(|c| *c != '-').collect(),
            ready: ready.contains(name),
        };
        names.iter().map(edge).collect()
    }

    #[test]
    fn a_region_is_lost_with_its_last_ready_edge() {
        let all = ["eu-0", "eu-1", "us-0", "us-1"];
        let seen = edges(&all, &["eu-0", "eu-1", "us-0"]);
        let strike = |guard: &Guard, fault: &str, uid: &str| guard.strike(fault, &[uid.to_owned()], &seen);
        let guard = Guard::default();
        assert!(strike(&guard, "a", "eu-0").is_empty(), "eu-1 is left");
        assert!(strike(&guard, "b", "us-1").is_empty(), "us-0 is left");
        assert_eq!(strike(&guard, "b", "us-0"), ["us"]);
        assert_eq!(strike(&guard, "b", "eu-1"), ["eu"], "the other fault kills eu-0");
        guard.spare("b", &["eu-1".to_owned()]);
        guard.over("a");
        assert!(strike(&guard, "b", "eu-0").is_empty(), "eu-1 is left again");
        let unready = edges(&all, &[]);
        assert_eq!(guard.strike("c", &["eu-1".to_owned()], &unready), ["eu"]);
    }

    #[test]
    fn while_a_region_is_lost_another_must_go_on_serving() {
        let guard = Guard::default();
        assert!(take(&guard, &[("eu", 2), ("us", 1)], "eu"));
        assert!(guard.others_serve(&snapshot(&[("eu", 0), ("us", 1)])));
        assert!(
            !guard.others_serve(&snapshot(&[("eu", 2), ("us", 0)])),
            "what is lost serves nobody"
        );
    }

    #[test]
    fn a_region_that_two_faults_hold_is_free_after_both() {
        let guard = Guard::default();
        let seen = [("eu", 2), ("us", 2), ("apac", 0)];
        assert!(take(&guard, &seen, "eu") && take(&guard, &seen, "eu"));
        guard.release(&["eu".to_owned()]);
        assert!(!take(&guard, &seen, "us"));
    }
}
