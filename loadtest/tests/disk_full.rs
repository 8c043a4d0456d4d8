//! A disk that is full in the middle of a drill: the run ends early, its faults are undone, and what it says is true.
//!
//! A process of its own, for what it does to its files: none may grow any more.
#![allow(clippy::unwrap_used)]

mod drill_support;

use std::{path::Path, time::Duration};

use drill_support::{Behaviour, ONE_AT_A_TIME, Stub, WELL, drill, injected};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use showrunner_loadtest::{
    drill::{self, DrillError},
    judge::exit,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// The signal that a process gets for a file that may not grow; it is left alone if it takes it.
const SIGXFSZ: i32 = 25;
/// How long the audience would stay, and the fault.
const SHOW: Duration = Duration::from_secs(600);
const LOST: Duration = Duration::from_secs(590);

/// Plays a drill whose disk is full once its fault is in force; how it ended, and its Drill.
async fn play(behaviour: Behaviour, dir: &Path) -> (DrillError, serde_json::Value) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stub = Stub::start(behaviour).await;
    let mut drill = drill(&stub, dir);
    drill.scenario.audience.phases[0].duration.0 = SHOW;
    drill.scenario.faults[0].duration.0 = LOST;
    let (_soft, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    let _taken = signal(SignalKind::from_raw(SIGXFSZ)).unwrap();
    let full = async {
        injected(dir).await;
        setrlimit(Resource::RLIMIT_FSIZE, 1, hard).unwrap();
        std::future::pending::<()>().await;
    };
    let running = timeout(Duration::from_secs(60), drill::run(drill, CancellationToken::new()));
    let ended = tokio::select! {
        ended = running => ended,
        () = full => unreachable!(),
    };
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    let error = ended.unwrap().unwrap_err();
    (error, stub.drill().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_evidence_cannot_be_written_ends_early_with_its_faults_undone() {
    let dir = tempfile::tempdir().unwrap();
    let (error, drill) = play(WELL, dir.path()).await;
    let said = error.to_string();
    let evidence = dir.path().join("evidence.jsonl");
    assert!(
        said.contains(&evidence.display().to_string()) && said.contains("File too large"),
        "{said}"
    );
    assert_eq!(error.exit_code(), exit::INFRASTRUCTURE, "{said}");
    assert_eq!(drill["status"]["phase"], "Done", "{drill}");
    assert_eq!(drill["status"]["journal"][0]["stage"], "undone", "{drill}");
    let journal = showrunner_loadtest::fault::read_run(&dir.path().join(drill::JOURNAL)).unwrap();
    assert_eq!(journal.unwrap().0.run, "lost-1", "its lines are whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_may_still_be_there_outweighs_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (error, drill) = play(Behaviour { lets_go: false, ..WELL }, dir.path()).await;
    let said = error.to_string();
    assert_eq!(error.exit_code(), exit::NOT_UNDONE, "{said}");
    assert!(
        said.contains("evidence.jsonl") && said.contains("fault `lose-eu`"),
        "{said}"
    );
    assert_eq!(drill["status"]["phase"], "Undoing", "{drill}");
}
