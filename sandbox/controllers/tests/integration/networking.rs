//! Endpoints and load balancer addresses end to end.

use crate::cluster::{Cluster, deployment, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

async fn addresses(cluster: &Cluster) -> Vec<(String, bool)> {
    let list = ListParams::default().labels("kubernetes.io/service-name=web");
    let slices = cluster.api::<EndpointSlice>().list(&list).await.unwrap().items;
    let endpoints = slices.into_iter().flat_map(|slice| slice.endpoints.unwrap_or_default());
    let mut rows: Vec<(String, bool)> = endpoints
        .map(|endpoint| {
            (
                endpoint.addresses[0].clone(),
                endpoint.conditions.unwrap().ready == Some(true),
            )
        })
        .collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_follow_the_pods() {
    let cluster = Cluster::start(2).await;
    cluster
        .create::<Service>(
            json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" },
            "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] } }),
        )
        .await;
    cluster.create::<Deployment>(deployment("web", 3, "one")).await;
    until("three ready endpoints", || async {
        let rows = addresses(&cluster).await;
        (rows.len() == 3 && rows.iter().all(|(_, ready)| *ready)).then_some(())
    })
    .await;
    let mut expected: Vec<String> = cluster
        .pods("web")
        .await
        .iter()
        .map(|pod| pod.status.clone().unwrap().pod_ip.unwrap())
        .collect();
    expected.sort();
    let found: Vec<String> = addresses(&cluster)
        .await
        .into_iter()
        .map(|(address, _)| address)
        .collect();
    assert_eq!(found, expected);
    // The empty slice of before, whose port had no number yet, goes once the new one is there.
    let slices = until("one slice", || async {
        let api = cluster.api::<EndpointSlice>();
        let slices = api.list(&ListParams::default()).await.unwrap().items;
        (slices.len() == 1).then_some(slices)
    })
    .await;
    assert_eq!(
        slices[0].ports.as_ref().unwrap()[0].port,
        Some(8080),
        "the named port was resolved"
    );
    assert_eq!(
        slices[0].labels()["endpointslice.kubernetes.io/managed-by"],
        "endpointslice-controller.k8s.io"
    );
    assert!(
        slices[0]
            .endpoints
            .as_ref()
            .unwrap()
            .iter()
            .all(|endpoint| endpoint.zone.is_some())
    );

    let victim = cluster.ready("web").await.remove(0);
    let unready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } });
    let (api, params) = (cluster.api::<Pod>(), PatchParams::default());
    api.patch_status(&victim, &params, &Patch::Merge(unready))
        .await
        .unwrap();
    until("one endpoint is not ready", || async {
        (addresses(&cluster).await.iter().filter(|(_, ready)| !ready).count() == 1).then_some(())
    })
    .await;
    let subsets = until("Endpoints agree", || async {
        let subsets = cluster.api::<Endpoints>().get_opt("web").await.unwrap()?.subsets?;
        subsets[0].not_ready_addresses.is_some().then_some(subsets)
    })
    .await;
    assert_eq!(subsets[0].addresses.as_ref().unwrap().len(), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_balancers_get_addresses_of_their_own() {
    let cluster = Cluster::start(0).await;
    let names: Vec<String> = (0..20).map(|index| format!("edge-{index}")).collect();
    for name in &names {
        let spec = json!({ "type": "LoadBalancer", "ports": [{ "port": 8080 }] });
        cluster
            .create::<Service>(json!({ "metadata": { "name": name }, "spec": spec }))
            .await;
    }
    let mut given = until("all have one", || async {
        let services = cluster
            .api::<Service>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        let ip = |service: &Service| {
            service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?[0]
                .ip
                .clone()
        };
        let given: Vec<String> = services.iter().filter_map(ip).collect();
        (given.len() == 20).then_some(given)
    })
    .await;
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 20, "no address twice");
    assert!(given.iter().all(|address| address.starts_with("127.30.")));
    cluster.stop().await;
}
