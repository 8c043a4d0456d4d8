//! Viewers of a lost region play from another one in time.

use std::time::Duration;

use super::{Finding, seconds};
use crate::{judge::Facts, plan::Timeline};

/// Every viewer on a lost pathway that goes on watching gets a segment from another one within `limit`.
pub(super) fn time(facts: &Facts, timeline: &Timeline, fault: &str, limit: Duration) -> Finding {
    let Some(injected) = facts.faults.iter().find(|f| f.name == fault).and_then(|f| f.injected) else {
        return Finding::nothing(format!("fault `{fault}` was not injected"));
    };
    let Some(planned) = timeline.faults.iter().find(|f| f.fault.name == fault) else {
        return Finding::nothing(format!("the scenario has no fault `{fault}`"));
    };
    let lost = &planned.blast.regions_lost;
    if lost.is_empty() {
        return Finding::nothing(format!(
            "fault `{fault}` takes no region away: there is nothing to fail over from"
        ));
    }
    let limit_ms = limit.as_millis() as i64;
    let (mut affected, mut late, mut worst) = (0_usize, 0_usize, 0_i64);
    for session in &facts.sessions {
        let there = session
            .pathway_at(injected)
            .is_some_and(|p| lost.iter().any(|l| l == p));
        // Who leaves before the limit is no witness, unless an error made them leave.
        let stays = session.end(facts.end) >= injected + limit_ms || session.fatal.is_some();
        if !there || session.started > injected || session.end(facts.end) < injected || !stays {
            continue;
        }
        affected += 1;
        let elsewhere = session
            .segments
            .iter()
            .filter(|(at, pathway)| *at >= injected && !lost.contains(pathway))
            .map(|(at, _)| at - injected)
            .min();
        match elsewhere {
            Some(took) => {
                worst = worst.max(took);
                late += usize::from(took > limit_ms);
            }
            None => late += 1,
        }
    }
    if affected == 0 {
        return Finding::nothing(format!("nobody watched from {} when it was lost", lost.join(", ")));
    }
    let never = if worst == 0 {
        "never".to_owned()
    } else {
        format!("worst {}", seconds(worst))
    };
    Finding::new(
        late == 0,
        format!("{}/{affected} in time, {never}", affected - late),
        affected,
        format!(
            "{late} of {affected} viewers of {} did not play from elsewhere within {}",
            lost.join(", "),
            seconds(limit_ms)
        ),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        judge::{FaultSpan, Outcome},
        plan::plan,
        testing::{facts, platform, scenario, session},
    };

    fn run(move_after: Option<i64>, leaves_at: i64) -> Finding {
        let mut viewer = session(0, 0, Some(500), leaves_at);
        viewer.pathways = vec![(0, "eu".into())];
        viewer.segments = vec![(500, "eu".into())];
        if let Some(after) = move_after {
            viewer.segments.push((30_000 + after, "us".into()));
        }
        let mut facts = facts(vec![viewer]);
        facts.faults = vec![FaultSpan {
            name: "lose-eu".into(),
            injected: Some(30_000),
            undone_at: Some(40_000),
            failed: None,
        }];
        time(
            &facts,
            &plan(&scenario(), &platform(), None).unwrap(),
            "lose-eu",
            Duration::from_secs(10),
        )
    }

    #[test]
    fn in_time_passes_late_fails_never_fails() {
        assert_eq!(run(Some(10_000), 60_000).outcome, Outcome::Pass);
        assert_eq!(run(Some(10_001), 60_000).outcome, Outcome::Fail);
        assert_eq!(run(None, 60_000).outcome, Outcome::Fail);
    }

    #[test]
    fn who_leaves_early_is_no_witness() {
        assert_eq!(run(None, 35_000).outcome, Outcome::Inconclusive);
    }

    #[test]
    fn without_the_fault_there_is_nothing_to_judge() {
        let facts = facts(vec![session(0, 0, Some(1), 60_000)]);
        let timeline = plan(&scenario(), &platform(), None).unwrap();
        assert_eq!(
            time(&facts, &timeline, "lose-eu", Duration::from_secs(10)).outcome,
            Outcome::Inconclusive
        );
    }
}
