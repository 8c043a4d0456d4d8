#![allow(clippy::unwrap_used)]
use super::plan::{Limits, Plan, plan};
use crate::model::testing::{at, ready_pod};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::jiff::SignedDuration;
use serde_json::json;
use std::time::Duration;

const LIMITS: Limits = Limits {
    grace: SignedDuration::from_secs(40),
    toleration: SignedDuration::from_secs(300),
};

fn node(ready: &str) -> Node {
    let conditions = json!([{ "type": "Ready", "status": ready, "lastTransitionTime": "1970-01-01T00:00:01Z" }]);
    serde_json::from_value(json!({ "metadata": { "name": "n" }, "status": { "conditions": conditions } })).unwrap()
}

fn decide(node: &Node, pods: &[&Pod], heard: i64, now: i64) -> Plan {
    plan(node, pods, at(heard), LIMITS, at(now))
}

fn keys(taints: Option<&Vec<Taint>>) -> Vec<String> {
    taints
        .unwrap()
        .iter()
        .map(|taint| format!("{}:{}", taint.key, taint.effect))
        .collect()
}

/// The node after the plan was carried out.
fn after(mut node: Node, plan: &Plan) -> Node {
    if let Some(status) = plan.status.clone() {
        node.status = Some(status);
    }
    if let Some(taints) = plan.taints.clone() {
        node.spec.get_or_insert_default().taints = Some(taints);
    }
    node
}

fn tolerating(seconds: Option<i64>) -> Pod {
    let mut pod = ready_pod("tolerant", at(1));
    let toleration = json!([{ "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
        "tolerationSeconds": seconds }]);
    pod.spec.as_mut().unwrap().tolerations = Some(serde_json::from_value(toleration).unwrap());
    pod
}

#[test]
fn a_node_that_reports_is_left_alone_until_it_falls_silent() {
    let pod = ready_pod("p", at(1));
    let plan = decide(&node("True"), &[&pod], 100, 110);
    assert_eq!(
        plan,
        Plan {
            again: Some(Duration::from_secs(30)),
            ..Plan::default()
        }
    );
}

#[test]
fn a_silent_node_is_unknown_tainted_and_its_pods_not_ready() {
    let pod = ready_pod("p", at(1));
    let plan = decide(&node("True"), &[&pod], 100, 140);
    let conditions = plan.status.as_ref().unwrap().conditions.clone().unwrap();
    assert_eq!(conditions.len(), 4);
    assert!(conditions.iter().all(|condition| condition.status == "Unknown"));
    assert_eq!(conditions[0].reason.as_deref(), Some("NodeStatusUnknown"));
    assert_eq!(
        keys(plan.taints.as_ref()),
        [
            "node.kubernetes.io/unreachable:NoSchedule",
            "node.kubernetes.io/unreachable:NoExecute"
        ]
    );
    assert_eq!((plan.unready.len(), plan.evict.len()), (1, 0));
    assert_eq!(
        plan.again,
        Some(Duration::from_mins(5)),
        "the pod's time runs from the taint"
    );
    // A second look changes nothing more about the node.
    let settled = decide(&after(node("True"), &plan), &[], 100, 141);
    assert_eq!((settled.status, settled.taints), (None, None));
}

#[test]
fn pods_leave_when_their_toleration_ends() {
    let lost = after(node("True"), &decide(&node("True"), &[], 100, 140));
    for (pod, now, gone) in [
        (ready_pod("p", at(1)), 439, false),
        (ready_pod("p", at(1)), 440, true),
        (tolerating(Some(5)), 144, false),
        (tolerating(Some(5)), 145, true),
        (tolerating(Some(0)), 140, true),
        (tolerating(None), 100_000, false),
    ] {
        assert_eq!(
            decide(&lost, &[&pod], 100, now).evict.len(),
            usize::from(gone),
            "{:?} at {now}",
            pod.spec
        );
    }
}

#[test]
fn a_node_that_speaks_again_loses_the_taints() {
    let lost = after(node("True"), &decide(&node("True"), &[], 100, 140));
    // Heard, but it has not said that it is ready: still unreachable.
    assert_eq!(decide(&lost, &[], 150, 151).taints, None);
    let mut back = node("True");
    back.spec = lost.spec;
    assert_eq!(keys(decide(&back, &[], 150, 151).taints.as_ref()), Vec::<String>::new());
}

#[test]
fn conditions_and_cordons_become_taints_and_others_stay() {
    let mut node = node("False");
    let conditions = node.status.as_mut().unwrap().conditions.as_mut().unwrap();
    let mut pressure = conditions[0].clone();
    (pressure.type_, pressure.status) = ("DiskPressure".into(), "True".into());
    conditions.push(pressure);
    let spec = node.spec.get_or_insert_default();
    spec.unschedulable = Some(true);
    spec.taints = Some(vec![Taint {
        key: "mine".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    }]);
    assert_eq!(
        keys(decide(&node, &[], 100, 110).taints.as_ref()),
        [
            "mine:NoSchedule",
            "node.kubernetes.io/not-ready:NoSchedule",
            "node.kubernetes.io/not-ready:NoExecute",
            "node.kubernetes.io/disk-pressure:NoSchedule",
            "node.kubernetes.io/unschedulable:NoSchedule",
        ]
    );
}

#[test]
fn a_taint_nobody_tolerates_evicts_at_once() {
    let mut node = node("True");
    node.spec.get_or_insert_default().taints = Some(vec![Taint {
        key: "maintenance".into(),
        effect: "NoExecute".into(),
        ..Taint::default()
    }]);
    let pod = ready_pod("p", at(1));
    let plan = decide(&node, &[&pod], 100, 110);
    assert!(
        plan.taints.as_ref().unwrap()[0].time_added.is_some(),
        "evictions count from it"
    );
    assert_eq!(plan.evict.len(), 1);
}
