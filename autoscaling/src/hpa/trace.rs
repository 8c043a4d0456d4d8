//! The account of one decision: every rule that was applied, with its numbers.

use serde::Serialize;

use super::pods::Group;
use super::rules::{Direction, PolicyKind, Select};

/// A pod that does not count with a sample of its own, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// Pod name.
    pub pod: String,
    /// The group it fell into.
    pub group: Group,
}

/// Why a metric proposes the current size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kept {
    /// The ratio is within tolerance of 1.
    WithinTolerance,
    /// With assumptions for missing and unready pods the ratio points the other way.
    RatioTurned,
    /// With assumptions for missing and unready pods the size would move against the ratio.
    SizeTurned,
}

/// One scaling policy at work.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTrace {
    /// Pods or percent.
    pub kind: PolicyKind,
    /// Its value.
    pub value: i32,
    /// Its period in seconds.
    pub period_seconds: i32,
    /// Pods added within the period.
    pub added: i32,
    /// Pods removed within the period.
    pub removed: i32,
    /// The size it allows.
    pub allows: i32,
}

/// One rule that was applied.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "rule", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Step {
    /// What was read of the target and the spec.
    Target {
        /// `spec.replicas` of the scale.
        spec_replicas: i32,
        /// `status.replicas` of the scale.
        status_replicas: i32,
        /// Least size.
        min: i32,
        /// Greatest size.
        max: i32,
    },
    /// The target's scale could not be read.
    NoScale {
        /// The error.
        error: String,
    },
    /// The target's size is 0 and the least size is not: autoscaling is off.
    Disabled,
    /// The size is outside the bounds: clamped, no metric is looked at.
    OutOfBounds {
        /// Current size.
        current: i32,
        /// The bound it was brought to.
        bound: i32,
    },
    /// A metric's turn begins.
    Metric {
        /// Place in `spec.metrics`.
        index: usize,
        /// What it measures.
        name: String,
    },
    /// The pods, sorted into groups.
    Pods {
        /// Pods under the selector.
        total: usize,
        /// Pods that count with their sample.
        ready: i64,
        /// The others.
        set_aside: Vec<SetAside>,
        /// Samples of pods not under the selector.
        superfluous: i64,
    },
    /// Usage as a percentage of requests.
    Utilization {
        /// Sum of usage in thousandths.
        usage_m: i64,
        /// Sum of requests in thousandths.
        requests_m: i64,
        /// The truncated percentage.
        percent: i32,
        /// Target percentage.
        target: i32,
        /// Their ratio.
        ratio: f64,
    },
    /// A value against its target.
    Usage {
        /// The value in thousandths.
        value_m: i64,
        /// The target in thousandths.
        target_m: i64,
        /// Their ratio; for averages of an Object or External metric, over target × replicas.
        ratio: f64,
    },
    /// Usage assumed for pods without a usable sample.
    Assumed {
        /// `missing` or `unready`.
        of: &'static str,
        /// How many.
        pods: i64,
        /// Assumed usage: percent of their requests, or of the target for plain metrics.
        percent: i32,
        /// The ratio that results.
        ratio: f64,
    },
    /// The metric proposes the current size.
    Keep {
        /// Why.
        why: Kept,
        /// The ratio.
        ratio: f64,
        /// Lower edge of the tolerance.
        low: f64,
        /// Upper edge of the tolerance.
        high: f64,
        /// The size.
        replicas: i32,
    },
    /// The metric proposes `ceil(ratio × pods)`.
    Propose {
        /// The ratio.
        ratio: f64,
        /// The pods it is multiplied with.
        pods: i64,
        /// The size.
        replicas: i32,
    },
    /// The metric could not be evaluated.
    Failed {
        /// Place in `spec.metrics`.
        index: usize,
        /// Reason of the condition.
        reason: &'static str,
        /// The error.
        error: String,
    },
    /// The largest proposal.
    Chosen {
        /// Its metric.
        name: String,
        /// Its size.
        replicas: i32,
        /// Metrics in the spec.
        metrics: usize,
        /// Metrics that failed.
        failed: usize,
    },
    /// No decision: all metrics failed, or some did and the rest would scale down.
    Undecided {
        /// Metrics in the spec.
        metrics: usize,
        /// Metrics that failed.
        failed: usize,
        /// What the others proposed, if any.
        proposed: Option<i32>,
    },
    /// Past recommendations within a window hold the size.
    Stabilize {
        /// Direction of the proposal.
        direction: Direction,
        /// The window in seconds.
        window_seconds: i64,
        /// Recommendations within it.
        recent: Vec<i32>,
        /// The proposal.
        proposed: i32,
        /// The result.
        replicas: i32,
    },
    /// The rate limit of `behavior`.
    Rate {
        /// Direction.
        direction: Direction,
        /// How policies are combined.
        select: Select,
        /// The policies.
        policies: Vec<PolicyTrace>,
        /// The size allowed.
        limit: i32,
    },
    /// The rate limit without `behavior`.
    FixedRate {
        /// `max(factor × current, minimum)`.
        limit: i32,
    },
    /// A bound or a rate changed the size.
    Limit {
        /// Reason of the condition `ScalingLimited`.
        reason: &'static str,
        /// Before.
        wanted: i32,
        /// After.
        replicas: i32,
    },
    /// The decision.
    Outcome {
        /// Current size.
        from: i32,
        /// Desired size.
        to: i32,
    },
}

/// Everything that led to a decision, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Trace {
    /// The steps.
    pub steps: Vec<Step>,
}

/// Where the algorithm reports its steps; the unit type drops them unbuilt.
pub(super) trait Sink {
    fn record(&mut self, step: impl FnOnce() -> Step);
    /// Whether steps are kept; guards what must be collected beforehand.
    fn on(&self) -> bool;
}

impl Sink for () {
    fn record(&mut self, _: impl FnOnce() -> Step) {}
    fn on(&self) -> bool {
        false
    }
}

impl Sink for Trace {
    fn record(&mut self, step: impl FnOnce() -> Step) {
        self.steps.push(step());
    }
    fn on(&self) -> bool {
        true
    }
}
