//! `spec.behavior` with its defaults filled in, and the limits its policies set.

use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules};
use serde::{Deserialize, Serialize};

use super::history::{ScaleEvent, change_within};
use super::trace::PolicyTrace;
use jiff::Timestamp;

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// More replicas.
    Up,
    /// Fewer replicas.
    Down,
}

/// What a policy's value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyKind {
    /// Pods.
    Pods,
    /// Percent of the size at the start of the period.
    Percent,
    /// A type the API would have refused; it repeats the policy before it, as in Kubernetes.
    Unknown,
}

/// One scaling policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What `value` counts.
    pub kind: PolicyKind,
    /// How much may change within the period.
    pub value: i32,
    /// The period in seconds.
    pub period_seconds: i32,
}

impl From<&HPAScalingPolicy> for Policy {
    fn from(policy: &HPAScalingPolicy) -> Self {
        let kind = match policy.type_.as_str() {
            "Pods" => PolicyKind::Pods,
            "Percent" => PolicyKind::Percent,
            _ => PolicyKind::Unknown,
        };
        Self {
            kind,
            value: policy.value,
            period_seconds: policy.period_seconds,
        }
    }
}

/// How several policies combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Select {
    /// The policy that allows the greatest change.
    Max,
    /// The policy that allows the least change.
    Min,
    /// No change in this direction.
    Disabled,
}

const UP: [Policy; 2] = [
    Policy {
        kind: PolicyKind::Pods,
        value: 4,
        period_seconds: 15,
    },
    Policy {
        kind: PolicyKind::Percent,
        value: 100,
        period_seconds: 15,
    },
];
const DOWN: [Policy; 1] = [Policy {
    kind: PolicyKind::Percent,
    value: 100,
    period_seconds: 15,
}];

#[derive(Clone, Copy, Debug)]
enum Policies<'a> {
    Named(&'a [HPAScalingPolicy]),
    Default(&'static [Policy]),
}

/// The rules of one direction.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The direction.
    pub direction: Direction,
    /// Seconds over which recommendations are held against a change in this direction.
    pub stabilization_seconds: i64,
    /// How policies combine.
    pub select: Select,
    policies: Policies<'a>,
}

impl<'a> Rules<'a> {
    /// `spec` with the API's defaults filled in field by field. `downscale_stabilization_seconds` is the controller's
    /// own, which stands in for a missing window on the way down.
    pub fn new(direction: Direction, spec: Option<&'a HPAScalingRules>, downscale_stabilization_seconds: i64) -> Self {
        let (window, policies) = match direction {
            Direction::Up => (0, &UP[..]),
            Direction::Down => (downscale_stabilization_seconds, &DOWN[..]),
        };
        Self {
            direction,
            stabilization_seconds: spec
                .and_then(|rules| rules.stabilization_window_seconds)
                .map_or(window, i64::from),
            select: match spec.and_then(|rules| rules.select_policy.as_deref()) {
                Some("Disabled") => Select::Disabled,
                Some("Min") => Select::Min,
                _ => Select::Max,
            },
            policies: spec
                .and_then(|rules| rules.policies.as_deref())
                .map_or(Policies::Default(policies), Policies::Named),
        }
    }

    /// The policies.
    pub fn policies(&self) -> impl Iterator<Item = Policy> + use<'a> {
        let (named, default) = match self.policies {
            Policies::Named(named) => (named, &[][..]),
            Policies::Default(default) => (&[][..], default),
        };
        named.iter().map(Policy::from).chain(default.iter().copied())
    }

    /// The longest period of the policies: scale events older than this are forgotten. In seconds.
    pub fn longest_period(&self) -> i32 {
        self.policies()
            .map(|policy| policy.period_seconds)
            .max()
            .unwrap_or(0)
            .max(0)
    }

    /// The size the policies allow at most (up) or at least (down), given the changes of the recent past. Each policy
    /// that is looked at is handed to `seen`.
    pub fn limit(
        &self,
        current: i32,
        up: &[ScaleEvent],
        down: &[ScaleEvent],
        now: Timestamp,
        mut seen: impl FnMut(PolicyTrace),
    ) -> i32 {
        // "Max" and "Min" speak of the change, so on the way down they pick the lower and the higher size.
        let greatest = match (self.select, self.direction) {
            (Select::Disabled, _) => return current,
            (Select::Max, Direction::Up) | (Select::Min, Direction::Down) => true,
            (Select::Min, Direction::Up) | (Select::Max, Direction::Down) => false,
        };
        let (mut result, mut allows) = (if greatest { i32::MIN } else { i32::MAX }, 0);
        for policy in self.policies() {
            let added = change_within(up, policy.period_seconds, now);
            let removed = change_within(down, policy.period_seconds, now);
            let start = current.wrapping_sub(added).wrapping_add(removed);
            let fraction = f64::from(policy.value) / 100.0;
            allows = match (policy.kind, self.direction) {
                (PolicyKind::Pods, Direction::Up) => start.wrapping_add(policy.value),
                (PolicyKind::Pods, Direction::Down) => start.wrapping_sub(policy.value),
                // Up is rounded up, or a small deployment could never grow; down is truncated.
                (PolicyKind::Percent, Direction::Up) => (f64::from(start) * (1.0 + fraction)).ceil() as i32,
                (PolicyKind::Percent, Direction::Down) => (f64::from(start) * (1.0 - fraction)) as i32,
                (PolicyKind::Unknown, _) => allows,
            };
            result = if greatest {
                result.max(allows)
            } else {
                result.min(allows)
            };
            let Policy {
                kind,
                value,
                period_seconds,
            } = policy;
            seen(PolicyTrace {
                kind,
                value,
                period_seconds,
                added,
                removed,
                allows,
            });
        }
        result
    }
}
