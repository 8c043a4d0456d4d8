//! Deployment: rolls ReplicaSets, one per pod template.

mod annotations;
pub(crate) mod plan;
mod rolling;
pub(crate) mod run;
mod scale;
#[cfg(test)]
mod simulation;
mod status;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

/// The label that keeps the pods of different templates apart.
pub(crate) const HASH_LABEL: &str = "pod-template-hash";

pub(crate) fn is_rolling(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate")
}

/// The replicas the deployment asks for.
pub(crate) fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// (maximal surge, maximal unavailability) in pods, with Kubernetes' rounding; both 0 for `Recreate`.
pub(crate) fn bounds(deployment: &Deployment) -> (i32, i32) {
    if !is_rolling(deployment) {
        return (0, 0);
    }
    let wanted = wanted(deployment);
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let (surge, unavailable) = crate::model::intstr::fenceposts(surge, unavailable, wanted);
    (surge, unavailable.min(wanted))
}

pub(crate) fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Available pods, but no more than the set is meant to have: the report may lag behind a scale-down.
pub(crate) fn available(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
        .min(size(set))
}
