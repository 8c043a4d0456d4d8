//! Finishing a drill whose runner is gone, against an API server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use chaos_mesh_rs::{NetworkChaos, fault::partition, selector::PodSelector};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use showrunner_crds::{
    drill::{Drill, UNDONE},
    labels,
};
use showrunner_operator::{OperatorOptions, drills};
use support::{
    cluster::{Cluster, NAMESPACE},
    varnish::until,
};
use tokio_util::sync::CancellationToken;

const FAULT: &str = "/apis/chaos-mesh.org/v1alpha1/networkchaos/cut-eu";

/// A cluster that knows experiments, with one that its finalizer holds, of a drill that somebody else has to finish.
async fn with_a_fault_that_does_not_go() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.define(chaos_mesh_rs::crds()).await;
    let edges = PodSelector::names(NAMESPACE, vec!["edge-0".to_owned()]);
    let mut fault = partition("cut-eu", NAMESPACE, edges);
    fault.metadata.labels = Some([(labels::RUN.to_owned(), "night-1".to_owned())].into());
    fault.metadata.finalizers = Some(vec!["chaos-mesh/records".to_owned()]);
    let faults: Api<NetworkChaos> = cluster.api();
    until("experiments", async || {
        faults.create(&PostParams::default(), &fault).await.is_ok()
    })
    .await;

    let drills: Api<Drill> = cluster.api();
    let drill = json!({
        "apiVersion": "showrunner.dev/v1alpha1", "kind": "Drill", "metadata": { "name": "night-1" },
        "spec": { "scenario": "night", "platform": "cinema" },
    });
    let drill: Drill = serde_json::from_value(drill).unwrap();
    drills.create(&PostParams::default(), &drill).await.unwrap();
    let status = json!({ "status": { "phase": "Abandoned", "journal": [{
        "id": 0, "fault": "lose-eu", "stage": "injected", "at": "2026-01-01T20:00:00Z",
        "undo": { "how": "deleteChaos", "kind": "NetworkChaos", "namespace": NAMESPACE, "name": "cut-eu" },
    }] } });
    drills
        .patch_status("night-1", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    cluster
}

#[tokio::test]
async fn what_a_drill_waits_for_is_named_until_it_is_gone() {
    let cluster = with_a_fault_that_does_not_go().await;
    let stop = CancellationToken::new();
    let finishing = tokio::spawn(drills::run(
        cluster.client.clone(),
        OperatorOptions::default(),
        stop.clone(),
    ));
    let drills: Api<Drill> = cluster.api();
    let condition = async || {
        let status = drills.get("night-1").await.unwrap().status.unwrap_or_default();
        status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == UNDONE)
    };
    until("word of what it waits for", async || {
        condition().await.is_some_and(|condition| {
            condition.status == "False" && condition.message.contains("NetworkChaos stage/cut-eu")
        })
    })
    .await;
    // The fault is recovered.
    cluster.add(FAULT, "/metadata/finalizers", &json!([])).await;
    until("an undone drill", async || {
        condition().await.is_some_and(|condition| condition.status == "True")
    })
    .await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), finishing)
        .await
        .unwrap()
        .unwrap();
}
