//! What pods say about themselves, pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kube::ResourceExt;

/// How long a pod may take to become ready before it counts as failing.
const START: Duration = Duration::from_mins(2);
/// A pod that was never ready has its condition from when it started; kubelets are not exact about the order of things.
const SETTLING: Duration = Duration::from_secs(2);

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == "Ready")
}

/// Whether a pod is ready and means to stay.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && ready_condition(pod).is_some_and(|condition| condition.status == "True")
}

/// Whether a pod should serve and does not: it was ready and is no more, or has had time enough to become ready.
#[must_use]
pub fn is_failing(pod: &Pod, now: Timestamp) -> bool {
    if pod.metadata.deletion_timestamp.is_some() || is_ready(pod) {
        return false;
    }
    let Some(created) = pod.creation_timestamp() else {
        return false;
    };
    let started = pod
        .status
        .as_ref()
        .and_then(|status| status.start_time.as_ref())
        .unwrap_or(&created)
        .0;
    let lost = ready_condition(pod)
        .and_then(|condition| condition.last_transition_time.as_ref())
        .is_some_and(|transition| transition.0.duration_since(started).as_secs_f64() > SETTLING.as_secs_f64());
    lost || now.duration_since(started).as_secs_f64() > START.as_secs_f64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn pod(ready: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "p", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "status": { "startTime": "2026-01-01T00:00:01Z", "conditions": [ready] },
        }))
        .unwrap()
    }

    #[test]
    fn starting_is_not_failing() {
        let condition = |status, since| json!({"type": "Ready", "status": status, "lastTransitionTime": since});
        for (ready, now, expected) in [
            (
                condition("False", "2026-01-01T00:00:01Z"),
                "2026-01-01T00:00:30Z",
                false,
            ),
            (condition("False", "2026-01-01T00:00:01Z"), "2026-01-01T00:03:00Z", true),
            (condition("True", "2026-01-01T00:00:09Z"), "2026-01-01T01:00:00Z", false),
            (condition("False", "2026-01-01T00:00:20Z"), "2026-01-01T00:00:21Z", true),
        ] {
            assert_eq!(
                is_failing(&pod(&ready), now.parse().unwrap()),
                expected,
                "{ready} at {now}"
            );
        }
    }
}
