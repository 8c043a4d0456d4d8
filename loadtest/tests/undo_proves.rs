//! An undo of a run that is on record as over: it looks all the same, and writes nothing unless it finds something.
#![allow(clippy::unwrap_used)]

mod drill_support;

use std::{sync::Arc, time::Duration};

use chaos_mesh_rs::{NetworkChaos, fault::partition, selector::PodSelector};
use drill_support::{Behaviour, Stub, WELL};
use kube::{Api, ResourceExt, api::PostParams};
use showrunner_crds::{
    drill::{Drill, DrillSpec},
    labels,
};
use showrunner_loadtest::{
    judge::exit,
    record::Record,
    undo::{Report, Settings, Source, undo},
};

const NAMESPACE: &str = "cinema";
const RUN: &str = "night-1";

/// A run that is over, in a cluster that behaves so.
async fn over(behaviour: Behaviour) -> Arc<Stub> {
    let stub = Stub::start(behaviour).await;
    let spec = DrillSpec {
        scenario: "night".into(),
        platform: "cinema".into(),
        seed: None,
    };
    let record = Record::create(&stub.client(), NAMESPACE, RUN, spec, "runner").await;
    record.unwrap().finish(true, true, "pass", "").await.unwrap();
    stub
}

async fn undone(stub: &Arc<Stub>) -> Report {
    let source = Source::Drill {
        namespace: NAMESPACE.into(),
        name: RUN.into(),
    };
    let settings = Settings {
        within: Duration::from_secs(5),
        steady_within: Duration::from_secs(2),
        ..Settings::default()
    };
    undo(&stub.client(), &source, &settings, &|_| {}).await.unwrap()
}

async fn version(stub: &Arc<Stub>) -> Option<String> {
    let drills: Api<Drill> = Api::namespaced(stub.client(), NAMESPACE);
    drills.get(RUN).await.unwrap().resource_version()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_is_not_steady_again_proves_nothing() {
    let stub = over(Behaviour { ready: false, ..WELL }).await;
    let before = version(&stub).await;
    let report = undone(&stub).await;
    assert!(!report.proved && report.exit_code() == exit::NOT_UNDONE, "{report:?}");
    let steady = report.steady.unwrap();
    assert!(!steady.ok && steady.detail.contains("Ready"), "{steady:?}");
    assert_eq!(
        version(&stub).await,
        before,
        "nothing of the run is there: its Drill is right"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_is_steady_again_is_the_proof_and_nothing_is_written() {
    let stub = over(WELL).await;
    let before = version(&stub).await;
    let report = undone(&stub).await;
    assert!(report.proved && report.nothing_outstanding, "{report:?}");
    assert!(report.steady.unwrap().ok);
    assert_eq!(version(&stub).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_after_all_is_taken_back_or_said() {
    for lets_go in [true, false] {
        let stub = over(Behaviour { lets_go, ..WELL }).await;
        let faults: Api<NetworkChaos> = Api::namespaced(stub.client(), NAMESPACE);
        let edges = PodSelector::names(NAMESPACE, vec!["edge-0".to_owned()]);
        let mut stray = partition("stray", NAMESPACE, edges);
        stray.metadata.labels = Some([(labels::RUN.to_owned(), RUN.to_owned())].into());
        // As Chaos Mesh does: it goes when the fault is recovered.
        stray.metadata.finalizers = Some(vec!["chaos-mesh/records".to_owned()]);
        faults.create(&PostParams::default(), &stray).await.unwrap();
        let report = undone(&stub).await;
        assert_eq!(report.proved, lets_go, "{report:?}");
        let status = stub.drill().await["status"].clone();
        let conditions = status["conditions"].as_array().unwrap().iter();
        let undone: Vec<_> = conditions.filter(|condition| condition["type"] == "Undone").collect();
        let word = if lets_go { "True" } else { "False" };
        assert_eq!(undone[0]["status"], word, "{status}");
    }
}
