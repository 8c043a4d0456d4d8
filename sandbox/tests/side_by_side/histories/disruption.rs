//! A PodDisruptionBudget lets one pod be evicted and no second one until the first is replaced.

use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::{ResourceExt, api::EvictParams};
use serde_json::json;

use crate::{
    facts::Facts,
    stage::{Stage, until},
};

/// Allowed disruptions, pods that are healthy, that must be, and that there should be.
async fn budget(stage: &Stage) -> Option<[i32; 4]> {
    let status = stage.api::<PodDisruptionBudget>().get("web").await.ok()?.status?;
    Some([
        status.disruptions_allowed?,
        status.current_healthy?,
        status.desired_healthy?,
        status.expected_pods?,
    ])
}

async fn evict(stage: &Stage, name: &str) -> u16 {
    match stage.api::<Pod>().evict(name, &EvictParams::default()).await {
        Ok(_) => 201,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => unreachable!("{error}"),
    }
}

pub(crate) async fn play(stage: &Stage) -> Facts {
    let mut facts = Facts::default();
    // Ready some seconds after it started, so that there is a time without it.
    let slow = json!({ "containers": [{ "name": "main", "image": "sleep",
        "readinessProbe": { "exec": { "command": ["true"] }, "initialDelaySeconds": 3, "periodSeconds": 1 } }] });
    stage.deployment("web", 3, json!({}), slow).await;
    let pods = stage.all_ready(3).await;
    stage
        .create::<PodDisruptionBudget>(json!({ "metadata": { "name": "web" }, "spec": {
            "minAvailable": 2, "selector": { "matchLabels": { "app": "web" } },
        } }))
        .await;
    let allowed = |count: i32| async move {
        until(&format!("{count} may go"), async || {
            budget(stage)
                .await
                .filter(|budget| budget[0] == count && budget[3] == 3)
        })
        .await
    };
    facts.fact("before", allowed(1).await);
    facts.fact("the first", evict(stage, &pods[0].name_any()).await);
    facts.fact("the second", evict(stage, &pods[1].name_any()).await);
    // How many there should be is the number of pods that are there, those that leave included: a matter of the moment.
    let meanwhile = until("one is missing", async || {
        budget(stage).await.filter(|budget| budget[1] == 2)
    })
    .await;
    facts.fact("meanwhile", &meanwhile[..3]);
    facts.fact("replaced", allowed(1).await);
    facts.fact("the second, later", evict(stage, &pods[1].name_any()).await);
    facts.fact("one that is not there", evict(stage, "nobody").await);
    facts
}
