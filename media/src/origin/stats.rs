//! Who fetched what: whether the shields do their work can be read from here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::random;
use showrunner_crds::wire::{OriginStats, SegmentFetches, ShieldFetches};

use crate::epoch;

/// Shields counted one by one; further ones are counted together as `other`.
const MOST_SHIELDS: usize = 64;
/// Tries of one fetch that are told apart; a cache makes three.
const MOST_TRIES: usize = 4;

/// A segment as fetches name it: channel and rendition by their place in the configuration, and number.
pub type Key = (usize, usize, u64);

/// Fetches of one segment.
#[derive(Debug, Default)]
struct Fetched {
    by_try: [u64; MOST_TRIES],
    /// Time of the last one.
    last: Duration,
    /// Place of the last one among all fetches from this origin.
    sequence: u64,
}

#[derive(Debug, Default)]
struct Shield {
    totals: ShieldFetches,
    /// Fetches of each segment that is still held. What is evicted can no longer be fetched, so its entry may go.
    recent: HashMap<Key, Fetched>,
}

#[derive(Debug, Default)]
struct Inner {
    published: u64,
    duplicates: u64,
    sequence: u64,
    shields: BTreeMap<String, Shield>,
}

/// Counts of one origin, bounded in memory by shields × segments held.
#[derive(Debug)]
pub struct Stats {
    /// Drawn anew at each start: who merges reports must not take two starts for one.
    instance: String,
    inner: Mutex<Inner>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            instance: format!("{:016x}", random::<u64>()),
            inner: Mutex::default(),
        }
    }
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

    /// `shield` has been sent the whole of a segment, at its try number `attempt`.
    pub fn fetched(&self, shield: &str, key: Key, attempt: usize) {
        let mut inner = self.lock();
        inner.sequence += 1;
        let sequence = inner.sequence;
        let name = if inner.shields.contains_key(shield) || inner.shields.len() < MOST_SHIELDS {
            shield
        } else {
            "other"
        };
        let shield = inner.shields.entry(name.to_owned()).or_default();
        let fetched = shield.recent.entry(key).or_default();
        fetched.by_try[attempt.min(MOST_TRIES - 1)] += 1;
        fetched.last = epoch::now();
        fetched.sequence = sequence;
        let times: u64 = fetched.by_try.iter().sum();
        shield.totals.fetches += 1;
        shield.totals.objects += u64::from(times == 1);
        shield.totals.max_per_object = shield.totals.max_per_object.max(times);
    }

    /// Forgets single segments of `channel` below `horizon`; the sums stay.
    pub fn forget(&self, channel: usize, horizon: u64) {
        for shield in self.lock().shields.values_mut() {
            shield.recent.retain(|key, _| key.0 != channel || key.2 >= horizon);
        }
    }

    /// The report: sums, and the segments whose counts changed after `since`, as `name` calls them.
    pub fn report(&self, since: u64, name: impl Fn(Key) -> String) -> OriginStats {
        let inner = self.lock();
        let now = epoch::now();
        let shields = inner
            .shields
            .iter()
            .map(|(shield, counts)| {
                let fresh = counts.recent.iter().filter(|(_, fetched)| fetched.sequence > since);
                let mut segments: Vec<_> = fresh.map(|(key, fetched)| segment(name(*key), fetched, now)).collect();
                segments.sort_by(|a, b| a.segment.cmp(&b.segment));
                let totals = counts.totals.clone();
                (shield.clone(), ShieldFetches { segments, ..totals })
            })
            .collect();
        OriginStats {
            instance: self.instance.clone(),
            cursor: inner.sequence,
            published: inner.published,
            duplicates: inner.duplicates,
            shields,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn segment(name: String, fetched: &Fetched, now: Duration) -> SegmentFetches {
    let used = fetched
        .by_try
        .iter()
        .rposition(|count| *count > 0)
        .map_or(0, |last| last + 1);
    SegmentFetches {
        segment: name,
        tries: fetched.by_try[..used].to_vec(),
        age_ms: u64::try_from(now.saturating_sub(fetched.last).as_millis()).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(stats: &Stats, since: u64) -> OriginStats {
        stats.report(since, |(channel, rendition, number)| {
            format!("{channel}/{rendition}/{number}")
        })
    }

    fn named(report: &OriginStats, shield: &str) -> Vec<(String, Vec<u64>)> {
        let segments = report.shields[shield].segments.iter();
        segments.map(|s| (s.segment.clone(), s.tries.clone())).collect()
    }

    #[test]
    fn counts_objects_fetches_and_the_most_fetched() {
        let stats = Stats::default();
        for key in [(0, 0, 1), (0, 0, 2), (0, 0, 2), (0, 1, 2)] {
            stats.fetched("shield-a", key, 0);
        }
        stats.forget(0, 3);
        stats.fetched("shield-a", (0, 0, 3), 0);
        let report = report(&stats, 0);
        let ShieldFetches {
            objects,
            fetches,
            max_per_object,
            ..
        } = report.shields["shield-a"];
        assert_eq!((objects, fetches, max_per_object), (4, 5, 2));
        assert!(
            stats.lock().shields["shield-a"].recent.len() == 1,
            "what is evicted is forgotten"
        );
    }

    #[test]
    fn a_report_has_what_changed_since_the_one_before() {
        let stats = Stats::default();
        stats.fetched("a", (0, 0, 1), 0);
        stats.fetched("a", (0, 0, 2), 0);
        let first = report(&stats, 0);
        assert_eq!(named(&first, "a").len(), 2);
        stats.fetched("a", (0, 0, 2), 1);
        let second = report(&stats, first.cursor);
        assert_eq!(
            named(&second, "a"),
            [("0/0/2".to_owned(), vec![1, 1])],
            "totals, by try"
        );
        assert!(report(&stats, second.cursor).shields["a"].segments.is_empty());
    }

    #[test]
    fn two_starts_are_told_apart() {
        let instance = || report(&Stats::default(), 0).instance;
        assert_ne!(instance(), instance());
    }

    #[test]
    fn names_are_bounded() {
        let stats = Stats::default();
        for index in 0..1000 {
            stats.fetched(&format!("shield-{index}"), (0, 0, index), 0);
        }
        let report = report(&stats, 0);
        assert_eq!(report.shields.len(), MOST_SHIELDS + 1);
        assert_eq!(report.shields["other"].fetches, 1000 - MOST_SHIELDS as u64);
    }
}
