//! What viewers saw: startup, rebuffering, fatal errors, gaps (CTA-2066 definitions).

use std::time::Duration;

use super::{Finding, seconds};
use crate::judge::{Facts, Session};

/// Percentile of the startup time of sessions whose playback began in the window.
pub(super) fn startup(facts: &Facts, (from, to): (i64, i64), percentile: f64, below: Duration) -> Finding {
    let mut times: Vec<i64> = facts
        .sessions
        .iter()
        .filter_map(|s| s.playing_since.map(|since| (since, since - s.started)))
        .filter(|(since, _)| (from..to).contains(since))
        .map(|(_, took)| took)
        .collect();
    // Who never got a picture waited at least as long as they stayed: leaving them out would flatter the platform.
    let waited = facts.sessions.iter().filter(|s| s.playing_since.is_none());
    let waited = waited.map(|s| (s.started, s.end(facts.end) - s.started));
    times.extend(
        waited
            .filter(|(started, took)| (from..to).contains(started) && *took >= below.as_millis() as i64)
            .map(|(_, took)| took),
    );
    times.sort_unstable();
    let Some(at) = nearest_rank(&times, percentile) else {
        return Finding::nothing("no session started in the window");
    };
    let worst = times.last().copied().unwrap_or(at);
    Finding::new(
        at < below.as_millis() as i64,
        format!("p{percentile} {}", seconds(at)),
        times.len(),
        format!("{} sessions, slowest {}", times.len(), seconds(worst)),
    )
}

/// Nearest-rank percentile of sorted values.
fn nearest_rank(sorted: &[i64], percentile: f64) -> Option<i64> {
    let rank = (percentile / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1)))
        .copied()
}

/// Stalled time over stalled and playing time, of all sessions, clipped to the window.
pub(super) fn rebuffer(facts: &Facts, window: (i64, i64), below_percent: f64) -> Finding {
    let (mut stalled, mut watched, mut sessions, mut hit) = (0_i64, 0_i64, 0_usize, 0_usize);
    for session in &facts.sessions {
        let Some(since) = session.playing_since else { continue };
        let whole = overlap((since, session.end(facts.end)), window);
        if whole == 0 {
            continue;
        }
        let lost: i64 = session
            .stalls
            .iter()
            .map(|&(a, b)| overlap((a, b.unwrap_or(session.end(facts.end))), window))
            .sum();
        sessions += 1;
        hit += usize::from(lost > 0);
        stalled += lost;
        watched += whole;
    }
    if watched == 0 {
        return Finding::nothing("nobody watched in the window");
    }
    let ratio = 100.0 * stalled as f64 / watched as f64;
    Finding::new(
        ratio < below_percent,
        format!("{ratio:.2} %"),
        sessions,
        format!(
            "{} stalled of {} watched; {hit} of {sessions} sessions stalled",
            seconds(stalled),
            seconds(watched)
        ),
    )
}

/// Sessions that ended with a fatal error in the window.
pub(super) fn fatal(facts: &Facts, (from, to): (i64, i64), at_most: u32) -> Finding {
    let began = facts
        .sessions
        .iter()
        .filter(|s| s.started < to && s.end(facts.end) >= from)
        .count();
    let fatal: Vec<_> = facts
        .sessions
        .iter()
        .filter_map(|s| s.fatal.as_ref())
        .filter(|(at, _)| (from..to).contains(at))
        .collect();
    if began == 0 {
        return Finding::nothing("no session in the window");
    }
    let because = fatal.first().map_or_else(
        || format!("none of {began} sessions"),
        |(at, reason)| format!("first at {}: {reason}", crate::plan::clock((*at).max(0) as u64)),
    );
    Finding::new(fatal.len() <= at_most as usize, fatal.len().to_string(), began, because)
}

/// The longest time that a viewer saw no new segment, of those that reach into the window: whole, as a gap that a fault causes
/// begins with the segment before it. Short gaps are not told one by one; a session counts with at least the most that those can
/// have been.
pub(super) fn gap(facts: &Facts, (from, to): (i64, i64), below: Duration) -> Finding {
    let watched = facts
        .sessions
        .iter()
        .filter(|s| s.playing_since.is_some_and(|p| p < to) && s.end(facts.end) >= from);
    let worst_of = |session: &Session| {
        let told = session
            .gaps
            .iter()
            .filter(|(began, ended)| *began < to && *ended > from);
        told.map(|(began, ended)| ended - began).chain(session.other_gaps).max()
    };
    let watched: Vec<i64> = watched.filter_map(worst_of).collect();
    let Some(worst) = watched.iter().copied().max() else {
        return Finding::nothing("nobody watched in the window");
    };
    Finding::new(
        worst < below.as_millis() as i64,
        seconds(worst),
        watched.len(),
        format!("over {} sessions", watched.len()),
    )
}

fn overlap((a, b): (i64, i64), (from, to): (i64, i64)) -> i64 {
    (b.min(to) - a.max(from)).max(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        judge::Outcome,
        testing::{facts, session},
    };

    const ALL: (i64, i64) = (i64::MIN, i64::MAX);

    #[test]
    fn startup_is_judged_at_its_percentile() {
        let sessions = (0..100)
            .map(|i| session(i, 0, Some(i64::from(i) * 10), 60_000))
            .collect();
        let facts = facts(sessions);
        assert_eq!(
            startup(&facts, ALL, 95.0, Duration::from_millis(941)).outcome,
            Outcome::Pass
        );
        assert_eq!(
            startup(&facts, ALL, 95.0, Duration::from_millis(940)).outcome,
            Outcome::Fail
        );
    }

    #[test]
    fn who_never_got_a_picture_counts_against_startup() {
        let facts = facts(vec![session(0, 0, None, 60_000), session(1, 0, Some(100), 60_000)]);
        assert_eq!(
            startup(&facts, ALL, 95.0, Duration::from_secs(2)).outcome,
            Outcome::Fail
        );
    }

    #[test]
    fn rebuffering_is_clipped_to_the_window() {
        let mut one = session(0, 0, Some(0), 100_000);
        one.stalls = vec![(40_000, Some(50_000))];
        let facts = facts(vec![one]);
        assert_eq!(rebuffer(&facts, ALL, 10.1).outcome, Outcome::Pass);
        assert_eq!(rebuffer(&facts, ALL, 10.0).outcome, Outcome::Fail);
        assert_eq!(rebuffer(&facts, (45_000, 55_000), 49.0).outcome, Outcome::Fail);
        assert_eq!(rebuffer(&facts, (60_000, 70_000), 0.1).outcome, Outcome::Pass);
    }

    #[test]
    fn a_stall_without_an_end_lasts_until_the_session_does() {
        let mut one = session(0, 0, Some(0), 100_000);
        one.stalls = vec![(50_000, None)];
        assert_eq!(rebuffer(&facts(vec![one]), ALL, 49.0).outcome, Outcome::Fail);
    }

    #[test]
    fn a_fatal_session_fails_and_its_reason_is_told() {
        let mut one = session(0, 0, Some(0), 100_000);
        one.fatal = Some((70_000, "no pathway left".into()));
        let finding = fatal(&facts(vec![one]), ALL, 0);
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.because.contains("1:10: no pathway left"), "{}", finding.because);
    }

    #[test]
    fn a_gap_is_seen() {
        let mut one = session(0, 0, Some(0), 100_000);
        one.gaps = vec![(18_000, 30_000)];
        one.other_gaps = Some(4000);
        let facts = facts(vec![one]);
        assert_eq!(gap(&facts, ALL, Duration::from_secs(12)).outcome, Outcome::Fail);
        assert_eq!(gap(&facts, ALL, Duration::from_secs(13)).outcome, Outcome::Pass);
        assert_eq!(
            gap(&facts, (200_000, 300_000), Duration::from_secs(5)).outcome,
            Outcome::Inconclusive
        );
    }

    #[test]
    fn a_gap_counts_where_it_was() {
        let mut one = session(0, 0, Some(0), 100_000);
        one.gaps = vec![(18_000, 30_000)];
        one.other_gaps = Some(4000);
        let facts = facts(vec![one]);
        let within = |window, below| gap(&facts, window, Duration::from_secs(below)).outcome;
        assert_eq!(
            within((29_000, 40_000), 12),
            Outcome::Fail,
            "it reaches into the window"
        );
        assert_eq!(within((30_000, 40_000), 5), Outcome::Pass, "it was over before");
        assert_eq!(within((0, 18_000), 5), Outcome::Pass, "it had not begun");
        assert_eq!(
            within((30_000, 40_000), 4),
            Outcome::Fail,
            "shorter ones are not told, so they may have been"
        );
    }

    #[test]
    fn sessions_that_never_told_their_gap_prove_nothing() {
        let facts = facts(vec![session(0, 0, Some(0), 100_000)]);
        assert_eq!(gap(&facts, ALL, Duration::from_secs(12)).outcome, Outcome::Inconclusive);
    }

    #[test]
    fn nobody_is_not_a_pass() {
        let facts = facts(vec![]);
        for finding in [
            startup(&facts, ALL, 95.0, Duration::from_secs(2)),
            rebuffer(&facts, ALL, 1.0),
            fatal(&facts, ALL, 0),
            gap(&facts, ALL, Duration::from_secs(9)),
        ] {
            assert_eq!(finding.outcome, Outcome::Inconclusive);
        }
    }
}
