//! Nodes that do what they should: bound pods become ready, deleted ones go. Images: `done` runs to its end.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, LogOptions, NodeAccess, PodUsage};

const NODES: [&str; 2] = ["node-0", "node-1"];

/// No metrics, no logs, no way in.
pub(crate) struct Nothing;

impl NodeAccess for Nothing {
    fn dial(&self, _: &str, _: &str, _: u16) -> BoxFuture<'_, std::io::Result<tokio::net::TcpStream>> {
        async { Err(std::io::ErrorKind::Unsupported.into()) }.boxed()
    }

    fn logs(
        &self,
        _: &str,
        _: &str,
        _: LogOptions,
    ) -> BoxFuture<'_, std::io::Result<BoxStream<'static, std::io::Result<Bytes>>>> {
        async { Err(std::io::ErrorKind::Unsupported.into()) }.boxed()
    }

    fn usage(&self) -> Vec<PodUsage> {
        Vec::new()
    }
}

pub(crate) async fn install(server: &ApiServer, client: &Client) {
    server.set_nodes(Arc::new(Nothing));
    let nodes: Api<Node> = Api::all(client.clone());
    for name in NODES {
        let node = json!({ "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } } });
        nodes
            .create(&PostParams::default(), &serde_json::from_value(node).unwrap())
            .await
            .unwrap();
        let status = json!({ "status": { "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "110" },
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" }] } });
        nodes
            .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
        // The controllers go by the time of day, which goes on slowly while a run's own time jumps: one beat is enough.
        let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": name },
            "spec": { "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": format!("{:.6}", Timestamp::now()) } });
        let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        send(client, http::Request::post(path), &lease).await.unwrap();
    }
}

/// Runs until it is dropped.
pub(crate) async fn run(server: ApiServer, client: Client) {
    let mut seen = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if server.revision() == seen {
            continue;
        }
        seen = server.revision();
        for pod in list(&client, "/api/v1/pods").await {
            look(&client, &pod).await;
        }
    }
}

async fn look(client: &Client, pod: &Value) {
    if pod["spec"]["nodeName"].is_null() {
        return;
    }
    let name = pod["metadata"]["name"].as_str().unwrap();
    let path = format!("/api/v1/namespaces/default/pods/{name}");
    if pod["metadata"]["deletionTimestamp"].is_string() {
        let options = json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": pod["metadata"]["uid"] } });
        let _ = send(client, http::Request::delete(path), &options).await;
        return;
    }
    if !matches!(pod["status"]["phase"].as_str(), None | Some("Pending")) {
        return;
    }
    let (now, number) = (
        Timestamp::now(),
        name.bytes()
            .fold(7_u8, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte)),
    );
    let status = if pod["spec"]["containers"][0]["image"] == "done" {
        json!({ "phase": "Succeeded", "startTime": now })
    } else {
        json!({ "phase": "Running", "podIP": format!("127.10.0.{number}"), "startTime": now,
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": now }] })
    };
    let request = http::Request::patch(format!("{path}/status")).header("content-type", "application/merge-patch+json");
    // The pod may be gone by now.
    let _ = send(client, request, &json!({ "status": status })).await;
}

pub(crate) async fn list(client: &Client, path: &str) -> Vec<Value> {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    let mut list: Value = client.request(request).await.unwrap();
    list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()
}

pub(crate) async fn send(client: &Client, request: http::request::Builder, body: &Value) -> kube::Result<Value> {
    client
        .request(request.body(serde_json::to_vec(body).unwrap()).unwrap())
        .await
}
