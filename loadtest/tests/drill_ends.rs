//! The ways in which a drill ends other than well, each with its exit code, the same from `judge`.
#![allow(clippy::unwrap_used)]

mod drill_support;

use std::{path::Path, sync::atomic::Ordering, time::Duration};

use drill_support::{Behaviour, ONE_AT_A_TIME, Stub, WELL, drill};
use showrunner_loadtest::{
    drill, evidence,
    fault::{outstanding, read_journal},
    judge::{Verdict, exit, judge},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

async fn play(behaviour: Behaviour, dir: &Path) -> (Verdict, bool) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stub = Stub::start(behaviour).await;
    let running = drill::run(drill(&stub, dir), CancellationToken::new());
    let verdict = timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
    let again = judge(&evidence::read(&dir.join("evidence.jsonl")).unwrap());
    assert_eq!(again, verdict, "judge says the same");
    for file in ["verdict.json", "junit.xml", "summary.md", "report.html"] {
        assert!(dir.join(file).exists(), "{file}");
    }
    let drill = stub.drill().await;
    let status = &drill["status"];
    assert_eq!(
        status["phase"] == "Done",
        verdict.undone,
        "the Drill says it too: {status}"
    );
    let journal = status["journal"].as_array().cloned().unwrap_or_default();
    let on_disk = read_journal(&dir.join("journal.jsonl")).unwrap_or_default();
    let numbers: std::collections::BTreeSet<u32> = on_disk.iter().map(|entry| entry.id).collect();
    assert_eq!(journal.len(), numbers.len(), "the journal is in both places");
    (verdict, stub.deleted.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_the_cluster_does_not_let_go_ends_with_exit_code_5() {
    let dir = tempfile::tempdir().unwrap();
    let (verdict, deleted) = play(Behaviour { lets_go: false, ..WELL }, dir.path()).await;
    assert!(deleted, "the undo was tried");
    assert_eq!(verdict.exit_code(), exit::NOT_UNDONE, "{verdict:?}");
    let left = outstanding(&read_journal(&dir.path().join("journal.jsonl")).unwrap());
    assert_eq!(left.len(), 1, "the journal names what is left: {left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_goes_is_undone() {
    let dir = tempfile::tempdir().unwrap();
    let (verdict, _) = play(WELL, dir.path()).await;
    assert!(verdict.undone && verdict.exit_code() != exit::NOT_UNDONE, "{verdict:?}");
    assert!(outstanding(&read_journal(&dir.path().join("journal.jsonl")).unwrap()).is_empty());
    let goose = std::fs::read_to_string(dir.path().join("goose.json")).unwrap();
    assert!(
        goose.contains("\"testPlan\": \"2,3s\"") && goose.contains("multivariant"),
        "{goose}"
    );
    assert!(
        std::fs::read_to_string(dir.path().join("summary.md"))
            .unwrap()
            .contains("goose.json")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guardrail_ends_with_exit_code_4() {
    let dir = tempfile::tempdir().unwrap();
    let (verdict, deleted) = play(
        Behaviour {
            others_ready: 0,
            ..WELL
        },
        dir.path(),
    )
    .await;
    assert_eq!(verdict.exit_code(), exit::GUARDRAIL, "{verdict:?}");
    assert!(!deleted, "nothing was injected");
    assert!(
        verdict
            .doubts
            .iter()
            .any(|d| d.contains("guardrail at fault `lose-eu`")),
        "{verdict:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_steady_state_there_is_an_inconclusive_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let (verdict, _) = play(Behaviour { ready: false, ..WELL }, dir.path()).await;
    assert_eq!(verdict.exit_code(), exit::INCONCLUSIVE, "{verdict:?}");
    assert!(
        verdict.doubts.iter().any(|d| d.contains("Ready is False")),
        "{verdict:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_may_still_be_there_outweighs_reports_that_cannot_be_written() {
    let _turn = ONE_AT_A_TIME.lock().await;
    for (lets_go, code) in [(false, exit::NOT_UNDONE), (true, exit::INFRASTRUCTURE)] {
        let dir = tempfile::tempdir().unwrap();
        let stub = Stub::start(Behaviour { lets_go, ..WELL }).await;
        let running = drill::run(drill(&stub, dir.path()), CancellationToken::new());
        let in_the_way = async {
            while !dir.path().join("journal.jsonl").exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // A folder has the name of a report.
            std::fs::create_dir(dir.path().join("junit.xml")).unwrap();
        };
        let (ended, ()) = timeout(Duration::from_secs(60), async { tokio::join!(running, in_the_way) })
            .await
            .unwrap();
        let said = ended.map_or_else(|error| error.exit_code(), |verdict| verdict.exit_code());
        assert_eq!(said, code, "the fault goes: {lets_go}");
    }
}
