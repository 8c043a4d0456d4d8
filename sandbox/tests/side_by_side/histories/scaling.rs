//! Scale up and down, a pod that is cheaper to delete, and a pod that somebody deletes.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

use crate::{
    facts::Facts,
    stage::{Stage, names, settled, until},
};

pub(crate) async fn play(stage: &Stage) -> Facts {
    let mut facts = Facts::default();
    stage.deployment("web", 4, json!({}), json!({})).await;
    let four = stage.all_ready(4).await;
    let cheap = four[1].name_any();
    let cost = json!({ "metadata": { "annotations": { "controller.kubernetes.io/pod-deletion-cost": "-10" } } });
    stage.patch::<Pod>(&cheap, cost).await;
    stage.scale(3).await;
    let three = names(&stage.all_ready(3).await);
    facts.fact("the cheapest went first", !three.contains(&cheap));
    facts.fact("the others stayed", three.is_subset(&names(&four)));

    stage.scale(6).await;
    let began = tokio::time::Instant::now();
    let six = names(&stage.all_ready(6).await);
    facts.took("three more", began.elapsed());
    facts.fact("nobody was replaced", three.is_subset(&six));

    // A pause holds rollouts up, not the number of pods.
    stage
        .patch::<Deployment>("web", json!({ "spec": { "paused": true } }))
        .await;
    let gone = six.first().unwrap().clone();
    let began = tokio::time::Instant::now();
    stage
        .api::<Pod>()
        .delete(&gone, &DeleteParams::default())
        .await
        .unwrap();
    until("the deleted pod is replaced", async || {
        let now = stage.pods().await;
        (now.len() == 6 && !names(&now).contains(&gone)).then_some(())
    })
    .await;
    let again = names(&stage.all_ready(6).await);
    facts.took("a deleted pod is replaced", began.elapsed());
    facts.fact("replaced by a pod of another name", again.intersection(&six).count());

    stage.scale(0).await;
    stage.all_ready(0).await;
    facts.fact("owns its pods through a ReplicaSet", owner(&four[0]));
    let status = async || stage.api::<Deployment>().get("web").await.unwrap().status;
    let left = settled("its status follows", async || {
        status().await.and_then(|status| status.replicas)
    })
    .await;
    facts.fact("replicas of a paused Deployment that was scaled to none", left);
    facts
}

fn owner(pod: &Pod) -> Option<(String, Option<bool>, Option<bool>)> {
    let owner = pod.owner_references().first()?;
    Some((owner.kind.clone(), owner.controller, owner.block_owner_deletion))
}
