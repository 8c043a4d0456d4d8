//! PodDisruptionBudgets: how many of the selected pods may be disrupted now.

use crate::context::{Context, key_of};
use crate::engine::ReconcileError;
use crate::engine::cache::Key;
use crate::engine::queue::Queue;
use crate::model::intstr::scaled;
use crate::model::meta::{controller_of, is_deleting, selects};
use crate::model::pod::{is_finished, is_ready};
use crate::model::same::same_status;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NAME: &str = "disruption-controller";
/// An eviction that was granted but did not happen within this time did not happen at all.
const GRANTED: SignedDuration = SignedDuration::from_secs(120);

/// The status, and when it changes by time alone. `pods` are those of the namespace; `scale_of` gives the uid and the
/// wanted size of the workload behind a pod's controller.
fn plan(
    budget: &PodDisruptionBudget,
    pods: &[&Pod],
    scale_of: &dyn Fn(&OwnerReference) -> Option<(String, i32)>,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Duration>) {
    let spec = budget.spec.clone().unwrap_or_default();
    let selected: Vec<&Pod> = pods
        .iter()
        .copied()
        .filter(|pod| !is_finished(pod))
        .filter(|pod| {
            spec.selector
                .as_ref()
                .is_some_and(|selector| selects(selector, pod.labels()))
        })
        .collect();
    // Each workload counts with its wanted size, once, whatever number of its pods exists now.
    let workloads: BTreeMap<String, i32> = selected
        .iter()
        .filter_map(|pod| controller_of(*pod))
        .filter_map(scale_of)
        .collect();
    let scale: i32 = workloads.values().sum();
    let (expected, desired) = match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => (scale, (scale - scaled(most, scale, true).unwrap_or(0)).max(0)),
        (None, Some(least @ IntOrString::String(_))) => (scale, scaled(least, scale, true).unwrap_or(scale)),
        (None, Some(IntOrString::Int(least))) => (selected.len() as i32, *least),
        (None, None) => (selected.len() as i32, 0),
    };
    let granted: BTreeMap<String, Time> = budget
        .status
        .iter()
        .flat_map(|status| status.disrupted_pods.iter().flatten())
        .filter(|(name, Time(at))| {
            let present = selected
                .iter()
                .any(|pod| pod.name_any() == **name && !is_deleting(*pod));
            present && now.duration_since(*at) < GRANTED
        })
        .map(|(name, at)| (name.clone(), at.clone()))
        .collect();
    let healthy = selected
        .iter()
        .filter(|pod| !is_deleting(**pod) && is_ready(pod) && !granted.contains_key(&pod.name_any()))
        .count() as i32;
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let again = granted.values().map(|Time(at)| GRANTED - now.duration_since(*at)).min();
    let status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(expected),
        disrupted_pods: Some(granted).filter(|granted| !granted.is_empty()),
        observed_generation: budget.metadata.generation,
        conditions: Some(vec![condition(budget, allowed > 0, now)]),
    };
    (status, again.and_then(|again| again.try_into().ok()))
}

fn condition(budget: &PodDisruptionBudget, allowed: bool, now: Timestamp) -> Condition {
    let (status, reason) = if allowed {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    let conditions = budget
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let old = conditions
        .iter()
        .find(|condition| condition.type_ == "DisruptionAllowed");
    let since = old
        .filter(|old| old.status == status)
        .map_or(Time(now), |old| old.last_transition_time.clone());
    Condition {
        type_: "DisruptionAllowed".into(),
        status: status.into(),
        reason: reason.into(),
        message: String::new(),
        last_transition_time: since,
        observed_generation: budget.metadata.generation,
    }
}

/// Registers for events; call before the caches start.
pub(crate) fn register(context: &Context) -> Queue<Key> {
    let queue: Queue<Key> = Queue::new(context.config.debounce);
    let own = queue.clone();
    context.caches.budgets.on_change(move |old, new| {
        if let Some(key) = key_of(old, new) {
            own.add(key);
        }
    });
    let everything = |queue: &Queue<Key>, caches: &std::sync::Weak<crate::context::Caches>, namespace: &str| {
        let Some(caches) = caches.upgrade() else { return };
        for budget in caches.budgets.in_namespace(namespace) {
            queue.add(Key::of(&*budget));
        }
    };
    let weak = std::sync::Arc::downgrade(&context.caches);
    let (pods, caches) = (queue.clone(), weak.clone());
    context.caches.pods.on_change(move |old, new| {
        if let Some(pod) = new.or(old) {
            everything(&pods, &caches, &pod.namespace().unwrap_or_default());
        }
    });
    // The wanted sizes come from the workloads.
    let (sets, caches) = (queue.clone(), weak.clone());
    context.caches.deployments.on_change(move |old, new| {
        let size = |deployment: Option<&k8s_openapi::api::apps::v1::Deployment>| {
            deployment.and_then(|deployment| deployment.spec.as_ref()?.replicas)
        };
        if let Some(deployment) = new.or(old).filter(|_| size(old) != size(new)) {
            everything(&sets, &caches, &deployment.namespace().unwrap_or_default());
        }
    });
    let (sets, caches) = (queue.clone(), weak);
    context.caches.stateful_sets.on_change(move |old, new| {
        let size =
            |set: Option<&k8s_openapi::api::apps::v1::StatefulSet>| set.and_then(|set| set.spec.as_ref()?.replicas);
        if let Some(set) = new.or(old).filter(|_| size(old) != size(new)) {
            everything(&sets, &caches, &set.namespace().unwrap_or_default());
        }
    });
    queue
}

/// Works until cancelled.
pub(crate) async fn run(context: Context, queue: Queue<Key>, cancel: CancellationToken) {
    queue
        .work(NAME, context.config.workers, &cancel, |key| reconcile(&context, key))
        .await;
}

async fn reconcile(context: &Context, key: Key) -> Result<Option<Duration>, ReconcileError> {
    let caches = &context.caches;
    let Some(budget) = caches.budgets.get(&key) else {
        return Ok(None);
    };
    let pods = caches.pods.in_namespace(&key.namespace);
    let pods: Vec<&Pod> = pods.iter().map(|pod| &**pod).collect();
    let scale_of = |owner: &OwnerReference| scale(context, &key.namespace, owner);
    let (status, again) = plan(&budget, &pods, &scale_of, Timestamp::now());
    if !same_status(budget.status.as_ref(), &status) {
        let mut budget = (*budget).clone();
        budget.status = Some(status);
        context.write_status(&caches.budgets, &budget).await?;
    }
    Ok(again)
}

/// The workload behind a pod's controller: a ReplicaSet's Deployment if it has one.
fn scale(context: &Context, namespace: &str, owner: &OwnerReference) -> Option<(String, i32)> {
    let key = Key::new(namespace, &owner.name);
    match owner.kind.as_str() {
        "ReplicaSet" => {
            let set = context.caches.replica_sets.get(&key)?;
            if let Some(above) = controller_of(&*set).filter(|above| above.kind == "Deployment") {
                let deployment = context.caches.deployments.get(&Key::new(namespace, &above.name))?;
                return Some((above.uid.clone(), deployment.spec.as_ref()?.replicas.unwrap_or(1)));
            }
            Some((owner.uid.clone(), set.spec.as_ref()?.replicas.unwrap_or(1)))
        }
        "StatefulSet" => {
            let set = context.caches.stateful_sets.get(&key)?;
            Some((owner.uid.clone(), set.spec.as_ref()?.replicas.unwrap_or(1)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::testing::{at, labels, ready_pod};
    use serde_json::json;

    fn pods(ready: usize, unready: usize) -> Vec<Pod> {
        let owner = OwnerReference {
            kind: "ReplicaSet".into(),
            uid: "set".into(),
            controller: Some(true),
            ..OwnerReference::default()
        };
        let make = |index: usize| {
            let mut pod = ready_pod(&format!("p{index}"), at(1));
            pod.metadata.labels = Some(labels(&[("app", "a")]));
            pod.metadata.owner_references = Some(vec![owner.clone()]);
            if index >= ready {
                pod.status.as_mut().unwrap().conditions = None;
            }
            pod
        };
        (0..ready + unready).map(make).collect()
    }

    fn budget(spec: &serde_json::Value) -> PodDisruptionBudget {
        let mut spec = spec.clone();
        spec["selector"] = json!({ "matchLabels": { "app": "a" } });
        serde_json::from_value(json!({ "metadata": { "name": "b" }, "spec": spec })).unwrap()
    }

    fn numbers(budget: &PodDisruptionBudget, pods: &[Pod], scale: i32, now: i64) -> (i32, i32, i32, i32) {
        let scale_of = |owner: &OwnerReference| Some((owner.uid.clone(), scale));
        let (status, _) = plan(budget, &pods.iter().collect::<Vec<_>>(), &scale_of, at(now));
        [
            status.current_healthy,
            status.desired_healthy,
            status.disruptions_allowed,
            status.expected_pods,
        ]
        .map(Option::unwrap)
        .into()
    }

    #[test]
    fn the_numbers() {
        for (spec, ready, unready, scale, expected) in [
            (json!({ "minAvailable": 2 }), 3, 0, 3, (3, 2, 1, 3)),
            (json!({ "minAvailable": 2 }), 1, 2, 3, (1, 2, 0, 3)),
            (json!({ "minAvailable": "50%" }), 3, 0, 5, (3, 3, 0, 5)),
            (json!({ "maxUnavailable": 1 }), 3, 0, 3, (3, 2, 1, 3)),
            (json!({ "maxUnavailable": 1 }), 2, 0, 3, (2, 2, 0, 3)),
            (json!({ "maxUnavailable": "34%" }), 3, 0, 3, (3, 1, 2, 3)),
            (json!({ "maxUnavailable": 5 }), 1, 0, 1, (1, 0, 1, 1)),
            (json!({ "minAvailable": 0 }), 0, 0, 0, (0, 0, 0, 0)),
        ] {
            assert_eq!(
                numbers(&budget(&spec), &pods(ready, unready), scale, 1),
                expected,
                "{spec} {ready}+{unready}"
            );
        }
    }

    #[test]
    fn a_granted_eviction_counts_until_it_happens_or_lapses() {
        let mut budget = budget(&json!({ "minAvailable": 2 }));
        budget.status = Some(
            serde_json::from_value(
                json!({ "currentHealthy": 3, "desiredHealthy": 2, "disruptionsAllowed": 0,
                "expectedPods": 3, "disruptedPods": { "p0": "1970-01-01T00:01:40Z" } }),
            )
            .unwrap(),
        );
        assert_eq!(numbers(&budget, &pods(3, 0), 3, 110).2, 0);
        assert_eq!(
            numbers(&budget, &pods(3, 0), 3, 220).2,
            1,
            "two minutes later it has not happened"
        );
        assert_eq!(
            numbers(&budget, &pods(3, 0)[1..], 3, 110),
            (2, 2, 0, 2),
            "it has happened"
        );
    }

    #[test]
    fn the_condition_moves_only_when_it_changes() {
        let mut budget = budget(&json!({ "minAvailable": 2 }));
        let all = pods(3, 0);
        let look = |budget: &PodDisruptionBudget, pods: &[Pod], now| {
            plan(budget, &pods.iter().collect::<Vec<_>>(), &|_| None, at(now)).0
        };
        budget.status = Some(look(&budget, &all, 1));
        assert_eq!(look(&budget, &all, 50), budget.status.clone().unwrap());
        let fewer = look(&budget, &all[..2], 60).conditions.unwrap();
        assert_eq!(
            (fewer[0].status.as_str(), fewer[0].last_transition_time.0),
            ("False", at(60))
        );
    }
}
