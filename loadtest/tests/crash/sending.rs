//! What is sent when the run is to end, and what arrives after it was given up.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Method;
use showrunner_loadtest::{
    fault::{outstanding, read_journal},
    undo::Source,
};
use showrunner_unreliable::seeds::paused;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    MANY,
    actors::{self, Runner},
    world::World,
};

/// How long a fault is on its way that nobody waits for any more.
const LATE: Duration = Duration::from_secs(25);
/// Longer than that.
const LATER: Duration = Duration::from_secs(60);

fn is_fault(method: &Method, path: &str) -> bool {
    method == Method::POST && path.contains("chaos-mesh.org")
}

/// The lever is pulled right before each of the runner's calls in turn: after it no fault is sent.
#[test]
fn nothing_is_injected_once_the_run_is_to_end() {
    for call in 0..MANY {
        let mut calls = 0;
        paused(call, async {
            let world = World::new().await;
            let before = world.snapshot().await;
            let dir = tempfile::tempdir().unwrap();
            let stop = CancellationToken::new();
            let (made, sent) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
            let (made_by, sent_by, pull) = (made.clone(), sent.clone(), stop.clone());
            let client = world.watched(move |method, path| {
                if pull.is_cancelled() && is_fault(method, path) {
                    sent_by.lock().unwrap().push(path.to_owned());
                }
                if made_by.fetch_add(1, Ordering::Relaxed) == call {
                    pull.cancel();
                }
                None
            });
            Runner::Ours.run_until(client, dir.path(), stop).await;
            let sent = sent.lock().unwrap().clone();
            assert!(sent.is_empty(), "ended at call {call}, and sent then: {sent:?}");
            assert_eq!(world.differences(&before).await, "", "call {call}");
            let left = outstanding(&read_journal(&dir.path().join("journal.jsonl")).unwrap());
            assert!(left.is_empty(), "call {call}: {left:?}");
            calls = made.load(Ordering::Relaxed);
        });
        if calls <= call {
            assert!(call > 20, "only {call} calls");
            return;
        }
    }
    panic!("there are more than {MANY} calls");
}

/// The API server is slow: it admits a fault after its runner has given up waiting.
#[test]
fn a_fault_that_arrives_after_its_runner_gave_it_up_is_taken_back() {
    paused(0, async {
        let world = World::new().await;
        let before = world.snapshot().await;
        let dir = tempfile::tempdir().unwrap();
        let client = world.watched(|method, path| is_fault(method, path).then_some(LATE));
        let record = actors::record(&client).await;
        let (_writer, injector) = actors::injector(&client, dir.path(), &record);
        let timeline = actors::timeline();
        let worked = injector
            .work(&timeline.faults[0], Instant::now(), &CancellationToken::new())
            .await;
        let why = worked.unwrap_err().to_string();
        assert!(why.contains("may or may not have been made"), "{why}");
        let left = outstanding(&read_journal(&dir.path().join("journal.jsonl")).unwrap());
        assert!(left.is_empty(), "{left:?}");
        sleep(LATER).await;
        assert_eq!(world.differences(&before).await, "");
    });
}

/// Its runner died while the fault was on its way, and somebody undoes the run at once.
#[test]
fn a_fault_that_arrives_while_its_run_is_undone_is_taken_back() {
    for source in [
        |dir: &std::path::Path| Source::File(dir.join("journal.jsonl")),
        |_: &std::path::Path| crate::world::drill(),
    ] {
        paused(0, async {
            let world = World::new().await;
            let before = world.snapshot().await;
            let dir = tempfile::tempdir().unwrap();
            let dead = CancellationToken::new();
            let dies = dead.clone();
            let client = world.watched(move |method, path| {
                let fault = is_fault(method, path);
                if fault {
                    dies.cancel();
                }
                fault.then_some(LATE)
            });
            tokio::select! {
                () = dead.cancelled() => {}
                () = Runner::Ours.run(client, dir.path()) => panic!("it came to its end"),
            }
            let report = actors::undo(&world.client("person"), &source(dir.path()))
                .await
                .unwrap();
            assert!(report.proved, "{report:?}");
            sleep(LATER).await;
            assert_eq!(world.differences(&before).await, "");
        });
    }
}
