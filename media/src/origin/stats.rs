//! Who fetched what: whether the shields do their work can be read from here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use showrunner_crds::wire::{OriginStats, ShieldFetches};

/// Shields counted one by one; further ones are counted together as `other`.
const MOST_SHIELDS: usize = 64;

/// A segment as fetches name it: channel and rendition by their place in the configuration, and number.
pub type Key = (usize, usize, u64);

#[derive(Debug, Default)]
struct Shield {
    totals: ShieldFetches,
    /// Fetches of each segment that is still held. What is evicted can no longer be fetched, so its entry may go.
    recent: HashMap<Key, u64>,
}

#[derive(Debug, Default)]
struct Inner {
    published: u64,
    duplicates: u64,
    shields: BTreeMap<String, Shield>,
}

/// Counts of one origin, bounded in memory by shields × segments held.
#[derive(Debug, Default)]
pub struct Stats {
    inner: Mutex<Inner>,
}

impl Stats {
    /// A first copy was published.
    pub fn published(&self) {
        self.lock().published += 1;
    }

    /// A later copy was dropped.
    pub fn duplicate(&self) {
        self.lock().duplicates += 1;
    }

    /// `shield` has been sent the whole of a segment.
    pub fn fetched(&self, shield: &str, key: Key) {
        let mut inner = self.lock();
        let name = if inner.shields.contains_key(shield) || inner.shields.len() < MOST_SHIELDS {
            shield
        } else {
            "other"
        };
        let shield = inner.shields.entry(name.to_owned()).or_default();
        let times = shield.recent.entry(key).or_insert(0);
        *times += 1;
        shield.totals.fetches += 1;
        shield.totals.objects += u64::from(*times == 1);
        shield.totals.max_per_object = shield.totals.max_per_object.max(*times);
    }

    /// Forgets single segments of `channel` below `horizon`; the sums stay.
    pub fn forget(&self, channel: usize, horizon: u64) {
        for shield in self.lock().shields.values_mut() {
            shield.recent.retain(|key, _| key.0 != channel || key.2 >= horizon);
        }
    }

    /// The report.
    pub fn report(&self) -> OriginStats {
        let inner = self.lock();
        let shields = inner
            .shields
            .iter()
            .map(|(name, shield)| (name.clone(), shield.totals.clone()))
            .collect();
        OriginStats {
            published: inner.published,
            duplicates: inner.duplicates,
            shields,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_objects_fetches_and_the_most_fetched() {
        let stats = Stats::default();
        for key in [(0, 0, 1), (0, 0, 2), (0, 0, 2), (0, 1, 2)] {
            stats.fetched("shield-a", key);
        }
        stats.forget(0, 3);
        stats.fetched("shield-a", (0, 0, 3));
        let report = stats.report();
        assert_eq!(
            report.shields["shield-a"],
            ShieldFetches {
                objects: 4,
                fetches: 5,
                max_per_object: 2
            }
        );
        assert!(
            stats.lock().shields["shield-a"].recent.len() == 1,
            "what is evicted is forgotten"
        );
    }

    #[test]
    fn names_are_bounded() {
        let stats = Stats::default();
        for index in 0..1000 {
            stats.fetched(&format!("shield-{index}"), (0, 0, index));
        }
        let report = stats.report();
        assert_eq!(report.shields.len(), MOST_SHIELDS + 1);
        assert_eq!(report.shields["other"].fetches, 1000 - MOST_SHIELDS as u64);
    }
}
