//! An autoscaler whose pods work, and then do not: which sizes it chooses, and how fast its policies let it.

use std::fs;

use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use serde_json::json;

use crate::{
    facts::Facts,
    stage::{Stage, until},
};

/// Seconds between two steps, by policy.
const STEP: u32 = 5;

fn wanted(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref()?.replicas
}

fn conditions(autoscaler: &HorizontalPodAutoscaler) -> Vec<(String, String, String)> {
    let conditions = autoscaler
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let mut all: Vec<_> = conditions
        .into_iter()
        .map(|c| (c.type_, c.status, c.reason.unwrap_or_default()))
        .collect();
    all.sort();
    all
}

pub(crate) async fn play(stage: &Stage) -> Facts {
    let mut facts = Facts::default();
    fs::create_dir_all(&stage.folder).unwrap();
    let load = stage.folder.join("load");
    fs::write(&load, "").unwrap();
    let busy = json!({ "containers": [{ "name": "main", "image": "busy",
        "env": [{ "name": "WHILE", "value": load }],
        "resources": { "requests": { "cpu": "10m" } } }] });
    stage.deployment("web", 1, json!({}), busy).await;
    let history = stage.history::<Deployment, _>("web", wanted);
    stage.all_ready(1).await;
    let policy = json!([{ "type": "Pods", "value": 1, "periodSeconds": STEP }]);
    stage
        .create::<HorizontalPodAutoscaler>(json!({ "metadata": { "name": "web" }, "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "minReplicas": 1, "maxReplicas": 3,
            "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 100 } } }],
            "behavior": {
                "scaleUp": { "stabilizationWindowSeconds": 0, "policies": policy },
                "scaleDown": { "stabilizationWindowSeconds": 3, "policies": policy },
            },
        } }))
        .await;
    let autoscalers = stage.api::<HorizontalPodAutoscaler>();
    let sized = |count: i32| {
        let autoscalers = autoscalers.clone();
        async move {
            until(&format!("{count} replicas"), async || {
                let autoscaler = autoscalers.get("web").await.ok()?;
                let status = autoscaler.status.as_ref()?;
                (status.current_replicas == Some(count) && status.desired_replicas == count).then_some(autoscaler)
            })
            .await
        }
    };
    sized(3).await;
    facts.fact(
        "at its most",
        until("it says that there is too much", async || {
            let said = conditions(&autoscalers.get("web").await.ok()?);
            said.iter()
                .any(|(_, _, reason)| reason == "TooManyReplicas")
                .then_some(said)
        })
        .await,
    );
    fs::remove_file(&load).unwrap();
    sized(1).await;
    facts.fact(
        "at its least",
        until("it says that there is too little", async || {
            let said = conditions(&autoscalers.get("web").await.ok()?);
            said.iter()
                .any(|(_, _, reason)| reason == "TooFewReplicas")
                .then_some(said)
        })
        .await,
    );
    let seen = history.end().await;
    facts.fact("sizes", seen.iter().map(|(_, size)| *size).collect::<Vec<_>>());
    for (from, to) in [(1, 2), (3, 4)] {
        if let (Some((earlier, a)), Some((later, b))) = (seen.get(from), seen.get(to)) {
            let name = format!("from {} to {}", a.unwrap_or_default(), b.unwrap_or_default());
            facts.took(&name, later.duration_since(*earlier));
        }
    }
    facts
}
