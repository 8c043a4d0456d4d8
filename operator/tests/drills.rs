//! Finishing a drill whose runner is gone, against an API server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
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
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "metadata": { "name": "networkchaos.chaos-mesh.org" },
        "spec": {
            "group": "chaos-mesh.org", "scope": "Namespaced",
            "names": { "kind": "NetworkChaos", "plural": "networkchaos" },
            "versions": [{ "name": "v1alpha1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            } } }],
        },
    }))
    .unwrap();
    cluster.define(vec![definition]).await;
    let fault = json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos",
        "metadata": { "name": "cut-eu", "labels": { labels::RUN: "night-1" }, "finalizers": ["chaos-mesh/records"] },
    });
    let path = format!("/apis/chaos-mesh.org/v1alpha1/namespaces/{NAMESPACE}/networkchaos");
    until("experiments", async || {
        let request = http::Request::post(&path).body(fault.to_string().into_bytes()).unwrap();
        cluster.client.request::<Value>(request).await.is_ok()
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
        condition()
            .await
            .is_some_and(|condition| condition.status == "False" && condition.message.contains("NetworkChaos cut-eu"))
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
