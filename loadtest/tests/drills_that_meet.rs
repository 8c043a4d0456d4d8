//! A drill that finds another one of its platform: while that one's runner lives it gives way; what a dead one has left it undoes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod drill_support;

use std::{path::Path, sync::Arc, time::Duration};

use chaos_mesh_rs::{NetworkChaos, fault::partition, selector::PodSelector};
use drill_support::{ONE_AT_A_TIME, Stub, WELL, drill};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use showrunner_crds::{
    drill::{Drill, DrillPhase, DrillSpec, JournalEntry, JournalStage, UNDONE, Undo, lease_name},
    labels,
};
use showrunner_loadtest::{
    drill::{self, Halt},
    evidence,
    judge::{Verdict, exit, judge},
    record::Record,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "cinema";
const OTHER: &str = "other-1";

/// Puts another drill of the platform on record; whatever comes after this is not older.
async fn other(stub: &Arc<Stub>) -> Record {
    let spec = DrillSpec {
        scenario: "lost".into(),
        platform: "cinema".into(),
        seed: None,
    };
    let record = Record::create(&stub.client(), NAMESPACE, OTHER, spec, "somebody").await;
    record.unwrap()
}

async fn run(stub: &Arc<Stub>, dir: &Path) -> Verdict {
    let running = drill::run(drill(stub, dir), CancellationToken::new());
    timeout(Duration::from_secs(60), running).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_gives_way_to_one_that_runs() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    let (other, halt) = (other(&stub).await, Halt::new(CancellationToken::new()));
    let verdict = tokio::select! {
        verdict = run(&stub, dir.path()) => verdict,
        () = other.keep(&halt) => panic!("the other was stopped"),
    };
    assert_eq!(verdict.exit_code(), exit::GUARDRAIL, "{verdict:?}");
    let said = verdict.doubts.join("; ");
    // Creation times are whole seconds: both may have the same.
    let older = said.contains("drill other-1 runs on platform cinema");
    let tied = said.contains("drill other-1 began on platform cinema in the same second");
    assert!(older || tied, "{said}");
    let again = judge(&evidence::read(&dir.path().join("evidence.jsonl")).unwrap());
    assert_eq!(again, verdict, "the evidence says it too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_drill_has_left_is_undone_first() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    let other = other(&stub).await;
    let faults: Api<NetworkChaos> = Api::namespaced(stub.client(), NAMESPACE);
    let undo = Undo::DeleteChaos {
        kind: "NetworkChaos".into(),
        namespace: NAMESPACE.into(),
        name: "left".into(),
    };
    let entry = JournalEntry {
        id: 0,
        fault: "lose-us".into(),
        stage: JournalStage::Intent,
        undo,
        at: Timestamp::now(),
    };
    other.intent(&entry).await.unwrap();
    let mut left = partition(
        "left",
        NAMESPACE,
        PodSelector::names(NAMESPACE, vec!["edge-0".to_owned()]),
    );
    left.metadata.labels = Some([(labels::RUN.to_owned(), OTHER.to_owned())].into());
    faults.create(&PostParams::default(), &left).await.unwrap();
    // Nobody renews it, and it says that a second of that is enough.
    let leases: Api<Lease> = Api::namespaced(stub.client(), NAMESPACE);
    let short = Patch::Merge(json!({ "spec": { "leaseDurationSeconds": 1 } }));
    leases
        .patch(&lease_name(OTHER), &PatchParams::default(), &short)
        .await
        .unwrap();

    let verdict = run(&stub, dir.path()).await;
    assert!(verdict.undone && verdict.exit_code() != exit::GUARDRAIL, "{verdict:?}");
    assert!(faults.get_opt("left").await.unwrap().is_none(), "it is still there");
    let drills: Api<Drill> = Api::namespaced(stub.client(), NAMESPACE);
    let status = drills.get(OTHER).await.unwrap().status.unwrap();
    assert_eq!(status.phase, Some(DrillPhase::Done));
    assert_eq!(status.journal[0].stage, JournalStage::Undone);
    let undone = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == UNDONE)
        .unwrap();
    assert_eq!(undone.status, "True", "{undone:?}");
}
