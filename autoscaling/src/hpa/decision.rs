//! What one evaluation decides, and how it is written into the autoscaler's status.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;

use super::evaluate::{metric_specs, rules_of};
use super::history::History;
use super::limits;
use super::metrics;
use super::replicas::Proposal;
use super::rules::Direction;
use super::settings::Settings;

/// A condition of the autoscaler's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// `True` or `False`.
    pub status: bool,
    /// The reason, as in Kubernetes.
    pub reason: &'static str,
    /// The message, as in Kubernetes.
    pub message: Cow<'static, str>,
}

impl Condition {
    pub(super) fn new(status: bool, reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
        }
    }
}

/// The conditions this evaluation sets; `None` leaves what the status had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conditions {
    /// `AbleToScale`.
    pub able_to_scale: Option<Condition>,
    /// `ScalingActive`.
    pub scaling_active: Option<Condition>,
    /// `ScalingLimited`.
    pub scaling_limited: Option<Condition>,
}

impl Conditions {
    /// Type and condition of those that are set.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Condition)> {
        let Self {
            able_to_scale,
            scaling_active,
            scaling_limited,
        } = self;
        [
            ("AbleToScale", able_to_scale),
            ("ScalingActive", scaling_active),
            ("ScalingLimited", scaling_limited),
        ]
        .into_iter()
        .filter_map(|(name, condition)| Some((name, condition.as_ref()?)))
    }
}

/// An event to record on the autoscaler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventNote {
    /// `Warning` if true, else `Normal`.
    pub warning: bool,
    /// The reason, as in Kubernetes.
    pub reason: &'static str,
    /// The message.
    pub message: String,
}

/// A size to write to the target's scale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rescale {
    /// The size.
    pub replicas: i32,
    /// Why, as in the event `SuccessfulRescale`.
    pub reason: Cow<'static, str>,
}

/// What is done to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// Nothing.
    None,
    /// More replicas.
    ScaleUp,
    /// Fewer replicas.
    ScaleDown,
}

/// The result of one evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Size of the target when it was read.
    pub current_replicas: i32,
    /// The size it should have; the current one when nothing could be decided.
    pub desired_replicas: i32,
    /// What to write, if anything.
    pub rescale: Option<Rescale>,
    /// The conditions that were set.
    pub conditions: Conditions,
    /// What was measured, by place in `spec.metrics`; `None` for a metric that failed. Empty when no metric was read.
    pub metrics: Vec<Option<Proposal>>,
    /// The events to record, in order.
    pub events: Vec<EventNote>,
    /// The error the reconcile ends with. There may be one beside a decision, when only some metrics failed.
    pub error: Option<String>,
    pub(super) scale_read: bool,
    pub(super) decided: bool,
    pub(super) written: bool,
}

impl Decision {
    pub(super) fn new(current_replicas: i32) -> Self {
        Self {
            current_replicas,
            desired_replicas: current_replicas,
            rescale: None,
            conditions: Conditions::default(),
            metrics: Vec::new(),
            events: Vec::new(),
            error: None,
            scale_read: true,
            decided: true,
            written: false,
        }
    }

    /// What is done to the target.
    pub fn action(&self) -> Action {
        match self
            .rescale
            .as_ref()
            .and_then(|rescale| limits::direction(self.current_replicas, rescale.replicas))
        {
            None => Action::None,
            Some(Direction::Up) => Action::ScaleUp,
            Some(Direction::Down) => Action::ScaleDown,
        }
    }

    /// To be called once the scale has been written: sets `SucceededRescale` and remembers the change, which counts
    /// against the rates of `behavior`. Does nothing without a rescale.
    pub fn scale_written(
        &mut self,
        hpa: &HorizontalPodAutoscaler,
        history: &mut History,
        settings: &Settings,
        now: Timestamp,
    ) {
        let Some(Rescale { replicas, reason }) = &self.rescale else {
            return;
        };
        self.conditions.able_to_scale = Some(Condition::new(
            true,
            "SucceededRescale",
            format!("the HPA controller was able to update the target scale to {replicas}"),
        ));
        self.events.push(EventNote {
            warning: false,
            reason: "SuccessfulRescale",
            message: format!("New size: {replicas}; reason: {reason}"),
        });
        self.written = true;
        if let Some([up, down]) = rules_of(hpa, settings) {
            let rules = if *replicas > self.current_replicas { up } else { down };
            history.store_event(&rules, self.current_replicas.abs_diff(*replicas) as i32, now);
        }
    }

    /// To be called when the scale could not be written: sets `FailedUpdateScale`; nothing changes then.
    pub fn scale_refused(&mut self, error: &str) {
        let Some(Rescale { replicas, reason }) = self.rescale.take() else {
            return;
        };
        self.conditions.able_to_scale = Some(Condition::new(
            false,
            "FailedUpdateScale",
            format!("the HPA controller was unable to update the target scale: {error}"),
        ));
        self.events.push(EventNote {
            warning: true,
            reason: "FailedRescale",
            message: format!("New size: {replicas}; reason: {reason}; error: {error}"),
        });
        self.error = Some(format!("failed to rescale the target: {error}"));
        self.desired_replicas = self.current_replicas;
        self.decided = false;
    }

    /// The autoscaler's new status. Conditions keep their transition time while their status stays; what could not be
    /// decided stays as it was.
    pub fn status(&self, hpa: &HorizontalPodAutoscaler, now: Timestamp) -> HorizontalPodAutoscalerStatus {
        let mut status = hpa.status.clone().unwrap_or_default();
        if self.scale_read {
            status.current_replicas = Some(self.current_replicas);
        }
        if self.decided {
            status.desired_replicas = self.desired_replicas;
            let specs = metric_specs(hpa);
            let current = specs
                .iter()
                .zip(&self.metrics)
                .map(|(spec, value)| metrics::status(spec, value.as_ref()));
            status.current_metrics = Some(current.collect::<Vec<_>>()).filter(|current| !current.is_empty());
        }
        if self.written {
            status.last_scale_time = Some(Time(now));
        }
        let conditions = status.conditions.get_or_insert_default();
        for (name, condition) in self.conditions.iter() {
            set_condition(conditions, name, condition, now);
        }
        status
    }
}

fn set_condition(all: &mut Vec<HorizontalPodAutoscalerCondition>, name: &str, to: &Condition, now: Timestamp) {
    let at = all
        .iter()
        .position(|condition| condition.type_ == name)
        .unwrap_or_else(|| {
            all.push(HorizontalPodAutoscalerCondition {
                type_: name.to_owned(),
                ..Default::default()
            });
            all.len() - 1
        });
    let condition = &mut all[at];
    let status = if to.status { "True" } else { "False" };
    if condition.status != status {
        condition.last_transition_time = Some(Time(now));
        status.clone_into(&mut condition.status);
    }
    condition.reason = Some(to.reason.to_owned());
    condition.message = Some(to.message.clone().into_owned());
}
