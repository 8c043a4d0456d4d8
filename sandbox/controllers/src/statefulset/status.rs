//! The status of a StatefulSet.

use super::identity::revision_of;
use crate::model::meta::is_deleting;
use crate::model::pod::{is_available, is_ready, phase};
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

/// Counts the pods of the wanted range and beyond it. When an update has reached every pod, the update revision becomes
/// the current one.
pub(crate) fn status(
    set: &StatefulSet,
    pods: &[&Pod],
    current: &str,
    update: &str,
    min_ready: i32,
    now: Timestamp,
) -> StatefulSetStatus {
    let count = |test: &dyn Fn(&Pod) -> bool| pods.iter().filter(|pod| test(pod)).count() as i32;
    let alive = |pod: &Pod| !is_deleting(pod);
    let running = |pod: &Pod| phase(pod) == "Running";
    let replicas = count(&|_| true);
    let ready = count(&|pod| running(pod) && is_ready(pod));
    let updated = count(&|pod| alive(pod) && revision_of(pod) == update);
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let on_delete = set
        .spec
        .as_ref()
        .and_then(|spec| spec.update_strategy.as_ref()?.type_.as_deref())
        == Some("OnDelete");
    let complete = !on_delete && updated == replicas && ready == replicas && replicas == wanted;
    let current = if complete { update } else { current };
    StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas,
        ready_replicas: Some(ready),
        available_replicas: Some(count(&|pod| running(pod) && is_available(pod, min_ready, now))),
        current_replicas: Some(count(&|pod| alive(pod) && revision_of(pod) == current)),
        updated_replicas: Some(updated),
        current_revision: Some(current.into()),
        update_revision: Some(update.into()),
        collision_count: set.status.as_ref().and_then(|status| status.collision_count),
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
    }
}
