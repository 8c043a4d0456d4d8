//! What the rest of a cluster does, as fast as it can: workloads become ready, load balancers get addresses, autoscalers
//! raise what is below their least.

use std::{sync::Arc, time::Duration};

use kube::Client;
use serde_json::{Value, json};
use showrunner_apiserver::ApiServer;

use crate::world::World;

/// How often the cluster looks for work.
const TICK: Duration = Duration::from_millis(1500);

/// Runs until it is dropped.
pub(crate) async fn run(world: Arc<World>) {
    let mut done = None;
    loop {
        tokio::time::sleep(TICK).await;
        let written = activity(&world);
        if done == Some(written) {
            continue;
        }
        for server in [&world.server, &world.far] {
            step(&world, server).await;
        }
        done = Some(written);
    }
}

/// Writes so far that may give the cluster work.
fn activity(world: &World) -> usize {
    let counts = |call: &showrunner_unreliable::Call| !call.path.contains("/leases");
    world.network.writes_that(counts) + world.bystanders.writes_that(counts)
}

async fn step(world: &World, server: &ApiServer) {
    let client = &world.client_of(server, "cluster");
    for scaler in world
        .list_of(server, "/apis/autoscaling/v2/horizontalpodautoscalers")
        .await
    {
        let (namespace, target) = (
            text(&scaler["metadata"]["namespace"]),
            text(&scaler["spec"]["scaleTargetRef"]["name"]),
        );
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{target}");
        let request = http::Request::get(&path).body(Vec::new()).unwrap();
        let Ok(deployment) = client.request::<Value>(request).await else {
            continue;
        };
        let least = scaler["spec"]["minReplicas"].as_i64().unwrap_or(1);
        if deployment["spec"]["replicas"].as_i64().unwrap_or(1) < least {
            patch(client, &path, &json!({ "spec": { "replicas": least } })).await;
        }
    }
    for (path, plural) in [
        ("/apis/apps/v1/deployments", "deployments"),
        ("/apis/apps/v1/statefulsets", "statefulsets"),
    ] {
        for workload in world.list_of(server, path).await {
            let replicas = workload["spec"]["replicas"].as_i64().unwrap_or(1);
            let ready = workload["status"]["readyReplicas"].as_i64().unwrap_or(0);
            let ready = (ready + 1).min(replicas);
            let status = json!({
                "observedGeneration": workload["metadata"]["generation"], "replicas": replicas,
                "updatedReplicas": replicas, "readyReplicas": ready, "availableReplicas": ready,
            });
            let current = status
                .as_object()
                .unwrap()
                .iter()
                .all(|(key, value)| workload["status"][key] == *value);
            if !current {
                let path = format!(
                    "/apis/apps/v1/namespaces/{}/{plural}/{}/status",
                    text(&workload["metadata"]["namespace"]),
                    text(&workload["metadata"]["name"])
                );
                patch(client, &path, &json!({ "status": status })).await;
            }
        }
    }
    for service in world.list_of(server, "/api/v1/services").await {
        let name = text(&service["metadata"]["name"]);
        if service["spec"]["type"] == "LoadBalancer" && service["status"]["loadBalancer"]["ingress"].is_null() {
            // The address is the name's alone, so that it is the same in every run.
            let number = name
                .bytes()
                .fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
            let [_, _, third, fourth] = number.to_be_bytes();
            let path = format!(
                "/api/v1/namespaces/{}/services/{name}/status",
                text(&service["metadata"]["namespace"])
            );
            let ingress = json!([{ "ip": format!("198.51.{third}.{fourth}") }]);
            patch(
                client,
                &path,
                &json!({ "status": { "loadBalancer": { "ingress": ingress } } }),
            )
            .await;
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What is gone meanwhile needs no patch.
async fn patch(client: &Client, path: &str, body: &Value) {
    let request = http::Request::patch(path)
        .header("content-type", "application/merge-patch+json")
        .body(serde_json::to_vec(body).unwrap())
        .unwrap();
    let _ = client.request::<Value>(request).await;
}
