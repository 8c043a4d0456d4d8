//! Shields fetch each segment once: from whichever origin, however often origins restart.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use showrunner_crds::{
    labels, names,
    platform::{Role, StreamingPlatformSpec},
};

use super::Finding;
use crate::{
    judge::{Facts, Fetched},
    plan::{PlannedFault, Timeline},
};

/// How long before a fault's injection an answer may have been on its way when the fault cut it off: longer than a shield
/// waits for a byte.
const ON_ITS_WAY_MS: i64 = 3_000;

/// Most fetches of one segment by one shield, from all origins together.
///
/// A cache tries a fetch several times, each time at another origin. Tries are counted apart, and the largest count stands:
/// two equal tries are two fetches, a try and the next one are a fetch that failed over. An answer that an injected fault
/// may have swallowed between origin and shield does not count, for the shield must then ask again.
pub(super) fn judge(
    facts: &Facts,
    timeline: &Timeline,
    platform_name: &str,
    platform: &StreamingPlatformSpec,
    at_most: u32,
) -> Finding {
    let cuts = cuts(facts, timeline, platform_name, platform);
    let (mut total, mut swallowed, mut failed_over) = (0_u64, 0_u64, 0_u64);
    let mut worst: (u64, Option<&(String, String)>) = (0, None);
    let mut shields = BTreeSet::new();
    for (key, fetches) in &facts.origins.fetches {
        shields.insert(&key.0);
        let mut by_try: Vec<u64> = Vec::new();
        for fetched in fetches {
            let count: u64 = fetched.tries.iter().sum();
            total += count;
            if cuts.iter().any(|cut| cut.swallows(&key.0, fetched)) {
                swallowed += count;
                continue;
            }
            by_try.resize(by_try.len().max(fetched.tries.len()), 0);
            by_try.iter_mut().zip(&fetched.tries).for_each(|(sum, n)| *sum += n);
        }
        failed_over += by_try.iter().skip(1).sum::<u64>();
        let most = by_try.into_iter().max().unwrap_or(0);
        if most > worst.0 {
            worst = (most, Some(key));
        }
    }
    let objects = facts.origins.fetches.len();
    if objects == 0 {
        return Finding::nothing("no origin reported a segment fetched by a shield");
    }
    let mut because = format!("{total} fetches of {objects} segments by {} shields", shields.len());
    let unnamed = facts.origins.unnamed();
    for (count, what) in [
        (failed_over, "retried at another origin"),
        (swallowed, "left out: a fault cut off their origin or shield"),
        (unnamed, "of segments that no report names"),
        (
            facts.origins.restarts() as u64,
            "restarts of origins, whose last seconds are not on record",
        ),
    ] {
        if count > 0 {
            let _ = write!(because, "; {count} {what}");
        }
    }
    if let (most, Some((shield, segment))) = worst
        && most > 1
    {
        let _ = write!(because, "; {shield} fetched {segment} {most} times");
    }
    let pass = worst.0 <= u64::from(at_most);
    if pass && unnamed > 0 {
        // Those could be the very ones that were fetched too often.
        return Finding::nothing(because);
    }
    Finding::new(pass, format!("at most {}", worst.0), objects, because)
}

/// A stretch of time in which a fault stood between some pods and everyone else.
struct Cut {
    from: i64,
    to: i64,
    /// Beginnings of the names of the pods that it touched.
    pods: Vec<String>,
}

impl Cut {
    fn swallows(&self, shield: &str, fetched: &Fetched) -> bool {
        let touched = |name: &str| self.pods.iter().any(|beginning| name.starts_with(beginning.as_str()));
        (self.from..=self.to).contains(&fetched.at) && (touched(shield) || touched(&fetched.origin))
    }
}

fn cuts(facts: &Facts, timeline: &Timeline, platform_name: &str, platform: &StreamingPlatformSpec) -> Vec<Cut> {
    let planned: BTreeMap<&str, &PlannedFault> = timeline.faults.iter().map(|f| (f.fault.name.as_str(), f)).collect();
    let cut = |span: &crate::judge::FaultSpan| {
        let planned = planned.get(span.name.as_str())?;
        Some(Cut {
            from: span.injected? - ON_ITS_WAY_MS,
            to: span.undone_at.unwrap_or(i64::MAX),
            pods: touched(planned, platform_name, platform),
        })
    };
    facts.faults.iter().filter_map(cut).collect()
}

/// Origins and shields that a fault stands in the way of, by the beginnings of their names.
fn touched(planned: &PlannedFault, platform_name: &str, platform: &StreamingPlatformSpec) -> Vec<String> {
    // A flushed cache loses no answer on its way.
    if matches!(
        planned.fault.action,
        showrunner_crds::scenario::FaultAction::CacheFlush { .. }
    ) {
        return Vec::new();
    }
    let chosen = &planned.blast.labels;
    let allows = |label: &str, value: &str| chosen.get(label).is_none_or(|wanted| wanted == value);
    let mut pods = Vec::new();
    for region in platform.regions.iter().filter(|r| allows(labels::REGION, &r.name)) {
        for role in [Role::Origin, Role::Shield] {
            if allows(labels::ROLE, &role.to_string()) && !chosen.contains_key(labels::SERVICE) {
                pods.push(names::regional(platform_name, &region.name, role) + "-");
            }
        }
    }
    pods
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        evidence::OriginSeen,
        judge::{FaultSpan, OriginFacts, Outcome},
        plan::plan,
        testing::{facts, origin_seen, platform, scenario},
    };

    const EU: &str = "cinema-eu-origin-0";
    const US: &str = "cinema-us-origin-0";
    const SHIELD: &str = "cinema-apac-shield-1";

    fn one(pod: &str, instance: &str, tries: &[u64]) -> OriginSeen {
        let sum = tries.iter().sum();
        origin_seen(pod, instance, SHIELD, &[("main/low/1", tries)], sum)
    }

    fn with(looks: &[(i64, OriginSeen)], fault: Option<FaultSpan>) -> Finding {
        let mut origins = OriginFacts::default();
        for (t, seen) in looks {
            origins.take_in(*t, seen);
        }
        let mut facts = facts(vec![]);
        facts.origins = origins;
        facts.faults.extend(fault);
        let timeline = plan(&scenario(), &platform(), None).unwrap();
        judge(&facts, &timeline, "cinema", &platform(), 1)
    }

    fn found(looks: &[(i64, OriginSeen)]) -> Outcome {
        with(looks, None).outcome
    }

    #[test]
    fn once_passes_and_a_repeat_at_one_origin_fails() {
        assert_eq!(found(&[(0, one(EU, "a", &[1]))]), Outcome::Pass);
        assert_eq!(found(&[(0, one(EU, "a", &[2]))]), Outcome::Fail);
    }

    #[test]
    fn the_same_segment_from_two_origins_fails() {
        let finding = with(&[(0, one(EU, "a", &[1])), (0, one(US, "b", &[1]))], None);
        assert_eq!(
            (finding.outcome, finding.measured.as_str()),
            (Outcome::Fail, "at most 2")
        );
        assert!(
            finding
                .because
                .contains("cinema-apac-shield-1 fetched main/low/1 2 times"),
            "{}",
            finding.because
        );
    }

    #[test]
    fn a_restart_between_two_fetches_hides_neither() {
        assert_eq!(
            found(&[(0, one(EU, "a", &[1])), (9, one(EU, "b", &[1]))]),
            Outcome::Fail
        );
        let later = origin_seen(EU, "b", SHIELD, &[("main/low/2", &[1])], 1);
        assert_eq!(found(&[(0, one(EU, "a", &[2])), (9, later)]), Outcome::Fail);
    }

    #[test]
    fn the_next_try_at_another_origin_is_the_same_fetch() {
        assert_eq!(
            found(&[(0, one(EU, "a", &[1])), (0, one(US, "b", &[0, 1]))]),
            Outcome::Pass
        );
        assert_eq!(found(&[(0, one(US, "b", &[0, 2]))]), Outcome::Fail);
    }

    #[test]
    fn an_answer_that_a_fault_swallowed_is_asked_for_again() {
        let fault = |injected| {
            Some(FaultSpan {
                name: "lose-eu".into(),
                injected: Some(injected),
                undone_at: Some(40_000),
                failed: None,
            })
        };
        let twice = [(29_000, one(EU, "a", &[1])), (31_000, one(US, "b", &[1]))];
        assert_eq!(with(&twice, fault(30_000)).outcome, Outcome::Pass);
        assert_eq!(
            with(&twice, fault(35_000)).outcome,
            Outcome::Fail,
            "long before the fault"
        );
        let elsewhere = [(31_000, one(US, "b", &[2]))];
        assert_eq!(
            with(&elsewhere, fault(30_000)).outcome,
            Outcome::Fail,
            "untouched by the fault"
        );
    }

    #[test]
    fn what_no_report_names_is_no_pass() {
        let silent = origin_seen(EU, "a", SHIELD, &[], 5);
        assert_eq!(found(&[(0, one(EU, "a", &[1])), (9, silent)]), Outcome::Inconclusive);
        assert_eq!(found(&[]), Outcome::Inconclusive);
    }
}
