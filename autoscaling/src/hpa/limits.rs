//! The last step: bounds and rates.

use jiff::Timestamp;

use super::history::History;
use super::rules::{Direction, Rules};
use super::settings::Settings;
use super::trace::{Sink, Step};

/// Least and greatest size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// `spec.minReplicas`, 1 when absent.
    pub min: i32,
    /// `spec.maxReplicas`.
    pub max: i32,
}

/// What, if anything, changed the recommendation. The reasons of the condition `ScalingLimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Nothing.
    DesiredWithinRange,
    /// `spec.minReplicas`.
    TooFewReplicas,
    /// `spec.maxReplicas`.
    TooManyReplicas,
    /// The rate of growth.
    ScaleUpLimit,
    /// The rate of shrinking.
    ScaleDownLimit,
}

impl Limit {
    /// The condition's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::DesiredWithinRange => "DesiredWithinRange",
            Self::TooFewReplicas => "TooFewReplicas",
            Self::TooManyReplicas => "TooManyReplicas",
            Self::ScaleUpLimit => "ScaleUpLimit",
            Self::ScaleDownLimit => "ScaleDownLimit",
        }
    }

    /// The condition's message.
    pub fn message(self) -> &'static str {
        match self {
            Self::DesiredWithinRange => "the desired count is within the acceptable range",
            Self::TooFewReplicas => "the desired replica count is less than the minimum replica count",
            Self::TooManyReplicas => "the desired replica count is more than the maximum replica count",
            Self::ScaleUpLimit => "the desired replica count is increasing faster than the maximum scale rate",
            Self::ScaleDownLimit => "the desired replica count is decreasing faster than the maximum scale rate",
        }
    }
}

/// Without `behavior`: bounds, and growth to `max(factor × current, minimum)` at most.
pub fn limit_plain(current: i32, desired: i32, bounds: Bounds, settings: &Settings) -> (i32, Limit) {
    let rate = plain_rate(current, settings);
    let (most, reason) = if bounds.max > rate {
        (rate, Limit::ScaleUpLimit)
    } else {
        (bounds.max, Limit::TooManyReplicas)
    };
    if desired < bounds.min {
        (bounds.min, Limit::TooFewReplicas)
    } else if desired > most {
        (most, reason)
    } else {
        (desired, Limit::DesiredWithinRange)
    }
}

/// The size a decision without `behavior` can reach.
pub(super) fn plain_rate(current: i32, settings: &Settings) -> i32 {
    (settings.scale_up_limit_factor * f64::from(current)).max(settings.scale_up_limit_minimum) as i32
}

/// With `behavior`: the policies of the direction, and the bound on that side.
pub fn limit_behavior(
    current: i32,
    desired: i32,
    bounds: Bounds,
    up: &Rules<'_>,
    down: &Rules<'_>,
    history: &History,
    now: Timestamp,
) -> (i32, Limit) {
    limit_behavior_traced(current, desired, bounds, up, down, history, now, &mut ())
}

#[allow(clippy::too_many_arguments)] // the traced twin of a function whose arguments are the rule's own
pub(super) fn limit_behavior_traced(
    current: i32,
    desired: i32,
    bounds: Bounds,
    up: &Rules<'_>,
    down: &Rules<'_>,
    history: &History,
    now: Timestamp,
    sink: &mut impl Sink,
) -> (i32, Limit) {
    let mut rate = |rules: &Rules<'_>| {
        let mut policies = Vec::new();
        let on = sink.on();
        let limit = rules.limit(current, &history.up, &history.down, now, |policy| {
            if on {
                policies.push(policy);
            }
        });
        sink.record(|| Step::Rate {
            direction: rules.direction,
            select: rules.select,
            policies,
            limit,
        });
        limit
    };
    if desired > current {
        // A rate used up within its period holds the size, it does not shrink it.
        let rate = rate(up).max(current);
        let (most, reason) = if bounds.max > rate {
            (rate, Limit::ScaleUpLimit)
        } else {
            (bounds.max, Limit::TooManyReplicas)
        };
        if desired > most {
            return (most, reason);
        }
    } else if desired < current {
        let rate = rate(down).min(current);
        let (least, reason) = if bounds.min < rate {
            (rate, Limit::ScaleDownLimit)
        } else {
            (bounds.min, Limit::TooFewReplicas)
        };
        if desired < least {
            return (least, reason);
        }
    }
    (desired, Limit::DesiredWithinRange)
}

/// The direction from one size to another; `None` when they are equal.
pub(super) fn direction(from: i32, to: i32) -> Option<Direction> {
    match to.cmp(&from) {
        std::cmp::Ordering::Greater => Some(Direction::Up),
        std::cmp::Ordering::Less => Some(Direction::Down),
        std::cmp::Ordering::Equal => None,
    }
}
