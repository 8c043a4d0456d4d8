//! What shields fetched, put together from the reports of every start of every origin.

use std::collections::BTreeMap;

use showrunner_crds::wire::{SegmentFetches, ShieldFetches};

use crate::evidence::OriginSeen;

/// Fetches of one segment that one look at an origin added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// When the last of them was answered.
    pub at: i64,
    /// Pod of the origin.
    pub origin: String,
    /// How many, by the number of the try.
    pub tries: Vec<u64>,
}

/// Fetches by shield and segment, from all origins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginFacts {
    /// By shield and segment.
    pub fetches: BTreeMap<(String, String), Vec<Fetched>>,
    /// What is known of each (origin, instance, shield).
    counts: BTreeMap<(String, String, String), Count>,
}

/// What one start of an origin counted of one shield.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Count {
    /// The last totals of each segment.
    segments: BTreeMap<String, Vec<u64>>,
    /// Fetches that were counted before the first look and whose segments were forgotten by then.
    before: u64,
    /// Fetches at the last look.
    fetches: u64,
}

impl OriginFacts {
    /// Takes in a report. Reports carry totals, so that a repeated one adds nothing and a lost one takes nothing away.
    pub(super) fn take_in(&mut self, t: i64, seen: &OriginSeen) {
        for (shield, fetches) in seen.stats.shields.iter().filter(|(name, _)| *name != "none") {
            let key = (seen.pod.clone(), seen.stats.instance.clone(), shield.clone());
            let count = self.counts.entry(key).or_insert_with(|| Count {
                before: fetches.fetches.saturating_sub(listed(fetches)),
                ..Count::default()
            });
            count.fetches = count.fetches.max(fetches.fetches);
            for segment in &fetches.segments {
                let known = count.segments.entry(segment.segment.clone()).or_default();
                let tries = grown(known, segment);
                if tries.iter().any(|n| *n > 0) {
                    let at = t.saturating_sub(i64::try_from(segment.age_ms).unwrap_or(i64::MAX));
                    self.fetches
                        .entry((shield.clone(), segment.segment.clone()))
                        .or_default()
                        .push(Fetched {
                            at,
                            origin: seen.pod.clone(),
                            tries,
                        });
                }
            }
        }
    }

    /// Fetches that origins counted while they were looked at and that no report names the segment of.
    #[must_use]
    pub fn unnamed(&self) -> u64 {
        let counts = self.counts.values();
        counts
            .map(|count| {
                let named: u64 = count.segments.values().flatten().sum();
                count.fetches.saturating_sub(named + count.before)
            })
            .sum()
    }

    /// Starts of origins beyond each one's first.
    #[must_use]
    pub fn restarts(&self) -> usize {
        let mut starts: Vec<_> = self.counts.keys().map(|(pod, instance, _)| (pod, instance)).collect();
        starts.dedup();
        let all = starts.len();
        starts.dedup_by_key(|(pod, _)| *pod);
        all - starts.len()
    }
}

fn listed(fetches: &ShieldFetches) -> u64 {
    fetches.segments.iter().flat_map(|s| &s.tries).sum()
}

/// What `seen` has more than `known`, by try; `known` becomes the larger of the two.
fn grown(known: &mut Vec<u64>, seen: &SegmentFetches) -> Vec<u64> {
    known.resize(known.len().max(seen.tries.len()), 0);
    let more = seen.tries.iter().zip(known.iter_mut()).map(|(now, before)| {
        let more = now.saturating_sub(*before);
        *before += more;
        more
    });
    more.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::origin_seen;

    fn key(segment: &str) -> (String, String) {
        ("s".to_owned(), segment.to_owned())
    }

    #[test]
    fn a_repeated_report_adds_nothing_and_totals_make_up_for_a_lost_one() {
        let mut facts = OriginFacts::default();
        facts.take_in(10, &origin_seen("o", "a", "s", &[("m/1", &[1])], 1));
        facts.take_in(10, &origin_seen("o", "a", "s", &[("m/1", &[1])], 1));
        assert_eq!(facts.fetches[&key("m/1")].len(), 1);
        facts.take_in(20, &origin_seen("o", "a", "s", &[("m/1", &[3])], 3));
        let tries: Vec<_> = facts.fetches[&key("m/1")].iter().map(|f| f.tries.clone()).collect();
        assert_eq!(tries, [[1], [2]]);
        assert_eq!((facts.unnamed(), facts.restarts()), (0, 0));
    }

    #[test]
    fn a_restart_goes_on_where_the_last_start_ended() {
        let mut facts = OriginFacts::default();
        facts.take_in(10, &origin_seen("o", "a", "s", &[("m/1", &[1])], 1));
        facts.take_in(20, &origin_seen("o", "b", "s", &[("m/1", &[1])], 1));
        assert_eq!(facts.fetches[&key("m/1")].len(), 2);
        assert_eq!(facts.restarts(), 1);
    }

    #[test]
    fn fetches_that_no_report_names_are_known_to_be_missing() {
        let mut facts = OriginFacts::default();
        facts.take_in(10, &origin_seen("o", "a", "s", &[("m/9", &[1])], 9));
        assert_eq!(facts.unnamed(), 0, "from before the first look");
        facts.take_in(20, &origin_seen("o", "a", "s", &[], 11));
        assert_eq!(facts.unnamed(), 2);
    }
}
