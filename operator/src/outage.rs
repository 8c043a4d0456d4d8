//! Regions that could not be applied and clusters that could not be asked, pure: each waits by itself until it is tried again,
//! so that it costs the others nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::backoff;

/// One that failed.
#[derive(Clone, Debug)]
struct Outage {
    failures: u32,
    retry: Timestamp,
    why: String,
}

/// Regions, or clusters, that failed when they were last tried.
#[derive(Clone, Debug)]
pub struct Outages<K>(BTreeMap<K, Outage>);

impl<K> Default for Outages<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Outages<K> {
    /// Those that are not tried yet, and why they failed.
    #[must_use]
    pub fn waiting(&self, now: Timestamp) -> BTreeMap<K, String> {
        let waiting = self.0.iter().filter(|(_, outage)| now < outage.retry);
        waiting
            .map(|(place, outage)| (place.clone(), outage.why.clone()))
            .collect()
    }

    /// Those that failed when they were last tried.
    #[must_use]
    pub fn failed(&self) -> BTreeSet<K> {
        self.0.keys().cloned().collect()
    }

    /// The same, each with why.
    #[must_use]
    pub fn reasons(&self) -> BTreeMap<K, String> {
        let outages = self.0.iter();
        outages
            .map(|(place, outage)| (place.clone(), outage.why.clone()))
            .collect()
    }

    /// Takes in what came of a look that began at `seen`: those that failed, those that were waiting then among them.
    /// The others wait from `now` on, for a look at what hangs takes its time. `jitter` is in [0, 1).
    pub fn take(
        &mut self,
        seen: Timestamp,
        now: Timestamp,
        failed: &BTreeMap<K, String>,
        mut jitter: impl FnMut() -> f64,
    ) {
        self.0.retain(|place, _| failed.contains_key(place));
        for (place, why) in failed {
            let failures = match self.0.get(place) {
                Some(outage) if seen < outage.retry => continue,
                Some(outage) => outage.failures.saturating_add(1),
                None => 1,
            };
            let retry = now
                .checked_add(backoff::after(failures, jitter()))
                .unwrap_or(Timestamp::MAX);
            let why = why.clone();
            self.0.insert(place.clone(), Outage { failures, retry, why });
        }
    }

    /// Everything is tried again at the next look.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::validate::names::RegionName;

    #[test]
    fn a_region_waits_ever_longer_until_it_is_back() {
        let south = RegionName::new("south").unwrap();
        let at = |millisecond: i64| Timestamp::from_millisecond(millisecond).unwrap();
        let failed: BTreeMap<_, _> = [(south.clone(), "no answer".to_owned())].into();
        let mut outages = Outages::default();
        let mut now = 0;
        for wait in [500, 1000, 2000, 4000] {
            outages.take(at(now), at(now), &failed, || 1.0);
            assert_eq!(outages.waiting(at(now + wait - 1)), failed);
            // A look in between does not prolong it.
            outages.take(at(now + wait - 1), at(now + wait - 1), &failed, || 1.0);
            assert!(outages.waiting(at(now + wait)).is_empty(), "after {wait} ms");
            assert!(outages.failed().contains(&south));
            now += wait;
        }
        outages.take(at(now), at(now), &BTreeMap::new(), || 1.0);
        assert!(outages.failed().is_empty());
        outages.take(at(now), at(now), &failed, || 0.0);
        assert!(outages.waiting(at(now + 250)).is_empty(), "it begins anew");
    }

    #[test]
    fn a_look_that_took_long_is_followed_by_a_wait() {
        let failed: BTreeMap<_, _> = [(RegionName::new("south").unwrap(), "no answer".to_owned())].into();
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut outages = Outages::default();
        outages.take(at(0), at(15), &failed, || 1.0);
        assert_eq!(outages.waiting(at(15)), failed);
    }
}
