//! The operator on Kubernetes' own API server and on the embedded one: the same story on both, which must leave the same
//! objects after each chapter. And what a file is refused for, Kubernetes refuses in the same words.
//!
//! Plain `cargo test` plays it on the embedded one; `KUBERNETES=1` on both (`make test-kubernetes`), for which the binaries
//! of `make kubernetes` are needed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../crds/tests/cases/mod.rs"]
mod cases;
mod support;
#[path = "../../crds/tests/words/mod.rs"]
mod words;

use std::{collections::BTreeSet, path::Path, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Service},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Client,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use showrunner_crds::crd::all_crds;
use showrunner_sandbox::real::{Assets, RealConfig, RealControlPlane};
use showrunner_unreliable::snapshot::{self, Snapshot};
use support::{
    cluster::{NAMESPACE, Stage, cinema},
    everything,
    varnish::{until, until_within},
};

const EDGE: &str = "cinema-north-edge";

/// What there was after each chapter.
type Story = Vec<(&'static str, Snapshot)>;

async fn replicas(stage: &Stage) -> Option<i32> {
    let edge = stage.api::<Deployment>().get(EDGE).await.unwrap();
    edge.spec.unwrap().replicas
}

async fn raw(stage: &Stage, path: &str) -> Value {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    stage.client.request(request).await.unwrap()
}

/// Everything in the namespace.
async fn everything(stage: &Stage) -> Snapshot {
    let mut all = Snapshot::new();
    for path in everything::everything() {
        for item in raw(stage, &path).await["items"].as_array().unwrap() {
            if item["metadata"]["namespace"] == NAMESPACE {
                all.insert(format!("{path} {}", item["metadata"]["name"]), item.clone());
            }
        }
    }
    all
}

/// What there is, without what any two runs differ in.
async fn chapter(stage: &Stage, name: &'static str) -> (&'static str, Snapshot) {
    let mut all = everything(stage).await;
    all.values_mut().for_each(mask);
    (name, all)
}

/// A look that writes nothing.
async fn settled(stage: &Stage) {
    let before = everything(stage).await;
    stage.look().await.unwrap();
    assert_eq!(everything(stage).await, before);
}

/// Takes out what any two runs differ in: what is drawn, too, and what is made of UIDs.
fn mask(object: &mut Value) {
    snapshot::mask(object);
    // Items of a list say what they are on the embedded one: on the contract's list of exclusions.
    if let Some(object) = object.as_object_mut() {
        object.remove("apiVersion");
        object.remove("kind");
    }
    // A list that nobody wrote is null where it is always written.
    if object["status"]["currentMetrics"].is_null()
        && let Some(status) = object["status"].as_object_mut()
    {
        status.remove("currentMetrics");
    }
    everything::mask(object);
}

/// The definitions of a release that did not know `spec.steering.ttlSeconds` yet.
fn older() -> Vec<CustomResourceDefinition> {
    let mut all = serde_json::to_value(all_crds()).unwrap();
    let steering = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/steering";
    let kind = |crd: &&mut Value| crd["spec"]["names"]["kind"] == "StreamingPlatform";
    let platform = all.as_array_mut().unwrap().iter_mut().find(kind).unwrap();
    let steering = platform.pointer_mut(steering).unwrap();
    let gone = steering["properties"].as_object_mut().unwrap().remove("ttlSeconds");
    assert!(gone.is_some());
    if let Some(default) = steering.get_mut("default").and_then(Value::as_object_mut) {
        default.remove("ttlSeconds");
    }
    serde_json::from_value(all).unwrap()
}

async fn play(client: Client) -> Story {
    let mut story = Story::new();
    let stage = Stage::set(client, older()).await;
    let look = async || stage.look().await.unwrap();
    let platforms = stage.platforms();
    platforms.create(&PostParams::default(), &cinema()).await.unwrap();
    stage.settle().await;
    story.push(chapter(&stage, "converged").await);
    assert_eq!(stage.platform().await.status.unwrap().summary, "3/3 regions ready");
    settled(&stage).await;

    // A newer release, in place: what was there stays as it is, what it knows counts.
    let path = format!("/apis/showrunner.dev/v1alpha1/namespaces/{NAMESPACE}/streamingplatforms/cinema");
    let seconds = async || {
        stage
            .change(json!({ "spec": { "steering": { "ttlSeconds": 7 } } }))
            .await;
        raw(&stage, &path).await.pointer("/spec/steering/ttlSeconds").cloned()
    };
    assert_eq!(seconds().await, None, "it is pruned");
    stage.define(all_crds()).await;
    settled(&stage).await;
    until("field of the newer definition", async || {
        seconds().await == Some(json!(7))
    })
    .await;
    look().await;
    story.push(chapter(&stage, "upgraded").await);
    let steering = stage.api::<ConfigMap>().get("cinema-steering").await.unwrap();
    let steering: Value = serde_json::from_str(&steering.data.unwrap()["steering.json"]).unwrap();
    assert_eq!(steering["ttlSeconds"], 7, "{steering}");

    // Replicas are the autoscaler's.
    let autoscalers = async || stage.names::<HorizontalPodAutoscaler>().await.len();
    stage
        .patch::<Deployment>(EDGE, json!({ "spec": { "replicas": 7 } }))
        .await;
    stage.change(json!({ "spec": { "edge": { "cacheMib": 300 } } })).await;
    look().await;
    assert_eq!((replicas(&stage).await, autoscalers().await), (Some(7), 3));
    story.push(chapter(&stage, "scaled").await);
    let autoscaling = |enabled| json!({ "spec": { "edge": { "autoscaling": { "enabled": enabled } } } });
    stage.change(autoscaling(false)).await;
    for expected in [7, 2] {
        look().await;
        assert_eq!((replicas(&stage).await, autoscalers().await), (Some(expected), 0));
    }
    story.push(chapter(&stage, "by hand").await);
    stage.change(autoscaling(true)).await;
    look().await;
    assert_eq!((replicas(&stage).await, autoscalers().await), (Some(2), 3));
    story.push(chapter(&stage, "autoscaled again").await);

    // What others change is put right, and what nobody asks for goes.
    let meddling = json!({ "spec": { "selector": { "showrunner.dev/role": "shield" } } });
    stage.patch::<Service>(EDGE, meddling).await;
    stage.change(json!({ "spec": { "services": [] } })).await;
    look().await;
    story.push(chapter(&stage, "put right").await);
    look().await;
    settled(&stage).await;

    platforms.delete("cinema", &DeleteParams::foreground()).await.unwrap();
    // The garbage collector looks for new kinds every 30 s.
    until_within(Duration::from_secs(90), "empty namespace", async || {
        if let Some(platform) = platforms.get_opt("cinema").await.unwrap() {
            stage.look_at(platform).await.unwrap();
        }
        everything(&stage).await.is_empty()
    })
    .await;
    story
}

async fn embedded() -> Story {
    let server = ApiServer::new(ApiServerConfig::default());
    play(server.client(NAMESPACE)).await
}

/// On Kubernetes' own API server, with the garbage collector as its only controller.
async fn real() -> (Story, usize) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = RealConfig::new(Assets::find(workspace).unwrap(), folder.path().join("control-plane"));
    config.scheduler = false;
    config.controller_manager_arguments = vec!["--controllers=garbage-collector-controller".to_owned()];
    let plane = RealControlPlane::start(&config).await.unwrap();
    let story = play(plane.client()).await;
    // Our definitions are there now.
    let cases = words::are_the_same(&plane.client()).await;
    assert_eq!(plane.failure(), None);
    plane.stop().await.unwrap();
    (story, cases)
}

/// What is not the same in two stories, object by object.
fn differences(ours: &Story, theirs: &Story) -> Vec<String> {
    assert_eq!(ours.len(), theirs.len(), "chapters");
    let mut all = Vec::new();
    for ((chapter, ours), (_, theirs)) in ours.iter().zip(theirs) {
        let places: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        for place in places {
            let (ours, theirs) = (ours.get(place), theirs.get(place));
            if ours != theirs {
                let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
                all.push(format!(
                    "{chapter}: {place}\n  embedded:   {}\n  Kubernetes: {}",
                    text(ours),
                    text(theirs)
                ));
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_does_the_same_on_kubernetes_own_api_server() {
    let ours = embedded().await;
    assert!(
        ours.len() == 6 && ours.iter().all(|(_, objects)| objects.len() > 30),
        "{:?}",
        ours[0].1.keys()
    );
    if std::env::var("KUBERNETES").is_err() {
        println!("played on the embedded API server only: KUBERNETES=1 compares");
        return;
    }
    let (theirs, cases) = real().await;
    let objects: usize = theirs.iter().map(|(_, objects)| objects.len()).sum();
    let differences = differences(&ours, &theirs);
    println!(
        "the operator: {} chapters, {objects} objects, {} differ; {cases} objects refused, or taken, in the same words",
        theirs.len(),
        differences.len()
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn an_object_that_differs_or_lacks_is_named() {
    let story = |value: Value| vec![("one", Snapshot::from([("there".to_owned(), value)]))];
    assert_eq!(differences(&story(json!(1)), &story(json!(1))), Vec::<String>::new());
    assert_eq!(differences(&story(json!(1)), &story(json!(2))).len(), 1);
    assert_eq!(differences(&vec![("one", Snapshot::new())], &story(json!(2))).len(), 1);
}
