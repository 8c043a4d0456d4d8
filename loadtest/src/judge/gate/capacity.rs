//! Ready edges carry the audience in time, and are given back.

use std::{fmt::Write, time::Duration};

use showrunner_crds::platform::StreamingPlatformSpec;

use super::Finding;
use crate::{judge::Facts, plan::Timeline};

/// From `limit` after the end of the phase `surge`, at the moment of judgement, ready edges × viewers per edge cover the viewers who are there.
pub(super) fn scaling(
    facts: &Facts,
    timeline: &Timeline,
    platform: &StreamingPlatformSpec,
    surge: &str,
    limit: Duration,
    back_to_percent: u32,
) -> Finding {
    let Some(phase) = timeline.phases.iter().find(|p| p.name == surge) else {
        return Finding::nothing(format!("the scenario has no phase `{surge}`"));
    };
    let per_edge = platform.edge.viewers_per_replica;
    if per_edge == 0 {
        return Finding::nothing("the platform's edge.viewersPerReplica is 0: no number of edges carries anybody");
    }
    let (start, due) = (phase.start_ms as i64, phase.end_ms as i64 + limit.as_millis() as i64);
    let (Some(before), Some(_)) = (facts.ready_edges_at(start), facts.ready_edges_at(due)) else {
        return Finding::nothing("the edges were not observed");
    };
    let Some(audience) = facts.watching_at(due) else {
        return Finding::nothing("the audience was not observed");
    };
    let needed = audience.div_ceil(per_edge);
    if needed <= before {
        return Finding::nothing(format!(
            "{audience} viewers need {needed} edges and {before} were there before the surge: nothing had to scale"
        ));
    }
    // The first moment from the surge on at which the edges carried who was there.
    let covered = facts.edge_moments().filter(|at| *at >= start && *at <= due).find(|at| {
        let (ready, watching) = (facts.ready_edges_at(*at), facts.watching_at(*at));
        // Capacity for the surge's whole audience, not for whoever has arrived so far.
        ready
            .zip(watching)
            .is_some_and(|(ready, watching)| ready >= watching.max(audience).div_ceil(per_edge))
    });
    let peak = facts
        .edge_moments()
        .filter_map(|at| facts.ready_edges_at(at))
        .max()
        .unwrap_or(0);
    let end = facts.ready_edges_at(i64::MAX).unwrap_or(peak);
    let back = end * 100 <= peak * back_to_percent;
    let samples = facts.edge_moments().count();
    let measured = match covered {
        Some(at) => format!(
            "{:+.0} s, {before}→{peak}→{end}",
            (at - phase.end_ms as i64) as f64 / 1000.0
        ),
        None => format!("not in time, {before}→{peak}→{end}"),
    };
    let mut because = format!(
        "{audience} viewers need {needed} edges of {per_edge}; {before} ready before the surge, {peak} at the peak, {end} at the end"
    );
    if !back {
        let _ = write!(because, "; more than {back_to_percent} % of the peak were kept");
    }
    Finding::new(covered.is_some() && back, measured, samples, because)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        judge::Outcome,
        plan::plan,
        testing::{facts, platform, scenario},
    };

    /// Edges over time as `(moment, ready)`, with 40 viewers from the surge on, 10 to an edge.
    fn run(edges: &[(i64, u32)]) -> Finding {
        let mut facts = facts(vec![]);
        for (at, ready) in edges {
            facts.edges.insert((*at, "eu".into()), *ready);
        }
        facts.watching = [(0, 10), (10_000, 10), (20_000, 40), (45_000, 40), (60_000, 5)].into();
        let timeline = plan(&scenario(), &platform(), None).unwrap();
        scaling(&facts, &timeline, &platform(), "surge", Duration::from_secs(20), 50)
    }

    #[test]
    fn scaled_in_time_and_back_passes() {
        assert_eq!(
            run(&[(0, 1), (10_000, 1), (25_000, 4), (40_000, 4), (59_000, 1)]).outcome,
            Outcome::Pass
        );
    }

    #[test]
    fn frozen_fails() {
        assert_eq!(
            run(&[(0, 1), (10_000, 1), (25_000, 1), (40_000, 1), (59_000, 1)]).outcome,
            Outcome::Fail
        );
    }

    #[test]
    fn too_late_fails() {
        assert_eq!(
            run(&[(0, 1), (10_000, 1), (39_000, 3), (41_000, 4), (59_000, 1)]).outcome,
            Outcome::Fail
        );
    }

    #[test]
    fn never_given_back_fails() {
        assert_eq!(
            run(&[(0, 1), (10_000, 1), (25_000, 4), (59_000, 4)]).outcome,
            Outcome::Fail
        );
    }

    #[test]
    fn enough_from_the_start_proves_nothing() {
        assert_eq!(run(&[(0, 9), (59_000, 1)]).outcome, Outcome::Inconclusive);
        assert_eq!(run(&[]).outcome, Outcome::Inconclusive);
    }
}
