//! The operator against an API server: what is there after a look, and after the next.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use showrunner_crds::platform::{RegionState, StreamingPlatform};
use showrunner_operator::{OperatorOptions, render, run};
use support::{
    cluster::{Cluster, Viewers, cinema},
    varnish::until,
};
use tokio_util::sync::CancellationToken;

fn condition(platform: &StreamingPlatform, type_: &str) -> (String, String) {
    let conditions = &platform.status.as_ref().unwrap().conditions;
    let found = conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    (found.status.clone(), found.reason.clone())
}

#[tokio::test]
async fn a_platform_converges_and_says_so() {
    let cluster = Cluster::with_cinema().await;
    cluster.look().await.unwrap();
    let rendered = render(&cinema()).unwrap();
    let count = |kind: &str| rendered.iter().filter(|object| object["kind"] == kind).count();
    assert_eq!(cluster.names::<Deployment>().await.len(), count("Deployment"));
    assert_eq!(cluster.names::<StatefulSet>().await.len(), count("StatefulSet"));
    assert_eq!(cluster.names::<Service>().await.len(), count("Service"));
    assert_eq!(cluster.names::<HorizontalPodAutoscaler>().await.len(), 3);
    assert_eq!(
        cluster.names::<PodDisruptionBudget>().await.len(),
        count("PodDisruptionBudget")
    );
    assert_eq!(
        condition(&cluster.platform().await, "Ready"),
        ("False".into(), "RegionsNotServing".into())
    );

    cluster.give_addresses().await;
    cluster.everything_runs().await;
    cluster.look().await.unwrap();
    let platform = cluster.platform().await;
    assert_eq!(condition(&platform, "Ready"), ("True".into(), "AllRegionsServe".into()));
    assert_eq!(condition(&platform, "Degraded").0, "False");
    assert_eq!(condition(&platform, "EvacuationSafe").0, "True");
    let status = platform.status.unwrap();
    assert_eq!(status.summary, "3/3 regions ready");
    assert!(
        status.endpoints.channels[0]
            .url
            .ends_with("/play/main/multivariant.m3u8"),
        "{:?}",
        status.endpoints
    );
    assert_eq!(status.endpoints.services.len(), 1);
    let steering = cluster.api::<ConfigMap>().get("cinema-steering").await.unwrap();
    assert!(steering.data.unwrap()["steering.json"].contains("http://192.0.2."));
}

#[tokio::test]
async fn the_next_look_writes_nothing() {
    let cluster = Cluster::with_cinema().await;
    cluster.settle().await;
    let settled = cluster.server.revision();
    cluster.look().await.unwrap();
    assert_eq!(cluster.server.revision(), settled);
    // Negative control: something that changes is written.
    cluster
        .change(json!({ "spec": { "steering": { "ttlSeconds": 7 } } }))
        .await;
    let changed = cluster.server.revision();
    cluster.look().await.unwrap();
    assert!(cluster.server.revision() > changed);
}

#[tokio::test]
async fn what_others_change_is_put_right() {
    let cluster = Cluster::with_cinema().await;
    cluster.look().await.unwrap();
    let services = cluster.api::<Service>();
    let meddling = Patch::Merge(json!({ "spec": { "selector": { "showrunner.dev/role": "shield" } } }));
    services
        .patch("cinema-north-edge", &PatchParams::default(), &meddling)
        .await
        .unwrap();
    services
        .delete("cinema-south-edge", &DeleteParams::default())
        .await
        .unwrap();
    cluster.look().await.unwrap();
    let edge = services.get("cinema-north-edge").await.unwrap();
    assert_eq!(edge.spec.unwrap().selector.unwrap()["showrunner.dev/role"], "edge");
    assert!(services.get_opt("cinema-south-edge").await.unwrap().is_some());
}

/// What is merged by key may have items of others; what has one owner as a whole is taken from us by whoever adds to it.
#[tokio::test]
async fn what_others_add_is_put_right_where_it_takes_something_from_us() {
    let cluster = Cluster::with_cinema().await;
    cluster.settle().await;
    let taken = [
        ("/api/v1/services/cinema-north-edge", "/spec/selector/x", json!("y")),
        (
            "/apis/networking.k8s.io/v1/networkpolicies/cinema-origin",
            "/spec/ingress/-",
            json!({}),
        ),
        (
            "/apis/networking.k8s.io/v1/networkpolicies/cinema-origin",
            "/spec/podSelector/matchLabels/x",
            json!("y"),
        ),
        (
            "/apis/apps/v1/deployments/cinema-north-edge",
            "/spec/template/spec/containers/0/args/-",
            json!("-x"),
        ),
        (
            "/apis/autoscaling/v2/horizontalpodautoscalers/cinema-north-edge",
            "/spec/metrics/-",
            json!({ "type": "Resource", "resource": { "name": "memory", "target": { "type": "Utilization", "averageUtilization": 1 } } }),
        ),
        (
            "/apis/policy/v1/poddisruptionbudgets/cinema-north-edge",
            "/spec/selector/matchLabels/x",
            json!("y"),
        ),
    ];
    for (path, place, value) in taken {
        let before = cluster.get(path).await;
        let with = cluster.add(path, place, &value).await;
        assert_ne!(with["spec"], before["spec"], "{path} {place}");
        cluster.look().await.unwrap();
        assert_eq!(cluster.get(path).await["spec"], before["spec"], "{path} {place}");
    }
    let left_alone = [
        ("/api/v1/services/cinema-north-edge", "/metadata/labels/x", json!("y")),
        (
            "/api/v1/services/cinema-north-edge",
            "/spec/externalTrafficPolicy",
            json!("Local"),
        ),
        (
            "/api/v1/services/cinema-north-edge",
            "/spec/ports/-",
            json!({ "name": "x", "port": 9, "protocol": "TCP" }),
        ),
        (
            "/apis/apps/v1/deployments/cinema-north-edge",
            "/spec/template/spec/containers/-",
            json!({ "name": "sidecar", "image": "x" }),
        ),
        (
            "/apis/apps/v1/deployments/cinema-north-edge",
            "/spec/template/spec/containers/0/env/-",
            json!({ "name": "X", "value": "y" }),
        ),
        (
            "/apis/apps/v1/deployments/cinema-north-edge",
            "/spec/template/spec/topologySpreadConstraints/-",
            json!({ "maxSkew": 5, "topologyKey": "x", "whenUnsatisfiable": "ScheduleAnyway" }),
        ),
    ];
    for (path, place, value) in left_alone {
        let with = cluster.add(path, place, &value).await;
        cluster.look().await.unwrap();
        assert_eq!(cluster.get(path).await, with, "{path} {place}");
    }
}

#[tokio::test]
async fn the_autoscaler_has_its_replicas_to_itself() {
    let cluster = Cluster::with_cinema().await;
    cluster.look().await.unwrap();
    let deployments = cluster.api::<Deployment>();
    let scale = Patch::Merge(json!({ "spec": { "replicas": 7 } }));
    deployments
        .patch("cinema-north-edge", &PatchParams::default(), &scale)
        .await
        .unwrap();
    cluster.change(json!({ "spec": { "edge": { "cacheMib": 300 } } })).await;
    cluster.look().await.unwrap();
    let edge = deployments.get("cinema-north-edge").await.unwrap().spec.unwrap();
    assert_eq!(edge.replicas, Some(7));
    assert!(
        edge.template.spec.unwrap().containers[0]
            .args
            .as_ref()
            .unwrap()
            .iter()
            .any(|arg| arg.contains("300m"))
    );
}

#[tokio::test]
async fn replicas_are_handed_over_without_a_fall() {
    let cluster = Cluster::with_cinema().await;
    let scaling = |enabled| json!({ "spec": { "edge": { "autoscaling": { "enabled": enabled, "minReplicas": 5 } } } });
    cluster.change(scaling(false)).await;
    cluster.look().await.unwrap();
    let deployments = cluster.api::<Deployment>();
    let replicas = async || {
        deployments
            .get("cinema-north-edge")
            .await
            .unwrap()
            .spec
            .unwrap()
            .replicas
    };
    assert_eq!(
        (replicas().await, cluster.names::<HorizontalPodAutoscaler>().await.len()),
        (Some(5), 0)
    );

    cluster.change(scaling(true)).await;
    cluster.look().await.unwrap();
    assert_eq!(
        (replicas().await, cluster.names::<HorizontalPodAutoscaler>().await.len()),
        (Some(5), 3)
    );
    let owners: Vec<_> = deployments
        .get("cinema-north-edge")
        .await
        .unwrap()
        .managed_fields()
        .to_vec();
    let ours = owners
        .iter()
        .find(|entry| entry.manager.as_deref() == Some("showrunner-operator/workloads"))
        .unwrap();
    assert_eq!(ours.fields_v1.as_ref().unwrap().0.pointer("/f:spec/f:replicas"), None);
    let scale = Patch::Merge(json!({ "spec": { "replicas": 9 } }));
    deployments
        .patch("cinema-north-edge", &PatchParams::default(), &scale)
        .await
        .unwrap();
    cluster.look().await.unwrap();
    assert_eq!(replicas().await, Some(9));

    // Off again: first the autoscaler goes, then the number is the spec's.
    cluster.change(scaling(false)).await;
    for expected in [9, 5] {
        cluster.look().await.unwrap();
        assert_eq!(
            (replicas().await, cluster.names::<HorizontalPodAutoscaler>().await.len()),
            (Some(expected), 0)
        );
    }
}

#[tokio::test]
async fn what_is_no_longer_rendered_goes_and_what_is_not_ours_stays() {
    let cluster = Cluster::with_cinema().await;
    cluster.look().await.unwrap();
    let foreign = serde_json::from_value(json!({ "metadata": { "name": "theirs", "labels": {
        "showrunner.dev/platform": "cinema", "app.kubernetes.io/managed-by": "showrunner-operator",
    } } }))
    .unwrap();
    cluster
        .api::<ConfigMap>()
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    cluster
        .change(json!({ "spec": { "services": [], "regions": [{ "name": "north" }, { "name": "south" }] } }))
        .await;
    cluster.look().await.unwrap();
    let deployments = cluster.names::<Deployment>().await;
    assert!(
        !deployments
            .iter()
            .any(|name| name.contains("west") || name.contains("tickets")),
        "{deployments:?}"
    );
    assert!(deployments.iter().any(|name| name == "cinema-south-edge"));
    assert!(cluster.names::<ConfigMap>().await.contains(&"theirs".to_owned()));
}

#[tokio::test]
async fn an_object_of_someone_else_is_not_seized() {
    let cluster = Cluster::with_cinema().await;
    let theirs = serde_json::from_value(json!({
        "metadata": { "name": "cinema-north-edge" },
        "spec": { "ports": [{ "port": 80 }], "selector": { "app": "theirs" } },
    }))
    .unwrap();
    cluster
        .api::<Service>()
        .create(&PostParams::default(), &theirs)
        .await
        .unwrap();
    cluster.look().await.unwrap();
    let service = cluster.api::<Service>().get("cinema-north-edge").await.unwrap();
    assert_eq!(service.spec.unwrap().selector.unwrap()["app"], "theirs");
    let platform = cluster.platform().await;
    assert_eq!(condition(&platform, "Degraded"), ("True".into(), "ApplyFailed".into()));
    // A region that fails does not keep the others from being served.
    let deployments = cluster.names::<Deployment>().await;
    assert!(
        deployments.contains(&"cinema-south-edge".to_owned()) && !deployments.contains(&"cinema-north-edge".to_owned())
    );
}

#[tokio::test]
async fn a_spec_that_is_refused_leaves_everything_running() {
    let cluster = Cluster::with_cinema().await;
    cluster.look().await.unwrap();
    let before = cluster.names::<Deployment>().await;
    // As it may have been stored before the definition had the rule that refuses it.
    let mut stored = cluster.platform().await;
    stored.spec.images.cache = " ".to_owned();
    cluster.look_at(stored).await.unwrap();
    let platform = cluster.platform().await;
    assert_eq!(condition(&platform, "Ready"), ("False".into(), "InvalidSpec".into()));
    let conditions = &platform.status.as_ref().unwrap().conditions;
    assert!(
        conditions
            .iter()
            .any(|condition| condition.message.contains("spec.images.cache")),
        "{conditions:?}"
    );
    assert_eq!(cluster.names::<Deployment>().await, before);
}

#[tokio::test]
async fn the_signing_key_is_made_once() {
    let mut cluster = Cluster::with_cinema().await;
    cluster.look().await.unwrap();
    let key = async || {
        let secrets = cluster.api::<Secret>();
        secrets.get("cinema-signing-key").await.unwrap().data.unwrap()
    };
    let first = key().await;
    assert_eq!(first["signing.key"].0.len(), 64);
    // It stays with its platform: tokens hold when services come back.
    cluster.change(json!({ "spec": { "services": [] } })).await;
    cluster.look().await.unwrap();
    assert_eq!(key().await, first);
    cluster.restart_operator();
    cluster
        .change(json!({ "spec": { "services": cinema().spec.services } }))
        .await;
    cluster.look().await.unwrap();
    let again = cluster.api::<Secret>().get("cinema-signing-key").await.unwrap();
    assert_eq!(again.data.unwrap(), first);
}

#[tokio::test]
async fn what_is_no_longer_asked_for_leaves_the_status() {
    let cluster = Cluster::with_cinema().await;
    cluster.settle().await;
    let services = async || cluster.platform().await.status.unwrap().endpoints.services.len();
    assert_eq!(services().await, 1);
    cluster.change(json!({ "spec": { "services": [] } })).await;
    cluster.look().await.unwrap();
    cluster.look().await.unwrap();
    assert_eq!(services().await, 0);
}

#[tokio::test]
async fn the_audience_raises_the_floor() {
    let cluster = Cluster::with_cinema().await;
    let viewers = Arc::new(Viewers(AtomicU32::new(150)));
    cluster.server.set_nodes(viewers.clone());
    cluster.look().await.unwrap();
    cluster.steering_pod("steering-0").await;
    cluster.steering_pod("steering-1").await;
    let mut cluster = cluster;
    let floor = async |cluster: &Cluster, region: &str| {
        let autoscaler = cluster
            .api::<HorizontalPodAutoscaler>()
            .get(&format!("cinema-{region}-edge"))
            .await
            .unwrap();
        autoscaler.spec.min_replicas.unwrap()
    };
    assert_eq!(floor(&cluster, "north").await, 2);
    cluster.restart_operator();
    cluster.look().await.unwrap();
    // Two servers saw 150 each: 300 · 1.25 / 50 = 7.5.
    assert_eq!(floor(&cluster, "north").await, 8);
    let status = cluster.platform().await.status.unwrap();
    assert_eq!((status.audience, status.regions[0].audience), (300, 300));
    assert_eq!(status.regions[0].edge.as_ref().unwrap().floor_reason, "audience");
    viewers.0.store(0, Ordering::Relaxed);
    cluster.restart_operator();
    cluster.look().await.unwrap();
    assert_eq!(floor(&cluster, "north").await, 2);
}

#[tokio::test]
async fn a_region_without_ready_edges_is_unavailable() {
    let cluster = Cluster::with_cinema().await;
    cluster.look().await.unwrap();
    cluster.give_addresses().await;
    cluster.everything_runs().await;
    cluster.look().await.unwrap();
    cluster
        .patch_status::<Deployment>("cinema-south-edge", json!({ "readyReplicas": 0 }))
        .await;
    cluster.look().await.unwrap();
    let platform = cluster.platform().await;
    let regions = &platform.status.as_ref().unwrap().regions;
    let states: Vec<_> = regions.iter().map(|region| region.state).collect();
    assert_eq!(
        states,
        [RegionState::Ready, RegionState::Unavailable, RegionState::Ready]
    );
    assert_eq!(condition(&platform, "Ready").0, "False");
    assert_eq!(condition(&platform, "EvacuationSafe").1, "LastHealthyPath");
}

#[tokio::test]
async fn the_controller_makes_it_so_and_deletion_takes_it_all() {
    let cluster = Cluster::start().await;
    let stop = CancellationToken::new();
    let operator = tokio::spawn(run(cluster.client.clone(), OperatorOptions::default(), stop.clone()));
    cluster
        .platforms()
        .create(&PostParams::default(), &cinema())
        .await
        .unwrap();
    until("workloads", async || cluster.names::<Deployment>().await.len() == 10).await;
    // A Service that gets an address is a reason to look again.
    until("services", async || cluster.names::<Service>().await.len() == 11).await;
    cluster.give_addresses().await;
    until("an endpoint", async || {
        let status = cluster.platform().await.status.unwrap_or_default();
        !status.endpoints.channels.is_empty()
    })
    .await;
    cluster
        .platforms()
        .delete("cinema", &DeleteParams::background())
        .await
        .unwrap();
    until("nothing left", async || {
        cluster.names::<Deployment>().await.is_empty()
            && cluster.names::<Service>().await.is_empty()
            && cluster.names::<Secret>().await.is_empty()
    })
    .await;
    stop.cancel();
    tokio::time::timeout(std::time::Duration::from_secs(10), operator)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
