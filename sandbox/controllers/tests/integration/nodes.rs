//! Nodes that go and come, pods that do not fit, budgets.

use crate::cluster::{Cluster, add_node, deployment, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::{EvictParams, ListParams, Patch, PatchParams};
use serde_json::json;
use showrunner_controllers::ControllersConfig;
use std::time::Duration;

fn quick() -> ControllersConfig {
    ControllersConfig {
        node_grace_period: Duration::from_millis(1500),
        ..ControllersConfig::default()
    }
}

/// Why the only node does not take a pod.
const SMALL: &str = "0/1 nodes are available: 1 Insufficient cpu.";
const CLOSED: &str = "0/1 nodes are available: 1 node(s) had untolerated taint {closed: }.";

async fn taints(cluster: &Cluster, node: &str) -> Vec<String> {
    let node = Api::<Node>::all(cluster.client.clone()).get(node).await.unwrap();
    node.spec
        .unwrap_or_default()
        .taints
        .unwrap_or_default()
        .into_iter()
        .map(|taint| taint.key)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_node_loses_its_pods_and_a_returning_one_its_taints() {
    let cluster = Cluster::with(2, quick(), Duration::from_millis(200)).await;
    let mut object = deployment("web", 4, "one");
    // Admission gives pods without an opinion five minutes; these bring their own.
    object["spec"]["template"]["spec"]["tolerations"] = json!([{ "key": "node.kubernetes.io/unreachable",
        "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1 }]);
    cluster.create::<Deployment>(object).await;
    until("all ready", || async {
        (cluster.ready("web").await.len() == 4).then_some(())
    })
    .await;
    let on = |node: &'static str| {
        let cluster = &cluster;
        async move {
            let pods = cluster.pods("web").await;
            let here = |pod: &&Pod| pod.spec.as_ref().unwrap().node_name.as_deref() == Some(node);
            pods.iter().filter(here).cloned().collect::<Vec<Pod>>()
        }
    };
    assert_eq!(on("node-0").await.len(), 2, "spread over both");
    cluster.agent.kill("node-0");
    until("its pods are not ready", || async {
        on("node-0")
            .await
            .iter()
            .all(|pod| !crate::cluster::is_ready(pod))
            .then_some(())
    })
    .await;
    assert!(
        taints(&cluster, "node-0")
            .await
            .contains(&"node.kubernetes.io/unreachable".to_owned())
    );
    until("the other node runs all four", || async {
        (cluster.ready("web").await.len() == 4).then_some(())
    })
    .await;
    assert_eq!(
        on("node-0").await.len(),
        2,
        "terminating until the node confirms, as upstream"
    );
    let ready = Api::<Node>::all(cluster.client.clone())
        .get("node-0")
        .await
        .unwrap()
        .status
        .unwrap()
        .conditions
        .unwrap();
    assert!(
        ready
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "Unknown")
    );

    cluster.agent.revive("node-0");
    until("the taints go", || async {
        taints(&cluster, "node-0").await.is_empty().then_some(())
    })
    .await;
    assert!(
        taints(&cluster, "node-1").await.is_empty(),
        "the other node was never blamed"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_does_not_fit_says_so_and_is_placed_when_there_is_room() {
    let cluster = Cluster::start(1).await;
    let pod = json!({ "metadata": { "name": "big", "labels": { "app": "big" } }, "spec": { "containers": [
        { "name": "c", "image": "one", "resources": { "requests": { "cpu": "6" } } }] } });
    cluster.create::<Pod>(pod).await;
    let refused_as = async |expected: &str| {
        until("the condition", || async {
            let conditions = cluster.get::<Pod>("big").await.status?.conditions?;
            let scheduled = conditions
                .into_iter()
                .find(|condition| condition.type_ == "PodScheduled")?;
            let said = (scheduled.reason.as_deref() == Some("Unschedulable")).then_some(scheduled.message?)?;
            (said == expected).then_some(())
        })
        .await;
    };
    refused_as(SMALL).await;
    until("the event", || async {
        let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap().items;
        events
            .iter()
            .any(|event| event.reason.as_deref() == Some("FailedScheduling"))
            .then_some(())
    })
    .await;
    // Each change of the node is another try: after the fourth the next one by itself is six seconds away or more.
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let closed = json!([{ "key": "closed", "effect": "NoSchedule" }]);
    for taints in [&closed, &json!(null), &closed] {
        let patch = Patch::Merge(json!({ "spec": { "taints": taints } }));
        nodes.patch("node-0", &PatchParams::default(), &patch).await.unwrap();
        refused_as(if taints.is_null() { SMALL } else { CLOSED }).await;
    }
    add_node(&cluster.client, "node-9", "8").await;
    let begin = std::time::Instant::now();
    until("it is placed", || async {
        cluster.get::<Pod>("big").await.spec?.node_name
    })
    .await;
    assert!(
        begin.elapsed() < Duration::from_millis(900),
        "a new node does not wait for the backoff"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_counts_and_guards() {
    let cluster = Cluster::start(2).await;
    cluster.create::<Deployment>(deployment("web", 3, "one")).await;
    let selector = json!({ "matchLabels": { "app": "web" } });
    let budget = json!({ "metadata": { "name": "web" }, "spec": { "maxUnavailable": 1, "selector": selector } });
    cluster.create::<PodDisruptionBudget>(budget).await;
    let numbers = |wanted: [i32; 4]| {
        let cluster = &cluster;
        until("the numbers", move || async move {
            let status = cluster.get::<PodDisruptionBudget>("web").await.status?;
            let found = [
                status.current_healthy,
                status.desired_healthy,
                status.disruptions_allowed,
                status.expected_pods,
            ];
            (found.map(Option::unwrap_or_default) == wanted).then_some(())
        })
    };
    numbers([3, 2, 1, 3]).await;
    // While one pod cannot be replaced, no second one may be evicted.
    cluster.agent.kill("node-0");
    cluster.agent.kill("node-1");
    let pods = cluster.ready("web").await;
    cluster
        .api::<Pod>()
        .evict(&pods[0], &EvictParams::default())
        .await
        .unwrap();
    numbers([2, 2, 0, 3]).await;
    let refused = cluster
        .api::<Pod>()
        .evict(&pods[1], &EvictParams::default())
        .await
        .unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 429));
    cluster.stop().await;
}
