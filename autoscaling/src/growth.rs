//! The growth law: how fast a reactive autoscaler can grow at best.
//!
//! A utilisation metric says nothing beyond "saturated": pods that use all they may show `saturation` percent of their
//! requests, so one decision multiplies the pods that count by `saturation / target` at most. Pods count once they are
//! started and have been measured for a whole window; until then Kubernetes takes them for idle. So a deployment grows at
//! most `saturation / target` times per cycle, the cycle being pod start + metric window, rounded up to the next
//! evaluation. No tuning of `behavior` helps. An assertion that asks for more needs capacity that is there before the
//! audience.

use std::fmt;

use jiff::SignedDuration;
use serde::Serialize;

/// What the law depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Growth {
    /// Target utilisation, in percent of requests.
    pub target_percent: u32,
    /// The most a pod can use, in percent of its request: 100 when limit and request are equal.
    pub saturation_percent: u32,
    /// From creation of a pod to its being ready.
    pub pod_start: SignedDuration,
    /// The window usage is averaged over.
    pub metric_window: SignedDuration,
    /// How often the autoscaler is evaluated.
    pub sync_period: SignedDuration,
}

/// A size that cannot be reached in the time given, with the arithmetic.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub struct OutOfReach {
    /// The law's parameters.
    pub growth: Growth,
    /// Size at the start.
    pub from: u32,
    /// Size asked for.
    pub to: u32,
    /// Time given.
    pub within: SignedDuration,
    /// The most that can be ready by then.
    pub at_most: u32,
    /// The least time in which the size can be ready; `None` when never.
    pub least: Option<SignedDuration>,
}

impl fmt::Display for OutOfReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            growth,
            from,
            to,
            within,
            at_most,
            least,
        } = self;
        write!(
            f,
            "from {from} to {to} replicas in {within:#} is out of reach of a reactive autoscaler: a pod shows at most {}% \
             of its request, which at a target of {}% multiplies the size by {:.2} at most, and a new pod counts after \
             {:#} (start {:#}, metric window {:#}, next evaluation), so at most {at_most} are ready by then; ",
            growth.saturation_percent,
            growth.target_percent,
            growth.factor(),
            growth.cycle(),
            growth.pod_start,
            growth.metric_window,
        )?;
        match least {
            Some(least) => write!(f, "{to} take {least:#} at least. ")?,
            None => write!(f, "{to} are never reached, as the target is not below saturation. ")?,
        }
        f.write_str("Raise the floor before the audience comes (pre-warm).")
    }
}

impl Growth {
    /// The greatest factor of one decision.
    pub fn factor(&self) -> f64 {
        f64::from(self.saturation_percent) / f64::from(self.target_percent.max(1))
    }

    /// The time between decisions that build on each other: pod start and metric window, up to the next evaluation.
    pub fn cycle(&self) -> SignedDuration {
        let sync = self.sync_period.as_millis().max(1);
        let measured = (self.pod_start.as_millis() + self.metric_window.as_millis()).max(0);
        let cycle = ((measured + sync - 1) / sync * sync).max(sync);
        SignedDuration::from_millis(i64::try_from(cycle).unwrap_or(i64::MAX))
    }

    /// The size after one more decision in full saturation.
    fn step(&self, size: u32) -> u32 {
        // In floats, as the algorithm: an integer division would at times fall one short of it.
        ((self.factor() * f64::from(size)).ceil() as u32).max(size)
    }

    /// The most that can be ready `within` after the load has come, from `from` ready at that time. The first decision is
    /// taken to fall at once and on a saturated sample: the bound is never too low.
    pub fn at_most(&self, from: u32, within: SignedDuration) -> u32 {
        let mut left = within.as_millis() - self.pod_start.as_millis();
        let (cycle, mut size) = (self.cycle().as_millis(), from);
        while left >= 0 {
            let grown = self.step(size);
            if grown == size {
                break;
            }
            size = grown;
            left -= cycle;
        }
        size
    }

    /// The least time in which `to` can be ready; `None` when never.
    pub fn least_time(&self, from: u32, to: u32) -> Option<SignedDuration> {
        let (mut size, mut time) = (from, SignedDuration::ZERO);
        while size < to {
            let grown = self.step(size);
            if grown == size {
                return None;
            }
            time = if size == from {
                self.pod_start
            } else {
                time.checked_add(self.cycle())?
            };
            size = grown;
        }
        Some(time)
    }

    /// Refuses a size that no reactive autoscaler can reach in time.
    pub fn check(&self, from: u32, to: u32, within: SignedDuration) -> Result<(), OutOfReach> {
        let at_most = self.at_most(from, within);
        if at_most >= to {
            return Ok(());
        }
        let least = self.least_time(from, to);
        Err(OutOfReach {
            growth: *self,
            from,
            to,
            within,
            at_most,
            least,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const EDGE: Growth = Growth {
        target_percent: 50,
        saturation_percent: 100,
        pod_start: SignedDuration::from_secs(10),
        metric_window: SignedDuration::from_secs(60),
        sync_period: SignedDuration::from_secs(15),
    };

    #[test]
    fn one_factor_per_cycle() {
        assert_eq!(EDGE.cycle(), SignedDuration::from_secs(75));
        for (seconds, expected) in [(0, 4), (9, 4), (10, 8), (84, 8), (85, 16), (159, 16), (160, 32)] {
            assert_eq!(
                EDGE.at_most(4, SignedDuration::from_secs(seconds)),
                expected,
                "{seconds} s"
            );
        }
    }

    #[test]
    fn five_times_in_two_minutes_is_refused_with_the_arithmetic() {
        let error = EDGE.check(4, 20, SignedDuration::from_secs(120)).unwrap_err();
        assert_eq!((error.at_most, error.least), (16, Some(SignedDuration::from_secs(160))));
        let text = error.to_string();
        for part in [
            "from 4 to 20 replicas",
            "by 2.00 at most",
            "at most 16 are ready",
            "2m 40s at least",
            "pre-warm",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        assert_eq!(EDGE.check(4, 16, SignedDuration::from_secs(120)), Ok(()));
    }

    #[test]
    fn the_two_answers_agree() {
        for target in [30, 50, 60, 75, 90] {
            let growth = Growth {
                target_percent: target,
                ..EDGE
            };
            for to in [1, 2, 3, 5, 10, 100, 1000] {
                let least = growth.least_time(1, to).unwrap();
                assert!(growth.at_most(1, least) >= to, "{to} at {target}%");
                let before = least - SignedDuration::from_millis(1);
                assert!(
                    to == 1 || growth.at_most(1, before) < to,
                    "{to} at {target}% before {least:#}"
                );
            }
        }
    }

    #[test]
    fn a_target_at_saturation_never_grows() {
        let growth = Growth {
            target_percent: 100,
            ..EDGE
        };
        assert_eq!(growth.least_time(4, 5), None);
        assert_eq!(growth.at_most(4, SignedDuration::from_hours(24)), 4);
        assert!(
            growth
                .check(4, 5, SignedDuration::from_hours(24))
                .unwrap_err()
                .to_string()
                .contains("never reached")
        );
    }
}
