//! Deployments and StatefulSets end to end.

use crate::cluster::{Cluster, deployment, is_ready, template, until};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn condition(deployment: &Deployment, kind: &str) -> Option<(String, String)> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((found.status.clone(), found.reason.clone().unwrap_or_default()))
}

async fn rolled_out(cluster: &Cluster, app: &str, replicas: i32) -> Deployment {
    until(&format!("{app} rolled out"), || async {
        let deployment: Deployment = cluster.get(app).await;
        let status = deployment.status.clone()?;
        let all = [status.replicas, status.updated_replicas, status.available_replicas];
        (all == [Some(replicas); 3] && status.observed_generation == deployment.metadata.generation)
            .then_some(deployment)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_rolls_out_scales_and_rolls_over_without_losing_availability() {
    let cluster = Cluster::start(3).await;
    cluster.create::<Deployment>(deployment("web", 3, "one")).await;
    let first = rolled_out(&cluster, "web", 3).await;
    assert_eq!(condition(&first, "Available").unwrap().0, "True");
    until("progress reported", || async {
        let deployment: Deployment = cluster.get("web").await;
        (condition(&deployment, "Progressing")? == ("True".into(), "NewReplicaSetAvailable".into())).then_some(())
    })
    .await;
    cluster
        .patch::<Deployment>("web", json!({ "spec": { "replicas": 8 } }))
        .await;
    rolled_out(&cluster, "web", 8).await;

    // 25 % each: never fewer than 6 ready, never more than 10 pods. Watched event by event.
    let api = cluster.api::<Pod>();
    let mut events = watcher(api, watcher::Config::default().labels("app=web"))
        .default_backoff()
        .boxed();
    let mut pods: BTreeMap<String, bool> = BTreeMap::new();
    while pods.len() < 8 {
        if let Some(Ok(watcher::Event::InitApply(pod))) = events.next().await {
            pods.insert(pod.name_any(), is_ready(&pod));
        }
    }
    cluster
        .patch::<Deployment>("web", json!({ "spec": { "template": template("web", "two") } }))
        .await;
    let mut replaced = 0;
    while replaced < 8 {
        let event = tokio::time::timeout(Duration::from_secs(20), events.next())
            .await
            .unwrap();
        match event {
            Some(Ok(watcher::Event::Apply(pod))) => {
                let alive = pod.metadata.deletion_timestamp.is_none();
                pods.insert(pod.name_any(), is_ready(&pod) && alive);
            }
            Some(Ok(watcher::Event::Delete(pod))) => {
                pods.remove(&pod.name_any());
                replaced += 1;
            }
            _ => continue,
        }
        assert!(pods.values().filter(|ready| **ready).count() >= 6, "{pods:?}");
    }
    let last = rolled_out(&cluster, "web", 8).await;
    assert_eq!(last.annotations()["deployment.kubernetes.io/revision"], "2");
    let images = cluster.pods("web").await;
    assert!(
        images
            .iter()
            .all(|pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("two"))
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_image_stalls_and_the_old_pods_stay() {
    let cluster = Cluster::start(2).await;
    let mut object = deployment("web", 4, "good");
    // Times in a status are whole seconds, so that one second might have passed after a moment.
    object["spec"]["progressDeadlineSeconds"] = 2.into();
    cluster.create::<Deployment>(object).await;
    rolled_out(&cluster, "web", 4).await;
    cluster
        .patch::<Deployment>("web", json!({ "spec": { "template": template("web", "bad") } }))
        .await;
    let late = ("False".to_owned(), "ProgressDeadlineExceeded".to_owned());
    until("the deadline passes", || async {
        (condition(&cluster.get("web").await, "Progressing")? == late).then_some(())
    })
    .await;
    assert_eq!(cluster.ready("web").await.len(), 3, "one may be unavailable");
    assert_eq!(cluster.pods("web").await.len(), 5, "and one on top");
    // Back to the good image: the same set again, under a new revision.
    cluster
        .patch::<Deployment>("web", json!({ "spec": { "template": template("web", "good") } }))
        .await;
    let back = rolled_out(&cluster, "web", 4).await;
    assert_eq!(back.annotations()["deployment.kubernetes.io/revision"], "3");
    assert_eq!(
        cluster
            .api::<ReplicaSet>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_pod_is_replaced_at_once_and_only_once() {
    let cluster = Cluster::start(2).await;
    cluster.create::<Deployment>(deployment("web", 3, "one")).await;
    rolled_out(&cluster, "web", 3).await;
    let mut times = Vec::new();
    for _ in 0..10 {
        let victim = cluster.ready("web").await.remove(0);
        let before: Vec<String> = cluster.pods("web").await.iter().map(ResourceExt::name_any).collect();
        let begin = Instant::now();
        cluster
            .api::<Pod>()
            .delete(&victim, &DeleteParams::default())
            .await
            .unwrap();
        until("a successor", || async {
            cluster
                .pods("web")
                .await
                .iter()
                .any(|pod| !before.contains(&pod.name_any()))
                .then_some(())
        })
        .await;
        times.push(begin.elapsed());
        until("three again", || async {
            (cluster.ready("web").await.len() == 3).then_some(())
        })
        .await;
        assert_eq!(cluster.pods("web").await.len(), 3);
    }
    times.sort();
    println!(
        "replacement created after {:?} (median), {:?} (worst)",
        times[5], times[9]
    );
    assert!(times[5] < Duration::from_millis(500), "{times:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recreate_takes_everything_down_first() {
    let cluster = Cluster::start(1).await;
    let mut object = deployment("web", 2, "one");
    object["spec"]["strategy"] = json!({ "type": "Recreate" });
    cluster.create::<Deployment>(object).await;
    rolled_out(&cluster, "web", 2).await;
    let old = cluster.ready("web").await;
    cluster
        .patch::<Deployment>("web", json!({ "spec": { "template": template("web", "two") } }))
        .await;
    until("new pods alone", || async {
        let pods = cluster.pods("web").await;
        let two = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("two");
        let overlap = pods.iter().any(two) && pods.iter().any(|pod| old.contains(&pod.name_any()));
        assert!(!overlap, "old and new pods together");
        (pods.iter().filter(|pod| two(pod) && is_ready(pod)).count() == 2).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateful_set_keeps_its_order_names_and_claims() {
    let cluster = Cluster::start(2).await;
    let mut pods = watcher(cluster.api::<Pod>(), watcher::Config::default())
        .default_backoff()
        .boxed();
    cluster
        .create::<StatefulSet>(json!({
            "metadata": { "name": "db" },
            "spec": { "replicas": 3, "serviceName": "db", "selector": { "matchLabels": { "app": "db" } },
                "template": template("db", "one"),
                "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } }] },
        }))
        .await;
    let mut ready: Vec<String> = Vec::new();
    while ready.len() < 3 {
        let event = tokio::time::timeout(Duration::from_secs(20), pods.next())
            .await
            .unwrap();
        // The first list may come after the first pod.
        let (Some(Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod))), count) = (event, ready.len())
        else {
            continue;
        };
        assert_eq!(
            pod.name_any(),
            format!("db-{}", count.min(2)),
            "one after another: {ready:?}"
        );
        if is_ready(&pod) {
            ready.push(pod.name_any());
        }
    }
    let set = |replicas: i32| {
        let cluster = &cluster;
        until("the status", move || async move {
            let status = cluster.get::<StatefulSet>("db").await.status?;
            let done = [status.ready_replicas, status.updated_replicas, status.current_replicas] == [Some(replicas); 3];
            (done && status.replicas == replicas).then_some(status)
        })
    };
    set(3).await;
    let claim: PersistentVolumeClaim = cluster.get("data-db-2").await;
    assert_eq!(claim.status.unwrap().phase.as_deref(), Some("Bound"));
    let old = cluster.get::<Pod>("db-1").await;
    cluster
        .api::<Pod>()
        .delete("db-1", &DeleteParams::default())
        .await
        .unwrap();
    until("db-1 is back", || async {
        let pod = cluster.api::<Pod>().get_opt("db-1").await.unwrap()?;
        (pod.uid() != old.uid() && is_ready(&pod)).then_some(())
    })
    .await;
    cluster
        .patch::<StatefulSet>("db", json!({ "spec": { "template": template("db", "two") } }))
        .await;
    until("the update reaches db-0", || async {
        let pod = cluster.api::<Pod>().get_opt("db-0").await.unwrap()?;
        (pod.spec.unwrap().containers[0].image.as_deref() == Some("two")).then_some(())
    })
    .await;
    let status = set(3).await;
    assert_eq!(status.current_revision, status.update_revision);
    cluster
        .patch::<StatefulSet>("db", json!({ "spec": { "replicas": 1 } }))
        .await;
    set(1).await;
    assert_eq!(cluster.ready("db").await, ["db-0"]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_cluster_is_quiet_and_says_what_it_did() {
    let cluster = Cluster::start(2).await;
    cluster.create::<Deployment>(deployment("web", 3, "one")).await;
    rolled_out(&cluster, "web", 3).await;
    // Quiet: no write at all in a window that is long for controllers that react within milliseconds.
    let mut quiet_since = (cluster.server.revision(), Instant::now());
    until("half a second without a write", || {
        let revision = cluster.server.revision();
        if revision != quiet_since.0 {
            quiet_since = (revision, Instant::now());
        }
        let quiet = quiet_since.1.elapsed() > Duration::from_millis(500);
        async move { quiet.then_some(()) }
    })
    .await;
    let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap().items;
    let count = |reason: &str| {
        events
            .iter()
            .filter(|event| event.reason.as_deref() == Some(reason))
            .count()
    };
    assert_eq!(
        (
            count("ScalingReplicaSet"),
            count("SuccessfulCreate"),
            count("Scheduled")
        ),
        (1, 3, 3)
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_pods_come_up_and_go() {
    let cluster = Cluster::start(6).await;
    let begin = Instant::now();
    cluster.create::<Deployment>(deployment("web", 200, "one")).await;
    rolled_out(&cluster, "web", 200).await;
    println!("200 pods available after {:?}", begin.elapsed());
    assert_eq!(cluster.pods("web").await.len(), 200, "not one too many");
    let mut per_node: BTreeMap<String, usize> = BTreeMap::new();
    for pod in cluster.pods("web").await {
        *per_node.entry(pod.spec.unwrap().node_name.unwrap()).or_default() += 1;
    }
    assert!(per_node.values().all(|count| (33..=34).contains(count)), "{per_node:?}");
    cluster
        .patch::<Deployment>("web", json!({ "spec": { "replicas": 0 } }))
        .await;
    until("all gone", || async {
        cluster.pods("web").await.is_empty().then_some(())
    })
    .await;
    cluster.stop().await;
}
