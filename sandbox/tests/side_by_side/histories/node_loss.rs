//! A node that falls silent: its pods are replaced elsewhere, and it is taken in again when it comes back.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use kube::{Api, api::ListParams};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    facts::Facts,
    stage::{LOSS, Stage, condition, holds, is_ready, node, per_node, taints, until},
};

/// For how long a node has been silent: what counts from its death would depend on when that was between two heartbeats.
async fn since_heartbeat(stage: &Stage, node: &str) -> Duration {
    let leases: Api<Lease> = Api::namespaced(stage.client.clone(), "kube-node-lease");
    let renewed = leases.get(node).await.unwrap().spec.unwrap().renew_time.unwrap().0;
    Duration::try_from(Timestamp::now().duration_since(renewed)).unwrap_or_default()
}

pub(crate) async fn play(stage: &Stage) -> Facts {
    let mut facts = Facts::default();
    let (lost, kept) = (LOSS[0], LOSS[1]);
    let spread = json!({ "nodeSelector": { "pool": "loss" }, "topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": { "matchLabels": { "app": "web" } },
    }] });
    stage.deployment("web", 2, json!({}), spread).await;
    facts.fact("one on each", per_node(&stage.all_ready(2).await));

    assert!(stage.nodes.kill_node(lost));
    let (began, silent) = (Instant::now(), since_heartbeat(stage, lost).await);
    let nodes: Api<Node> = Api::all(stage.client.clone());
    let unknown = until("the node's state is unknown", async || {
        let node = nodes.get(lost).await.ok()?;
        condition(&node, "Ready").filter(|(status, _)| status == "Unknown")
    })
    .await;
    facts.took("until the node is known to be silent", silent + began.elapsed());
    facts.fact("the silent node's Ready", unknown);
    let on = |pod: &Pod, node: &str| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
    until("its pod is replaced", async || {
        let pods = stage.pods().await;
        (pods.len() == 2 && pods.iter().all(|pod| is_ready(pod) && on(pod, kept))).then_some(())
    })
    .await;
    facts.took("until its pod is replaced", silent + began.elapsed());
    let tainted = until("the node is tainted", async || {
        let taints = taints(&nodes.get(lost).await.ok()?);
        (taints.len() == 2).then_some(taints)
    })
    .await;
    facts.fact("taints of the silent node", tainted);
    let leaving = stage.api::<Pod>().list(&ListParams::default()).await.unwrap();
    let leaving: Vec<&Pod> = leaving
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_some())
        .collect();
    facts.fact("pods that cannot leave it", leaving.len());
    facts.fact("are ready", leaving.iter().filter(|pod| is_ready(pod)).count());

    stage.nodes.spawn_node(node("loss", lost));
    let began = Instant::now();
    until("the node is taken in again", async || {
        let node = nodes.get(lost).await.ok()?;
        (holds(&node, "Ready") && taints(&node).is_empty()).then_some(())
    })
    .await;
    facts.took("until the node is taken in again", began.elapsed());
    let left = until("what could not leave is gone", async || {
        let pods = stage.api::<Pod>().list(&ListParams::default()).await.ok()?;
        let leaving = pods.iter().any(|pod| pod.metadata.deletion_timestamp.is_some());
        (!leaving).then_some(pods.items.len())
    })
    .await;
    facts.fact("pods in the end", left);
    facts
}
