//! A StatefulSet starts and ends its pods in order, keeps their names, and updates no more than its partition allows.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::{
    ResourceExt,
    api::DeleteParams,
    runtime::watcher::{self, Event, watcher},
};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::{
    facts::Facts,
    stage::{Stage, is_ready, settled, template, until},
};

/// How long the next pod may take.
const NEXT: std::time::Duration = std::time::Duration::from_secs(60);

type Seen = BoxStream<'static, watcher::Result<Event<Pod>>>;

/// Names of the next `count` pods that become ready, in order; or that go.
async fn next(seen: &mut Seen, count: usize, gone: bool) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    while names.len() < count {
        let event = timeout(NEXT, seen.next()).await.unwrap().unwrap().unwrap();
        let name = match event {
            Event::Apply(pod) | Event::InitApply(pod) if !gone && is_ready(&pod) => pod.name_any(),
            Event::Delete(pod) if gone => pod.name_any(),
            _ => continue,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

async fn images(stage: &Stage) -> BTreeMap<String, String> {
    let image = |pod: &Pod| {
        pod.spec
            .as_ref()
            .map(|spec| spec.containers[0].image.clone().unwrap_or_default())
    };
    let all = stage.pods().await;
    all.iter()
        .map(|pod| (pod.name_any(), image(pod).unwrap_or_default()))
        .collect()
}

pub(crate) async fn play(stage: &Stage) -> Facts {
    let mut facts = Facts::default();
    let mut seen: Seen = watcher(stage.api::<Pod>(), watcher::Config::default()).boxed();
    stage
        .create::<StatefulSet>(json!({ "metadata": { "name": "web" }, "spec": {
            "replicas": 3, "serviceName": "web",
            "selector": { "matchLabels": { "app": "web" } },
            "template": template("web"),
        } }))
        .await;
    facts.fact("started in order", next(&mut seen, 3, false).await);
    let pods = stage.all_ready(3).await;
    let labels: Vec<String> = pods[0].labels().keys().cloned().collect();
    facts.fact("labels of a pod", labels);

    let before = pods.iter().find(|pod| pod.name_any() == "web-0").and_then(Pod::uid);
    stage
        .api::<Pod>()
        .delete("web-0", &DeleteParams::default())
        .await
        .unwrap();
    let began = Instant::now();
    until("web-0 is back under its name", async || {
        let pod = stage.api::<Pod>().get_opt("web-0").await.ok()??;
        (is_ready(&pod) && pod.uid() != before).then_some(())
    })
    .await;
    facts.took("a deleted pod is back under its name", began.elapsed());

    let partition = json!({ "spec": {
        "updateStrategy": { "rollingUpdate": { "partition": 2 } },
        "template": { "spec": { "containers": [{ "name": "main", "image": "sleep-on" }] } },
    } });
    stage.patch::<StatefulSet>("web", partition).await;
    until("web-2 is updated", async || {
        (images(stage).await.get("web-2")? == "sleep-on").then_some(())
    })
    .await;
    stage.all_ready(3).await;
    facts.fact(
        "updated down to the partition",
        settled("the partition", async || images(stage).await).await,
    );
    let status = stage.api::<StatefulSet>().get("web").await.unwrap().status.unwrap();
    facts.fact(
        "replicas, ready, current, updated",
        [
            Some(status.replicas),
            status.ready_replicas,
            status.current_replicas,
            status.updated_replicas,
        ],
    );
    facts.fact("two revisions", status.current_revision != status.update_revision);

    // From here on only what goes counts.
    let mut seen: Seen = watcher(stage.api::<Pod>(), watcher::Config::default()).boxed();
    next(&mut seen, 3, false).await;
    stage
        .patch::<StatefulSet>("web", json!({ "spec": { "replicas": 1 } }))
        .await;
    facts.fact("ended in order", next(&mut seen, 2, true).await);
    facts.fact("left", settled("one is left", async || images(stage).await).await);
    facts
}
