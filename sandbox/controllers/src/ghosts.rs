//! Nothing is made for an owner that a cache still shows and that is gone: the garbage collector would take it away, and
//! the controller would make it again, for as long as its watch is behind.
#![allow(clippy::unwrap_used)]

use crate::config::ControllersConfig;
use crate::context::{Caches, Context, Object};
use crate::engine::ReconcileError;
use crate::engine::cache::{Cache, Key};
use crate::engine::events::Recorder;
use crate::engine::queue::Queue;
use crate::{deployment, endpoints, job, replicaset, statefulset};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What has become of an owner that a cache shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Alive,
    Gone,
    /// Another one of its name is there.
    Replaced,
    /// Something holds it back.
    Leaving,
    /// Its spec is another one.
    Changed,
}

/// How much a controller makes for an owner that it finds in its cache.
macro_rules! made {
    ($kind:ty, $cache:ident, $controller:ident, $owner:expr, $fate:expr) => {
        made::<$kind, _>(
            $owner,
            $fate,
            |caches| &caches.$cache,
            |context, key| async move { $controller::run::reconcile(&context, key).await },
        )
        .await
    };
}

fn made<K, R>(
    owner: Value,
    fate: Fate,
    cache: fn(&Caches) -> &Cache<K>,
    reconcile: fn(Context, Key) -> R,
) -> LocalBoxFuture<'static, usize>
where
    K: Object + 'static,
    R: Future<Output = Result<Option<Duration>, ReconcileError>> + 'static,
{
    look(owner, fate, cache, reconcile).boxed_local()
}

async fn look<K, R>(
    owner: Value,
    fate: Fate,
    cache: fn(&Caches) -> &Cache<K>,
    reconcile: fn(Context, Key) -> R,
) -> usize
where
    K: Object + 'static,
    R: Future<Output = Result<Option<Duration>, ReconcileError>>,
{
    let context = context();
    let api = context.api::<K>("default");
    let mut owner: K = serde_json::from_value(owner).unwrap();
    if fate == Fate::Leaving {
        owner.finalizers_mut().push("test.example/held".into());
    }
    let first = api.create(&PostParams::default(), &owner).await.unwrap();
    cache(&context.caches).wrote(&first);
    let key = Key::of(&first);
    if fate == Fate::Changed {
        let change = Patch::Merge(json!({ "spec": { "minReadySeconds": 1, "suspend": false, "parallelism": 2 } }));
        api.patch(&key.name, &PatchParams::default(), &change).await.unwrap();
    } else if fate != Fate::Alive {
        api.delete(&key.name, &DeleteParams::background()).await.unwrap();
    }
    if fate == Fate::Replaced {
        api.create(&PostParams::default(), &owner).await.unwrap();
    }
    reconcile(context.clone(), key.clone()).await.unwrap();
    let shown = cache(&context.caches).get(&key);
    let leaves = shown.as_ref().map(|shown| shown.meta().deletion_timestamp.is_some());
    let expected = match fate {
        Fate::Alive | Fate::Changed => Some(false),
        Fate::Leaving => Some(true),
        Fate::Gone | Fate::Replaced => None,
    };
    assert_eq!(leaves, expected, "{fate:?}: what the cache has learnt");
    let uid = first.uid().unwrap();
    owned::<Pod>(&context, &uid).await
        + owned::<ReplicaSet>(&context, &uid).await
        + owned::<EndpointSlice>(&context, &uid).await
        + owned::<Endpoints>(&context, &uid).await
}

pub(crate) fn context() -> Context {
    let client = ApiServer::new(ApiServerConfig::default()).client("default");
    let (events, _writer) = Recorder::new(client.clone());
    Context {
        client,
        caches: Arc::new(Caches::new()),
        config: Arc::new(ControllersConfig::default()),
        events,
    }
}

async fn owned<K: Object + 'static>(context: &Context, uid: &str) -> usize {
    let all = context
        .api::<K>("default")
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    let is_owned = |object: &K| object.owner_references().iter().any(|owner| owner.uid == uid);
    all.iter().filter(|object| is_owned(object)).count()
}

pub(crate) fn workload(more: &Value) -> Value {
    let mut owner = json!({ "metadata": { "name": "web" }, "spec": {
        "selector": { "matchLabels": { "app": "web" } },
        "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } },
    } });
    for (field, value) in more.as_object().unwrap() {
        owner["spec"][field] = value.clone();
    }
    owner
}

fn job() -> Value {
    let mut job = workload(&json!({}));
    job["spec"].as_object_mut().unwrap().remove("selector");
    job["spec"]["template"]["spec"]["restartPolicy"] = "Never".into();
    job
}

#[tokio::test]
async fn nothing_is_made_for_one_that_is_gone() {
    let service = || json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] } });
    for fate in [Fate::Alive, Fate::Gone, Fate::Replaced, Fate::Leaving, Fate::Changed] {
        let plain = || workload(&json!({ "replicas": 1, "serviceName": "web" }));
        let made = [
            made!(Deployment, deployments, deployment, plain(), fate),
            made!(ReplicaSet, replica_sets, replicaset, plain(), fate),
            made!(StatefulSet, stateful_sets, statefulset, plain(), fate),
            made!(Job, jobs, job, job(), fate),
            made!(Service, services, endpoints, service(), fate),
        ];
        // A slice and the Endpoints of old.
        let expected = match fate {
            Fate::Alive => [1, 1, 1, 1, 2],
            // A Service has no generation, and what is made of it is what is read.
            Fate::Changed => [0, 0, 0, 0, 2],
            Fate::Gone | Fate::Replaced | Fate::Leaving => [0; 5],
        };
        assert_eq!(made, expected, "{fate:?}");
    }
}

#[tokio::test]
async fn nothing_is_adopted_for_one_that_is_gone() {
    for alive in [true, false] {
        let context = context();
        let sets = context.api::<ReplicaSet>("default");
        let set = serde_json::from_value(workload(&json!({ "replicas": 1 }))).unwrap();
        let set = sets.create(&PostParams::default(), &set).await.unwrap();
        let template = json!({ "metadata": { "name": "orphan", "labels": { "app": "web" } }, "spec": set.spec.as_ref().unwrap().template.as_ref().unwrap().spec });
        let pods = context.api::<Pod>("default");
        let orphan = pods
            .create(&PostParams::default(), &serde_json::from_value(template).unwrap())
            .await
            .unwrap();
        context.caches.replica_sets.wrote(&set);
        context.caches.pods.wrote(&orphan);
        if !alive {
            sets.delete("web", &DeleteParams::background()).await.unwrap();
        }
        replicaset::run::reconcile(&context, Key::of(&set)).await.unwrap();
        assert_eq!(owned::<Pod>(&context, &set.uid().unwrap()).await, usize::from(alive));
    }
}

/// What was made without an answer is on the server, and not in the cache yet.
#[tokio::test]
async fn a_pod_of_a_job_that_no_cache_shows_is_not_made_again() {
    let context = context();
    let jobs = context.api::<Job>("default");
    let job = serde_json::from_value(job()).unwrap();
    jobs.create(&PostParams::default(), &job).await.unwrap();
    for _ in 0..2 {
        let job = jobs.get("web").await.unwrap();
        let context = Context {
            caches: Arc::new(Caches::new()),
            ..context.clone()
        };
        context.caches.jobs.wrote(&job);
        job::run::reconcile(&context, Key::of(&job)).await.unwrap();
        assert_eq!(owned::<Pod>(&context, &job.uid().unwrap()).await, 1);
    }
}

/// A revision whose making was not answered shows when its template is of the past: the present one is numbered above it.
#[tokio::test]
async fn a_revision_that_shows_late_is_of_the_past() {
    let context = context();
    let sets = context.api::<StatefulSet>("default");
    let set = serde_json::from_value(workload(&json!({ "replicas": 1, "serviceName": "web" }))).unwrap();
    let set = sets.create(&PostParams::default(), &set).await.unwrap();
    context.caches.stateful_sets.wrote(&set);
    statefulset::run::reconcile(&context, Key::of(&set)).await.unwrap();
    let revisions = context.api::<ControllerRevision>("default");
    let present = revisions.list(&ListParams::default()).await.unwrap().items.remove(0);

    let queue = statefulset::run::register(&context);
    let mut late = present.clone();
    late.metadata = ObjectMeta {
        name: Some("web-late".into()),
        owner_references: present.metadata.owner_references.clone(),
        ..ObjectMeta::default()
    };
    late.revision = present.revision + 1;
    let late = revisions.create(&PostParams::default(), &late).await.unwrap();
    context.caches.revisions.wrote(&late);

    once(&queue, async |key| statefulset::run::reconcile(&context, key).await).await;
    let name = present.name_any();
    assert_eq!(revisions.get(&name).await.unwrap().revision, late.revision + 1);
}

/// An address whose writing was not answered shows when its pod is of the past: it is taken out again.
#[tokio::test]
async fn an_address_that_shows_late_goes_again() {
    let context = context();
    let service =
        json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] } });
    let service: Service = serde_json::from_value(service).unwrap();
    let service = context
        .api::<Service>("default")
        .create(&PostParams::default(), &service)
        .await
        .unwrap();
    context.caches.services.wrote(&service);
    endpoints::run::reconcile(&context, Key::of(&service)).await.unwrap();

    let queue = endpoints::run::register(&context);
    let all = context.api::<Endpoints>("default");
    let late = Patch::Merge(json!({ "subsets": [{ "addresses": [{ "ip": "10.0.0.1" }], "ports": [{ "port": 80 }] }] }));
    let late = all.patch("web", &PatchParams::default(), &late).await.unwrap();
    assert!(late.subsets.is_some());
    context.caches.endpoints.wrote(&late);
    once(&queue, async |key| endpoints::run::reconcile(&context, key).await).await;
    assert_eq!(all.get("web").await.unwrap().subsets, None);
}

/// Works on the first thing in a queue.
async fn once(queue: &Queue<Key>, work: impl AsyncFn(Key) -> Result<Option<Duration>, ReconcileError>) {
    let cancel = CancellationToken::new();
    let working = queue.work("test", 1, &cancel, async |key| {
        let outcome = work(key).await;
        cancel.cancel();
        outcome
    });
    tokio::time::timeout(Duration::from_secs(10), working).await.unwrap();
}
