//! What the edges' caches did.

use super::Finding;
use crate::judge::Facts;

/// Segment bytes that edges answered from their cache.
pub(super) fn hit_ratio(facts: &Facts, (from, to): (i64, i64), above_percent: f64) -> Finding {
    if from >= to {
        return Finding::nothing("the window is empty");
    }
    let (mut hit, mut miss, mut requests) = (0_u64, 0_u64, 0_u64);
    for (_, bytes) in facts.cache.range(from..to) {
        hit += bytes.hit;
        miss += bytes.miss;
        requests += bytes.requests;
    }
    if hit + miss == 0 {
        return Finding::nothing("no segment said whether it was a hit");
    }
    let ratio = 100.0 * hit as f64 / (hit + miss) as f64;
    Finding::new(
        ratio > above_percent,
        format!("{ratio:.1} %"),
        requests as usize,
        format!("{:.1} MB hit, {:.1} MB missed", hit as f64 / 1e6, miss as f64 / 1e6),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        judge::{Outcome, facts::CacheBytes},
        testing::facts,
    };

    #[test]
    fn the_ratio_is_by_bytes_and_strictly_above() {
        let mut facts = facts(vec![]);
        facts.cache.insert(
            0,
            CacheBytes {
                hit: 95,
                miss: 5,
                requests: 100,
            },
        );
        assert_eq!(hit_ratio(&facts, (0, 10), 94.9).outcome, Outcome::Pass);
        assert_eq!(hit_ratio(&facts, (0, 10), 95.0).outcome, Outcome::Fail);
        assert_eq!(hit_ratio(&facts, (5, 10), 10.0).outcome, Outcome::Inconclusive);
    }
}
