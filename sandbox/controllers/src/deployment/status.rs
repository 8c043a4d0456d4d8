//! The status of a Deployment and its conditions, by upstream's rules.

use super::{bounds, size, wanted};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::time::Duration;

/// Upstream's default of `progressDeadlineSeconds`; its maximum means "no deadline".
const DEFAULT_DEADLINE: i32 = 600;

/// Why the `Progressing` condition says what it says.
pub(crate) mod reason {
    pub(crate) const CREATED: &str = "NewReplicaSetCreated";
    pub(crate) const FOUND: &str = "FoundNewReplicaSet";
    pub(crate) const UPDATED: &str = "ReplicaSetUpdated";
    pub(crate) const DONE: &str = "NewReplicaSetAvailable";
    pub(crate) const LATE: &str = "ProgressDeadlineExceeded";
    pub(crate) const PAUSED: &str = "DeploymentPaused";
    pub(crate) const RESUMED: &str = "DeploymentResumed";
}

pub(crate) fn condition<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status
        .conditions
        .as_deref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

/// Sets a condition; nothing changes when status and reason are the same, and the transition time moves only with the
/// status.
pub(crate) fn set(status: &mut DeploymentStatus, kind: &str, value: &str, reason: &str, text: String, now: Timestamp) {
    let old = condition(status, kind).cloned();
    if old
        .as_ref()
        .is_some_and(|old| old.status == value && old.reason.as_deref() == Some(reason))
    {
        return;
    }
    replace(status, kind, value, reason, text, now);
}

fn replace(status: &mut DeploymentStatus, kind: &str, value: &str, reason: &str, text: String, now: Timestamp) {
    let kept = condition(status, kind)
        .filter(|old| old.status == value)
        .and_then(|old| old.last_transition_time.clone());
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != kind);
    conditions.push(DeploymentCondition {
        type_: kind.into(),
        status: value.into(),
        reason: Some(reason.into()),
        message: Some(text),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(kept.unwrap_or(Time(now))),
    });
}

/// Counts and the `Available` condition; `conditions` are those decided so far.
pub(crate) fn counted(
    deployment: &Deployment,
    sets: &[&ReplicaSet],
    new: Option<&ReplicaSet>,
    conditions: Option<Vec<DeploymentCondition>>,
    collisions: Option<i32>,
    now: Timestamp,
) -> DeploymentStatus {
    let replicas = |set: &ReplicaSet| set.status.as_ref().map_or(0, |status| status.replicas);
    let ready = |set: &ReplicaSet| {
        set.status
            .as_ref()
            .and_then(|status| status.ready_replicas)
            .unwrap_or(0)
    };
    let reported = |set: &ReplicaSet| {
        set.status
            .as_ref()
            .and_then(|status| status.available_replicas)
            .unwrap_or(0)
    };
    let total_available: i32 = sets.iter().map(|set| reported(set)).sum();
    let specified: i32 = sets.iter().map(|set| size(set)).sum();
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(sets.iter().map(|set| replicas(set)).sum()),
        updated_replicas: Some(new.map_or(0, replicas)),
        ready_replicas: Some(sets.iter().map(|set| ready(set)).sum()),
        available_replicas: Some(total_available),
        unavailable_replicas: Some((specified - total_available).max(0)),
        collision_count: collisions,
        conditions,
        terminating_replicas: None,
    };
    if total_available >= wanted(deployment) - bounds(deployment).1 {
        let text = "Deployment has minimum availability.".into();
        set(&mut status, "Available", "True", "MinimumReplicasAvailable", text, now);
    } else {
        let text = "Deployment does not have minimum availability.".into();
        set(
            &mut status,
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            text,
            now,
        );
    }
    status
}

/// All replicas updated and available, no old ones left.
pub(crate) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = Some(wanted(deployment));
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

/// Decides the `Progressing` and `ReplicaFailure` conditions of a rollout. Returns when the deadline would pass.
pub(crate) fn progress(
    deployment: &Deployment,
    status: &mut DeploymentStatus,
    new: Option<&ReplicaSet>,
    sets: &[&ReplicaSet],
    now: Timestamp,
) -> Option<Duration> {
    let subject = match new {
        Some(set) => format!("ReplicaSet \"{}\"", set.name_any()),
        None => format!("Deployment \"{}\"", deployment.name_any()),
    };
    let seconds = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.progress_deadline_seconds)
        .unwrap_or(DEFAULT_DEADLINE);
    let mut again = None;
    if seconds == i32::MAX {
        status
            .conditions
            .get_or_insert_default()
            .retain(|condition| condition.type_ != "Progressing");
    } else {
        let current = condition(status, "Progressing").cloned();
        let reason = current.as_ref().and_then(|current| current.reason.as_deref());
        let settled = status.replicas == status.updated_replicas && reason == Some(reason::DONE);
        if settled {
            // A finished rollout stays finished; a pod that dies later is not a rollout that stalls.
        } else if is_complete(deployment, status) {
            let text = format!("{subject} has successfully progressed.");
            set(status, "Progressing", "True", reason::DONE, text, now);
        } else if has_progressed(deployment, status) {
            // Written even when status and reason stay: the update time is what the deadline counts from.
            replace(
                status,
                "Progressing",
                "True",
                reason::UPDATED,
                format!("{subject} is progressing."),
                now,
            );
        } else if let Some(current) = current.filter(|current| current.reason.as_deref() != Some(reason::DONE)) {
            let deadline = SignedDuration::from_secs(i64::from(seconds));
            let since = current.last_update_time.as_ref().map_or(now, |time| time.0);
            let left = deadline - now.duration_since(since);
            if current.reason.as_deref() == Some(reason::LATE) {
                // Stays late until it progresses.
            } else if left <= SignedDuration::ZERO {
                let text = format!("{subject} has timed out progressing.");
                set(status, "Progressing", "False", reason::LATE, text, now);
            } else {
                again = Duration::try_from(left).ok();
            }
        }
    }
    note_failures(status, sets, now);
    again
}

/// Anything moved since the last status: more updated, ready or available pods, or fewer old ones.
fn has_progressed(deployment: &Deployment, new: &DeploymentStatus) -> bool {
    let default = DeploymentStatus::default();
    let old = deployment.status.as_ref().unwrap_or(&default);
    let outdated = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    let updated = |status: &DeploymentStatus| status.updated_replicas.unwrap_or(0);
    updated(new) > updated(old)
        || outdated(new) < outdated(old)
        || new.ready_replicas.unwrap_or(0) > old.ready_replicas.unwrap_or(0)
        || new.available_replicas.unwrap_or(0) > old.available_replicas.unwrap_or(0)
}

/// Passes on that a set cannot create or delete its pods.
fn note_failures(status: &mut DeploymentStatus, sets: &[&ReplicaSet], now: Timestamp) {
    let conditions = |set: &ReplicaSet| set.status.as_ref().and_then(|status| status.conditions.clone());
    let failed = sets
        .iter()
        .filter_map(|set| conditions(set))
        .flatten()
        .find(|c| c.type_ == "ReplicaFailure");
    match failed {
        Some(failed) => {
            let (reason, text) = (failed.reason.unwrap_or_default(), failed.message.unwrap_or_default());
            set(status, "ReplicaFailure", "True", &reason, text, now);
        }
        None => status
            .conditions
            .get_or_insert_default()
            .retain(|condition| condition.type_ != "ReplicaFailure"),
    }
}
