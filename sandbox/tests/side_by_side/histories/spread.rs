//! Where the scheduler puts pods that are to be spread, and what it says of those that fit nowhere.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use crate::{
    facts::Facts,
    stage::{MAIN, Stage, condition, is_ready, per_node, until},
};

pub(crate) async fn play(stage: &Stage) -> Facts {
    let mut facts = Facts::default();
    let selector = json!({ "matchLabels": { "app": "web" } });
    let spread = json!({ "topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector,
    }] });
    stage.deployment("web", 6, json!({}), spread).await;
    facts.fact("six over three zones", per_node(&stage.all_ready(6).await));
    stage.scale(7).await;
    facts.fact("seven over three zones", per_node(&stage.all_ready(7).await));

    // One on each node, so that the last one waits.
    let apart = json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
        { "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": "alone" } } },
    ] } } });
    stage.deployment("alone", MAIN.len() + 1, json!({}), apart).await;
    let of = |pod: &&Pod| pod.labels().get("app").is_some_and(|app| app == "alone");
    let (placed, waiting) = until("one is left over", async || {
        let pods: Vec<Pod> = stage.pods().await.iter().filter(of).cloned().collect();
        let (ready, others): (Vec<Pod>, Vec<Pod>) = pods.into_iter().partition(is_ready);
        let said = others.first().and_then(|pod| condition(pod, "PodScheduled"));
        let said = said.filter(|(status, _)| status == "False");
        (ready.len() == MAIN.len() && others.len() == 1).then_some((ready, said?))
    })
    .await;
    facts.fact("one on each node", per_node(&placed));
    facts.fact("what is left over says", waiting);
    facts
}
