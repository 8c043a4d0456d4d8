//! Which pods a scale-down removes first.
//!
//! Upstream's order: unassigned, pending, not ready, lower `pod-deletion-cost`, more siblings on the same node, ready
//! for a shorter time, more restarts, newer. The two ages are compared by the order of magnitude only; in the end the uid
//! decides, so that the choice spreads over pods of about the same age. (Upstream lets it decide between two ages of the same
//! magnitude at once, but restarts between two that are equal.)

use crate::model::pod::{created, is_ready, most_restarts, node_name, phase, ready_since};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::HashMap;

/// The pods, first to be deleted first.
pub(crate) fn deletion_order<'a>(pods: &[&'a Pod], now: Timestamp) -> Vec<&'a Pod> {
    let mut siblings: HashMap<&str, usize> = HashMap::new();
    for pod in pods {
        *siblings.entry(node_name(pod)).or_default() += 1;
    }
    let mut ordered = pods.to_vec();
    // By a key, and not by comparing two: an order in which ages decide between some pairs and restarts between others goes in
    // circles.
    ordered.sort_by_cached_key(|pod| {
        (
            !node_name(pod).is_empty(),
            phase_rank(pod),
            is_ready(pod),
            deletion_cost(pod),
            Reverse(siblings.get(node_name(pod)).copied().unwrap_or(0)),
            ready_since(pod).map(|since| magnitude(since, now)),
            Reverse(most_restarts(pod)),
            magnitude(created(pod), now),
            pod.metadata.uid.clone(),
        )
    });
    ordered
}

fn phase_rank(pod: &Pod) -> u8 {
    match phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    }
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    let cost = annotations.and_then(|map| map.get("controller.kubernetes.io/pod-deletion-cost"));
    cost.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

/// The binary order of magnitude of an age; -1 for "not yet".
fn magnitude(since: Timestamp, now: Timestamp) -> i64 {
    let age = now.duration_since(since).as_nanos();
    if age <= 0 { -1 } else { i64::from(age.ilog2()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{at, labels, pod, ready_pod, with_phase};
    use k8s_openapi::api::core::v1::ContainerStatus;

    fn names(pods: &[Pod], now: i64) -> Vec<String> {
        let pods: Vec<&Pod> = pods.iter().collect();
        deletion_order(&pods, at(now))
            .iter()
            .filter_map(|pod| pod.metadata.name.clone())
            .collect()
    }

    fn on(mut pod: Pod, node: &str) -> Pod {
        pod.spec.get_or_insert_default().node_name = Some(node.into());
        pod
    }

    #[test]
    fn the_least_useful_pod_goes_first() {
        let mut cheap = ready_pod("cheap", at(10));
        cheap.metadata.annotations = Some(labels(&[("controller.kubernetes.io/pod-deletion-cost", "-5")]));
        let mut not_ready = with_phase(on(pod("not-ready"), "n"), "Running");
        not_ready.status.get_or_insert_default().conditions = None;
        let pods = [
            ready_pod("old", at(10)),
            ready_pod("young", at(900)),
            cheap,
            not_ready,
            with_phase(on(pod("pending"), "n"), "Pending"),
            with_phase(pod("unassigned"), "Pending"),
        ];
        assert_eq!(
            names(&pods, 1000),
            ["unassigned", "pending", "not-ready", "cheap", "young", "old"]
        );
    }

    #[test]
    fn crowded_nodes_are_relieved_first() {
        let alone = on(ready_pod("alone", at(990)), "a");
        let crowd = [on(ready_pod("one", at(10)), "b"), on(ready_pod("two", at(10)), "b")];
        let pods = [alone, crowd[0].clone(), crowd[1].clone()];
        assert_eq!(names(&pods, 1000), ["one", "two", "alone"]);
    }

    /// The order is one: which pods go does not depend on how they were listed.
    #[test]
    fn many_pods_of_about_the_same_age_have_one_order() {
        let pod = |number: i32| {
            let mut pod = ready_pod(&format!("p-{number}"), at(i64::from(10 + number % 3)));
            pod.metadata.uid = Some(format!("{:02}", number * 37 % 64));
            let restarted = ContainerStatus {
                restart_count: number % 5,
                ..ContainerStatus::default()
            };
            pod.status.get_or_insert_default().container_statuses = Some(vec![restarted]);
            pod
        };
        let mut pods: Vec<Pod> = (0..64).map(pod).collect();
        let listed = names(&pods, 1000);
        pods.reverse();
        assert_eq!(names(&pods, 1000), listed);
    }

    #[test]
    fn restarts_decide_between_pods_of_the_same_age() {
        let mut flaky = ready_pod("flaky", at(10));
        let restarted = ContainerStatus {
            restart_count: 3,
            ..ContainerStatus::default()
        };
        flaky.status.get_or_insert_default().container_statuses = Some(vec![restarted]);
        assert_eq!(names(&[ready_pod("solid", at(10)), flaky], 1000), ["flaky", "solid"]);
    }
}
