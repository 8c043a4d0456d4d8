//! The guardrail: never the last region that serves.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::observe::Snapshot;

/// Regions that faults have taken. A look at the cluster shows a loss only some time after it, so a second fault cannot go by
/// what was seen last.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Faults that hold each region.
    taken: Mutex<BTreeMap<String, u32>>,
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
