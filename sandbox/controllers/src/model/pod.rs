//! What a pod's status means.

use crate::model::meta::is_deleting;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("")
}

pub(crate) fn is_succeeded(pod: &Pod) -> bool {
    phase(pod) == "Succeeded"
}

pub(crate) fn is_failed(pod: &Pod) -> bool {
    phase(pod) == "Failed"
}

/// Ran to its end, one way or the other.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    is_succeeded(pod) || is_failed(pod)
}

/// Neither finished nor being deleted: it counts as a replica.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_deleting(pod)
}

pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_deref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Since when the pod has been ready; `None` when it is not.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|condition| condition.status == "True")?;
    ready.last_transition_time.as_ref().map(|Time(at)| *at)
}

/// Ready for at least `min_ready_seconds`.
pub(crate) fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    is_ready(pod) && available_in(pod, min_ready_seconds, now).is_none()
}

/// How long until a ready pod becomes available; `None` when it already is, or is not ready.
pub(crate) fn available_in(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<SignedDuration> {
    if !is_ready(pod) || min_ready_seconds <= 0 {
        return None;
    }
    let needed = SignedDuration::from_secs(i64::from(min_ready_seconds));
    // A ready pod without a transition time starts its wait now.
    let waited = ready_since(pod).map_or(SignedDuration::ZERO, |since| now.duration_since(since));
    (waited < needed).then(|| needed - waited)
}

/// Restarts of the most restarted container.
pub(crate) fn most_restarts(pod: &Pod) -> i32 {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default();
    statuses.iter().map(|status| status.restart_count).max().unwrap_or(0)
}

pub(crate) fn node_name(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or("")
}

pub(crate) fn created(pod: &Pod) -> Timestamp {
    pod.metadata
        .creation_timestamp
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |Time(at)| *at)
}

/// Replaces or adds a condition. The transition time moves only when the status does; `true` if anything changed.
pub(crate) fn set_condition(pod: &mut Pod, mut new: PodCondition, now: Timestamp) -> bool {
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    let Some(old) = conditions.iter_mut().find(|condition| condition.type_ == new.type_) else {
        new.last_transition_time = Some(Time(now));
        conditions.push(new);
        return true;
    };
    if old.status == new.status && old.reason == new.reason && old.message == new.message {
        return false;
    }
    let moved = old.status != new.status;
    new.last_transition_time = if moved {
        Some(Time(now))
    } else {
        old.last_transition_time.clone()
    };
    *old = new;
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::testing::{at, ready_pod};

    #[test]
    fn availability_waits_for_min_ready_seconds() {
        let pod = ready_pod("p", at(100));
        assert!(is_available(&pod, 0, at(100)));
        assert!(!is_available(&pod, 10, at(109)));
        assert_eq!(available_in(&pod, 10, at(109)), Some(SignedDuration::from_secs(1)));
        assert!(is_available(&pod, 10, at(110)));
        assert!(!is_available(&Pod::default(), 0, at(0)));
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut pod = ready_pod("p", at(100));
        let ready = |status: &str, reason: &str| PodCondition {
            type_: "Ready".into(),
            status: status.into(),
            reason: Some(reason.into()),
            ..PodCondition::default()
        };
        assert!(set_condition(&mut pod, ready("True", "Because"), at(200)));
        assert_eq!(ready_since(&pod), Some(at(100)));
        assert!(!set_condition(&mut pod, ready("True", "Because"), at(300)));
        assert!(set_condition(&mut pod, ready("False", "Gone"), at(300)));
        assert_eq!(
            condition(&pod, "Ready").unwrap().last_transition_time,
            Some(Time(at(300)))
        );
    }
}
