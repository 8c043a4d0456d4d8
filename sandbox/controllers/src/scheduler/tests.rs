#![allow(clippy::unwrap_used)]
use super::snapshot::{NodeInfo, Snapshot};
use super::{requests, schedule};
use crate::model::testing::{labels, pod};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use proptest::prelude::*;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

fn node(name: &str, zone: &str, cpu: &str, memory: &str, pods: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": { "name": name, "labels": { "zone": zone, "kubernetes.io/hostname": name } },
        "status": { "allocatable": { "cpu": cpu, "memory": memory, "pods": pods } },
    }))
    .unwrap()
}

/// A pod of app `app` with more of its spec given as JSON.
fn asking(name: &str, app: &str, spec: &serde_json::Value) -> Pod {
    let mut whole = json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": "100m" } } }] });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    let mut pod = pod(name);
    pod.metadata.labels = Some(labels(&[("app", app)]));
    pod.spec = Some(serde_json::from_value(whole).unwrap());
    pod
}

fn cluster(nodes: &[Node]) -> Snapshot {
    let nodes: Vec<Arc<Node>> = nodes.iter().cloned().map(Arc::new).collect();
    Snapshot::new(&nodes, &[], &HashMap::new())
}

fn three() -> Snapshot {
    cluster(&[
        node("a", "east", "1", "1Gi", "10"),
        node("b", "east", "1", "1Gi", "10"),
        node("c", "west", "1", "1Gi", "10"),
    ])
}

fn info<'a>(snapshot: &'a mut Snapshot, name: &str) -> &'a mut NodeInfo {
    snapshot.nodes.iter_mut().find(|node| node.name == name).unwrap()
}

fn place(snapshot: &mut Snapshot, node: &str, pod: Pod) {
    info(snapshot, node).place(Arc::new(pod));
}

fn refusal(pod: &Pod, snapshot: &Snapshot) -> String {
    schedule(pod, snapshot).unwrap_err().to_string()
}

#[test]
fn the_reasons_read_as_upstream_writes_them() {
    let mut snapshot = three();
    info(&mut snapshot, "a").unschedulable = true;
    info(&mut snapshot, "b").taints = vec![Taint {
        key: "gpu".into(),
        value: Some("yes".into()),
        effect: "NoSchedule".into(),
        time_added: None,
    }];
    let big = json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": "2", "memory": "3Gi" } } }] });
    assert_eq!(
        refusal(&asking("p", "x", &big), &snapshot),
        "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, \
         1 node(s) had untolerated taint {gpu: yes}, 1 node(s) were unschedulable."
    );
    assert_eq!(
        refusal(
            &asking("p", "x", &json!({ "nodeSelector": { "zone": "north" } })),
            &three()
        ),
        "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
    );
    assert_eq!(
        refusal(&pod("p"), &Snapshot::default()),
        "no nodes available to schedule pods"
    );
}

#[test]
fn selectors_affinity_and_tolerations_choose() {
    let required = |operator: &str, values: serde_json::Value| {
        json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "zone", "operator": operator, "values": values }] }] } } } })
    };
    for (spec, expected) in [
        (json!({ "nodeSelector": { "zone": "west" } }), "c"),
        (required("In", json!(["west", "south"])), "c"),
        (required("NotIn", json!(["east"])), "c"),
        (
            json!({ "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
            { "weight": 1, "preference": { "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["west"] }] } }
        ] } } }),
            "c",
        ),
    ] {
        assert_eq!(
            schedule(&asking("p", "x", &spec), &three()).unwrap(),
            expected,
            "{spec}"
        );
    }
    let mut snapshot = three();
    for name in ["a", "b", "c"] {
        info(&mut snapshot, name).taints = vec![Taint {
            key: "node.kubernetes.io/not-ready".into(),
            effect: "NoExecute".into(),
            ..Taint::default()
        }];
    }
    assert!(schedule(&asking("p", "x", &json!({})), &snapshot).is_err());
    let tolerant = json!({ "tolerations": [{ "key": "node.kubernetes.io/not-ready", "operator": "Exists" }] });
    assert!(schedule(&asking("p", "x", &tolerant), &snapshot).is_ok());
}

#[test]
fn the_emptiest_node_wins_and_names_break_ties() {
    let mut snapshot = three();
    assert_eq!(schedule(&asking("p", "x", &json!({})), &snapshot).unwrap(), "a");
    place(&mut snapshot, "a", asking("one", "y", &json!({})));
    assert_eq!(schedule(&asking("p", "x", &json!({})), &snapshot).unwrap(), "b");
}

#[test]
fn anti_affinity_keeps_apart_in_both_directions() {
    let apart = json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
        { "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "db" } } }] } } });
    let mut snapshot = three();
    place(&mut snapshot, "a", asking("first", "db", &apart));
    assert_eq!(
        schedule(&asking("second", "db", &apart), &snapshot).unwrap(),
        "c",
        "not b: the same zone"
    );
    // The one already there does not want the newcomer, who has no opinion of its own.
    assert_eq!(schedule(&asking("plain", "db", &json!({})), &snapshot).unwrap(), "c");
    place(&mut snapshot, "c", asking("second", "db", &apart));
    assert_eq!(
        refusal(&asking("third", "db", &apart), &snapshot),
        "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
    );
    assert_eq!(
        refusal(&asking("plain", "db", &json!({})), &snapshot),
        "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules."
    );
}

#[test]
fn affinity_joins_and_the_first_may_start_anywhere() {
    let near = json!({ "affinity": { "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
        { "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "web" } } }] } } });
    let mut snapshot = three();
    assert!(
        schedule(&asking("first", "web", &near), &snapshot).is_ok(),
        "it matches itself"
    );
    assert!(
        schedule(&asking("fan", "fan", &near), &snapshot).is_err(),
        "nobody to be near to"
    );
    place(&mut snapshot, "c", asking("first", "web", &near));
    assert_eq!(schedule(&asking("fan", "fan", &near), &snapshot).unwrap(), "c");
}

#[test]
fn spreading_is_a_rule_or_a_wish() {
    let spread = |when: &str| {
        json!({ "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": when,
            "labelSelector": { "matchLabels": { "app": "web" } } }] })
    };
    for when in ["DoNotSchedule", "ScheduleAnyway"] {
        let mut snapshot = three();
        place(&mut snapshot, "a", asking("one", "web", &json!({})));
        assert_eq!(
            schedule(&asking("two", "web", &spread(when)), &snapshot).unwrap(),
            "c",
            "{when}"
        );
    }
    let mut snapshot = three();
    place(&mut snapshot, "a", asking("one", "web", &json!({})));
    info(&mut snapshot, "c").unschedulable = true;
    assert!(refusal(&asking("two", "web", &spread("DoNotSchedule")), &snapshot).contains("topology spread"));
    assert_eq!(
        schedule(&asking("two", "web", &spread("ScheduleAnyway")), &snapshot).unwrap(),
        "b"
    );
}

#[test]
fn requests_count_init_containers_and_sidecars() {
    let spec = json!({
        "containers": [
            { "name": "a", "resources": { "requests": { "cpu": "100m" } } },
            { "name": "b", "resources": { "limits": { "cpu": "200m", "memory": "1Mi" } } }],
        "initContainers": [
            { "name": "side", "restartPolicy": "Always", "resources": { "requests": { "cpu": "50m" } } },
            { "name": "init", "resources": { "requests": { "cpu": "700m" } } }],
    });
    let request = requests::of(&asking("p", "x", &spec));
    assert_eq!(request["cpu"], 750);
    assert_eq!(request["memory"], 1024 * 1024 * 1000);
}

#[test]
fn pods_assumed_on_a_node_hold_their_place() {
    let nodes = [Arc::new(node("a", "east", "1", "1Gi", "1"))];
    let bound = Arc::new(asking("bound", "x", &json!({})));
    let assumed = HashMap::from([("bound".to_owned(), "a".to_owned())]);
    let full = Snapshot::new(&nodes, &[Arc::clone(&bound)], &assumed);
    assert_eq!(
        refusal(&asking("p", "x", &json!({})), &full),
        "0/1 nodes are available: 1 Too many pods."
    );
    assert!(
        schedule(
            &asking("p", "x", &json!({})),
            &Snapshot::new(&nodes, &[bound], &HashMap::new())
        )
        .is_ok()
    );
}

fn overcommitted(snapshot: &Snapshot) -> bool {
    snapshot.nodes.iter().any(|node| {
        node.used.get("cpu").copied().unwrap_or(0) > node.allocatable["cpu"]
            || node.pods.len() as i64 * 1000 > node.allocatable["pods"]
    })
}

/// The check below can fail: pods placed without asking the scheduler overcommit a node.
#[test]
fn placing_blindly_overcommits() {
    let mut snapshot = three();
    for index in 0..11 {
        assert!(!overcommitted(&snapshot), "{index} pods fit");
        place(&mut snapshot, "a", asking(&format!("p{index}"), "x", &json!({})));
    }
    assert!(overcommitted(&snapshot));
}

proptest! {
    /// No sequence of pods makes a node hold more than it has, and a refusal means that no node had room.
    #[test]
    fn nodes_are_never_overcommitted(
        sizes in prop::collection::vec((1i64..8, 1i64..6), 1..5),
        wants in prop::collection::vec(1i64..3000, 1..60),
    ) {
        let nodes: Vec<Node> = sizes.iter().enumerate()
            .map(|(index, (cpu, pods))| node(&format!("n{index}"), "z", &cpu.to_string(), "1Ti", &pods.to_string()))
            .collect();
        let mut snapshot = cluster(&nodes);
        for (index, want) in wants.iter().enumerate() {
            let spec = json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": format!("{want}m") } } }] });
            let pod = asking(&format!("p{index}"), "x", &spec);
            match schedule(&pod, &snapshot) {
                Ok(name) => place(&mut snapshot, &name, pod),
                Err(why) => {
                    prop_assert!(why.reasons.values().sum::<usize>() >= snapshot.nodes.len());
                    for node in &snapshot.nodes {
                        let cpu = node.allocatable["cpu"] - node.used.get("cpu").copied().unwrap_or(0);
                        prop_assert!(cpu < *want || node.pods.len() as i64 * 1000 >= node.allocatable["pods"]);
                    }
                }
            }
            prop_assert!(!overcommitted(&snapshot));
        }
    }
}
