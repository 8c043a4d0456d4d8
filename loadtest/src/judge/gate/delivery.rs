//! What the caches did: hit ratio at the edge, fetches at the origin.

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

/// Most fetches of one segment by one shield, over all origins.
pub(super) fn origin_fetches(facts: &Facts, at_most: u32) -> Finding {
    let fetches: Vec<_> = facts.shield_fetches().collect();
    let objects: u64 = fetches.iter().map(|f| f.objects).sum();
    let total: u64 = fetches.iter().map(|f| f.fetches).sum();
    if objects == 0 {
        return Finding::nothing("no origin reported a segment fetched by a shield");
    }
    let worst = fetches.iter().map(|f| f.max_per_object).max().unwrap_or(0);
    Finding::new(
        worst <= u64::from(at_most),
        format!("at most {worst}"),
        objects as usize,
        format!("{total} fetches of {objects} segments by {} shields", fetches.len()),
    )
}

#[cfg(test)]
mod tests {
    use showrunner_crds::wire::{OriginStats, ShieldFetches};

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

    #[test]
    fn one_repeat_fails() {
        let mut facts = facts(vec![]);
        let mut stats = OriginStats::default();
        stats.shields.insert(
            "eu-shield".into(),
            ShieldFetches {
                objects: 10,
                fetches: 10,
                max_per_object: 1,
            },
        );
        facts.origins.insert("eu-origin-0".into(), stats.clone());
        assert_eq!(origin_fetches(&facts, 1).outcome, Outcome::Pass);
        stats.shields.insert(
            "us-shield".into(),
            ShieldFetches {
                objects: 10,
                fetches: 11,
                max_per_object: 2,
            },
        );
        facts.origins.insert("us-origin-0".into(), stats);
        assert_eq!(origin_fetches(&facts, 1).outcome, Outcome::Fail);
    }

    #[test]
    fn silence_is_not_a_pass() {
        assert_eq!(origin_fetches(&facts(vec![]), 1).outcome, Outcome::Inconclusive);
    }
}
