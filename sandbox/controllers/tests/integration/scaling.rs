//! The autoscaler end to end, on scripted usage.

use crate::cluster::{Cluster, deployment, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use serde_json::json;
use showrunner_controllers::ControllersConfig;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autoscaler_follows_the_load() {
    let config = ControllersConfig {
        hpa_sync_period: Duration::from_millis(200),
        ..ControllersConfig::default()
    };
    let cluster = Cluster::with(2, config, Duration::from_secs(10)).await;
    cluster.agent.set_load(100);
    cluster.create::<Deployment>(deployment("web", 2, "one")).await;
    until("both ready", || async {
        (cluster.ready("web").await.len() == 2).then_some(())
    })
    .await;
    cluster
        .create::<HorizontalPodAutoscaler>(json!({
            "metadata": { "name": "web" },
            "spec": { "minReplicas": 2, "maxReplicas": 6,
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
                "behavior": { "scaleDown": { "stabilizationWindowSeconds": 0 } },
                "metrics": [{ "type": "Resource", "resource": { "name": "cpu",
                    "target": { "type": "Utilization", "averageUtilization": 50 } } }] },
        }))
        .await;
    let size = |wanted: i32| {
        let cluster = &cluster;
        until("the size", move || async move {
            let hpa: HorizontalPodAutoscaler = cluster.get("web").await;
            let status = hpa.status?;
            let spec = cluster.get::<Deployment>("web").await.spec?;
            (spec.replicas == Some(wanted) && status.current_replicas == Some(wanted)).then_some(status)
        })
    };
    // 100 m over 2 pods of 100 m each: 50 %, as wished.
    let steady = size(2).await;
    assert!(steady.last_scale_time.is_none());
    // 200 m at 50 % of 100 m each: four pods.
    cluster.agent.set_load(200);
    let up = size(4).await;
    assert_eq!(up.desired_replicas, 4);
    assert!(up.last_scale_time.is_some());
    let conditions = up.conditions.unwrap();
    assert!(
        conditions
            .iter()
            .any(|condition| condition.type_ == "ScalingActive" && condition.status == "True")
    );
    let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap().items;
    let rescale = events
        .iter()
        .find(|event| event.reason.as_deref() == Some("SuccessfulRescale"))
        .unwrap();
    assert!(
        rescale
            .message
            .as_deref()
            .unwrap()
            .starts_with("New size: 4; reason: cpu resource utilization")
    );
    cluster.agent.set_load(10_000);
    size(6).await;
    cluster.agent.set_load(1);
    size(2).await;
    cluster.stop().await;
}
