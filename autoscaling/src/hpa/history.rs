//! What the controller remembers of an autoscaler between evaluations.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::pods::after;
use super::rules::{Direction, Rules};

/// A size that was recommended, before stabilisation and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommendation {
    /// The size.
    pub replicas: i32,
    /// When.
    pub at: Timestamp,
}

/// A change of size that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleEvent {
    /// By how many replicas; never negative.
    pub change: i32,
    /// When.
    pub at: Timestamp,
    /// Older than every policy's period: the next event takes its place.
    #[serde(default)]
    pub outdated: bool,
}

/// The memory of one autoscaler. Kubernetes keeps it in the controller's memory and loses it with the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct History {
    /// Past recommendations. `None`: none was ever made, and the current size becomes the first, so that a restarted
    /// controller does not scale down before its window has passed.
    pub recommendations: Option<Vec<Recommendation>>,
    /// Changes up; kept only with `behavior`.
    pub up: Vec<ScaleEvent>,
    /// Changes down; kept only with `behavior`.
    pub down: Vec<ScaleEvent>,
}

fn ago(seconds: i64, now: Timestamp) -> Timestamp {
    after(now, SignedDuration::from_secs(seconds.saturating_neg()))
}

/// The replicas changed by `events` less than `period_seconds` ago.
pub fn change_within(events: &[ScaleEvent], period_seconds: i32, now: Timestamp) -> i32 {
    let cutoff = ago(i64::from(period_seconds), now);
    events
        .iter()
        .filter(|event| event.at > cutoff)
        .fold(0, |sum, event| sum.wrapping_add(event.change))
}

/// The result of a stabilisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stabilized {
    /// The size.
    pub replicas: i32,
    /// The direction in which recommendations held the proposal back; `None` when there is no `behavior` and it did not.
    pub towards: Direction,
}

impl History {
    /// Records the current size as the first recommendation if there is none.
    pub fn begin(&mut self, current: i32, now: Timestamp) {
        self.recommendations.get_or_insert_with(|| {
            vec![Recommendation {
                replicas: current,
                at: now,
            }]
        });
    }

    fn remember(&mut self, stale: Option<usize>, recommendation: Recommendation) {
        let all = self.recommendations.get_or_insert_default();
        match stale.and_then(|at| all.get_mut(at)) {
            Some(place) => *place = recommendation,
            None => all.push(recommendation),
        }
    }

    /// Without `behavior`: the largest recommendation of the last `window`, the edge included. Records `desired`.
    pub fn stabilize_down(&mut self, desired: i32, window: SignedDuration, now: Timestamp) -> i32 {
        let cutoff = after(now, -window);
        let (mut replicas, mut stale) = (desired, None);
        for (at, past) in self.recommendations.iter().flatten().enumerate() {
            if past.at < cutoff {
                stale = Some(at);
            } else {
                replicas = replicas.max(past.replicas);
            }
        }
        self.remember(
            stale,
            Recommendation {
                replicas: desired,
                at: now,
            },
        );
        replicas
    }

    /// With `behavior`: the current size, moved no further than both windows agree on; their edges excluded. Records
    /// `desired`.
    pub fn stabilize(
        &mut self,
        current: i32,
        desired: i32,
        up: &Rules<'_>,
        down: &Rules<'_>,
        now: Timestamp,
    ) -> Stabilized {
        let (up_cutoff, down_cutoff) = (ago(up.stabilization_seconds, now), ago(down.stabilization_seconds, now));
        let (mut lowest, mut highest, mut stale) = (desired, desired, None);
        for (at, past) in self.recommendations.iter().flatten().enumerate() {
            if past.at > up_cutoff {
                lowest = lowest.min(past.replicas);
            }
            if past.at > down_cutoff {
                highest = highest.max(past.replicas);
            }
            if past.at < up_cutoff && past.at < down_cutoff {
                stale = Some(at);
            }
        }
        self.remember(
            stale,
            Recommendation {
                replicas: desired,
                at: now,
            },
        );
        Stabilized {
            replicas: current.max(lowest).min(highest),
            towards: if desired >= current {
                Direction::Up
            } else {
                Direction::Down
            },
        }
    }

    /// The recommendations a window of `seconds` still sees, oldest first in the order they are kept.
    pub(super) fn recent(&self, seconds: i64, inclusive: bool, now: Timestamp) -> Vec<i32> {
        let cutoff = ago(seconds, now);
        let seen = |at: Timestamp| if inclusive { at >= cutoff } else { at > cutoff };
        self.recommendations
            .iter()
            .flatten()
            .filter(|past| seen(past.at))
            .map(|past| past.replicas)
            .collect()
    }

    /// Records a change that was carried out, in place of one older than every period of `rules` if there is one.
    pub fn store_event(&mut self, rules: &Rules<'_>, change: i32, now: Timestamp) {
        let events = match rules.direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        let cutoff = ago(i64::from(rules.longest_period()), now);
        for event in events.iter_mut().filter(|event| event.at < cutoff) {
            event.outdated = true;
        }
        let event = ScaleEvent {
            change,
            at: now,
            outdated: false,
        };
        match events.iter_mut().rfind(|event| event.outdated) {
            Some(place) => *place = event,
            None => events.push(event),
        }
    }
}
