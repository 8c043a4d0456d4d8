//! Announced audiences, pure: what a premiere asks for at an instant, and how far it is.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use showrunner_autoscaling::prewarm::Announced;
use showrunner_crds::premiere::PremiereSpec;

/// How far a premiere is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is done for it yet.
    Scheduled,
    /// Capacity is being raised ahead of it.
    Warming,
    /// The doors are open.
    Live,
    /// Its capacity is no longer kept.
    Over,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The phase at an instant.
#[must_use]
pub fn phase(premiere: &PremiereSpec, now: Timestamp) -> Phase {
    let until_start = premiere.start.duration_since(now);
    if until_start > signed(premiere.prewarm_lead.0) {
        Phase::Scheduled
    } else if until_start > SignedDuration::ZERO {
        Phase::Warming
    } else if until_start > -signed(premiere.duration.0) {
        Phase::Live
    } else {
        Phase::Over
    }
}

/// The audience it announces, as the arithmetic of audiences takes it.
#[must_use]
pub fn announced(premiere: &PremiereSpec) -> Announced {
    let after = |duration: std::time::Duration| premiere.start.checked_add(signed(duration)).unwrap_or(Timestamp::MAX);
    Announced {
        opens: premiere.start,
        ramp: signed(premiere.ramp.0),
        closes: after(premiere.duration.0),
        lead: signed(premiere.prewarm_lead.0),
        viewers: u64::from(premiere.expected_viewers),
    }
}

/// When a premiere next changes phase; `None` once it is over.
#[must_use]
pub fn next_change(premiere: &PremiereSpec, now: Timestamp) -> Option<SignedDuration> {
    let until_start = premiere.start.duration_since(now);
    match phase(premiere, now) {
        Phase::Scheduled => Some(until_start - signed(premiere.prewarm_lead.0)),
        Phase::Warming => Some(until_start),
        Phase::Live => Some(until_start + signed(premiere.duration.0)),
        Phase::Over => None,
    }
}

fn signed(duration: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use showrunner_crds::duration::GoDuration;

    use super::*;

    fn premiere() -> PremiereSpec {
        PremiereSpec {
            platform: "cinema".into(),
            start: Timestamp::from_second(10_000).unwrap(),
            expected_viewers: 1000,
            ramp: GoDuration::from_secs(100),
            duration: GoDuration::from_secs(3600),
            prewarm_lead: GoDuration::from_secs(600),
        }
    }

    #[test]
    fn capacity_stands_a_lead_before_its_viewers() {
        let premiere = premiere();
        for (offset, expected, viewers) in [
            (-5000, Phase::Scheduled, 0),
            (-601, Phase::Scheduled, 0),
            (-600, Phase::Warming, 0),
            (-550, Phase::Warming, 500),
            (-500, Phase::Warming, 1000),
            (-1, Phase::Warming, 1000),
            (0, Phase::Live, 1000),
            (3599, Phase::Live, 1000),
            (3600, Phase::Over, 0),
        ] {
            let now = Timestamp::from_second(10_000 + offset).unwrap();
            assert_eq!(
                (phase(&premiere, now), announced(&premiere).warming(now)),
                (expected, viewers),
                "at {offset}"
            );
        }
    }

    #[test]
    fn the_next_change_ends_the_phase() {
        let premiere = premiere();
        for offset in [-5000, -600, -1, 0, 100] {
            let now = Timestamp::from_second(10_000 + offset).unwrap();
            let change = next_change(&premiere, now).unwrap();
            assert_ne!(phase(&premiere, now + change), phase(&premiere, now), "at {offset}");
        }
        assert_eq!(next_change(&premiere, Timestamp::from_second(20_000).unwrap()), None);
    }

    #[test]
    fn a_premiere_without_a_ramp_comes_at_once() {
        let premiere = PremiereSpec {
            ramp: GoDuration::default(),
            ..premiere()
        };
        assert_eq!(
            announced(&premiere).warming(Timestamp::from_second(9400).unwrap()),
            1000
        );
    }
}
