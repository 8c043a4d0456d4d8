//! A rolling update to an image that cannot be pulled gets stuck without taking the service down; taking it back heals it.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::{ResourceExt, api::ListParams};
use serde_json::json;

use crate::{
    facts::Facts,
    stage::{Stage, condition, settled, until},
};

const REVISION: &str = "deployment.kubernetes.io/revision";

/// Replicas that are wanted and ready of each ReplicaSet, the newest revision last.
async fn sets(stage: &Stage) -> Vec<(i32, i32)> {
    let mut all = stage
        .api::<ReplicaSet>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    all.sort_by_key(|set| {
        set.annotations()
            .get(REVISION)
            .and_then(|revision| revision.parse::<u32>().ok())
    });
    let of = |set: &ReplicaSet| {
        let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
        let ready = set
            .status
            .as_ref()
            .and_then(|status| status.ready_replicas)
            .unwrap_or_default();
        (wanted, ready)
    };
    all.iter().map(of).collect()
}

fn counts(deployment: &Deployment) -> [Option<i32>; 5] {
    let status = deployment.status.clone().unwrap_or_default();
    [
        status.replicas,
        status.updated_replicas,
        status.ready_replicas,
        status.available_replicas,
        status.unavailable_replicas,
    ]
}

pub(crate) async fn play(stage: &Stage) -> Facts {
    let mut facts = Facts::default();
    stage
        .deployment("web", 4, json!({ "progressDeadlineSeconds": 4 }), json!({}))
        .await;
    stage.all_ready(4).await;
    settled("the rollout is complete", async || sets(stage).await).await;
    let deployments = stage.api::<Deployment>();
    let history = stage.history::<Deployment, _>("web", counts);

    let image = |image: &str| json!({ "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": image }] } } } });
    stage.patch::<Deployment>("web", image("missing")).await;
    let began = tokio::time::Instant::now();
    let stuck = until("the rollout is stuck", async || {
        let deployment = deployments.get("web").await.ok()?;
        condition(&deployment, "Progressing").filter(|(status, _)| status == "False")
    })
    .await;
    facts.took("until it says that it is stuck", began.elapsed());
    facts.fact("stuck: Progressing", stuck);
    facts.fact(
        "stuck: wanted and ready of each ReplicaSet",
        settled("stuck", async || sets(stage).await).await,
    );
    let deployment = deployments.get("web").await.unwrap();
    facts.fact(
        "stuck: replicas, updated, ready, available, unavailable",
        counts(&deployment),
    );
    facts.fact("stuck: Available", condition(&deployment, "Available"));
    facts.fact("stuck: revision", deployment.annotations().get(REVISION));

    stage.patch::<Deployment>("web", image("sleep")).await;
    stage.all_ready(4).await;
    facts.fact(
        "back: wanted and ready of each ReplicaSet",
        settled("back", async || sets(stage).await).await,
    );
    let deployment = deployments.get("web").await.unwrap();
    facts.fact("back: Progressing", condition(&deployment, "Progressing"));
    facts.fact("back: revision", deployment.annotations().get(REVISION));
    facts.fact(
        "back: replicas, updated, ready, available, unavailable",
        counts(&deployment),
    );

    let seen = history.end().await;
    let all = |index: usize| seen.iter().map(move |(_, counts)| counts[index].unwrap_or_default());
    facts.fact("fewest available at any time", all(3).min());
    facts.fact("most replicas at any time", all(0).max());
    facts
}
