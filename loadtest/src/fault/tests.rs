//! Faults against an API that fails, hangs or forgets.
#![allow(clippy::unwrap_used, clippy::panic)]

mod course;

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode};
use kube::{Client, client::Body};
use showrunner_crds::scenario::FaultAction;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Experiment, FaultError, Injector, Journal, UNDO_WITHIN, Undo,
    api::{self, Patience},
    experiment, outstanding, read_journal, take_back_all,
};
use crate::{
    evidence::Writer,
    observe::{Snapshot, Subject},
};

/// What was asked for, and an answer to it: a status and a body.
type Answers = fn(&Method, &str) -> Option<(StatusCode, String)>;

/// A client whose questions `answers` answers; `None` never does.
fn client(answers: Answers) -> (Client, Arc<Mutex<BTreeSet<String>>>) {
    client_of(answers)
}

fn client_of(
    answers: impl Fn(&Method, &str) -> Option<(StatusCode, String)> + Clone + Send + 'static,
) -> (Client, Arc<Mutex<BTreeSet<String>>>) {
    let asked: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let seen = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answers(request.method(), request.uri().path());
        seen.lock()
            .unwrap()
            .insert(format!("{} {}", request.method(), request.uri().path()));
        async move {
            let Some((status, body)) = answer else {
                return std::future::pending().await;
            };
            let body = Body::from(body.into_bytes());
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        }
    });
    (Client::new(service, "cinema"), asked)
}

fn subject() -> Subject {
    Subject {
        namespace: "cinema".into(),
        platform: "cinema".into(),
    }
}

fn missing() -> (StatusCode, String) {
    let status =
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"NotFound","code":404}"#;
    (StatusCode::NOT_FOUND, status.to_owned())
}

fn chaos() -> (StatusCode, String) {
    let action = FaultAction::RegionLoss { region: "eu".into() };
    let chaos = experiment(&action, "x", "cinema", &["p".to_owned()], Duration::ZERO).of_run("night-1", None);
    let Experiment::Network(chaos) = chaos else {
        panic!("not a NetworkChaos");
    };
    (StatusCode::OK, serde_json::to_string(&chaos).unwrap())
}

fn lost() -> Experiment {
    let action = FaultAction::RegionLoss { region: "eu".into() };
    experiment(&action, "x", "cinema", &["p".to_owned()], Duration::ZERO)
}

/// Sends a fault that is never injected, with a patience of a minute.
async fn send(answers: Answers, stop: &CancellationToken) -> Result<(), FaultError> {
    let patience = Patience {
        until: Instant::now() + Duration::from_secs(60),
        stop,
        watch_targets: true,
    };
    let (client, _) = client(answers);
    let (subject, lost, pods) = (subject(), lost(), ["p".to_owned()]);
    let sent = api::send(&client, &subject, &lost, &pods, &patience);
    timeout(Duration::from_secs(10), sent).await.unwrap()
}

#[tokio::test]
async fn a_target_that_vanishes_ends_the_wait_for_it() {
    let answers: Answers = |_, path| Some(if path.contains("/pods/") { missing() } else { chaos() });
    let outcome = send(answers, &CancellationToken::new()).await;
    assert!(matches!(outcome, Err(FaultError::Vanished { .. })), "{outcome:?}");
}

#[tokio::test]
async fn an_interruption_ends_the_wait() {
    let answers: Answers = |_, path| {
        Some(if path.contains("/pods/") {
            (StatusCode::OK, r#"{"metadata":{"name":"p"}}"#.to_owned())
        } else {
            chaos()
        })
    };
    let stop = CancellationToken::new();
    stop.cancel();
    let outcome = send(answers, &stop).await;
    assert!(matches!(outcome, Err(FaultError::Interrupted)), "{outcome:?}");
}

#[tokio::test]
async fn a_flush_goes_on_past_a_cache_that_fails_and_names_it() {
    let answers: Answers = |_, path| {
        let fails = path.contains("/pods/a:");
        let status = if fails { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
        Some((status, "Flushed".to_owned()))
    };
    let (client, asked) = client(answers);
    let pods = ["a", "b", "c"].map(str::to_owned);
    let stop = CancellationToken::new();
    let patience = Patience {
        until: Instant::now(),
        stop: &stop,
        watch_targets: false,
    };
    let flush = Experiment::Flush(pods.to_vec());
    match api::send(&client, &subject(), &flush, &pods, &patience).await {
        Err(FaultError::NotFlushed { flushed, failed }) => {
            assert_eq!(flushed, ["b", "c"]);
            assert!(failed.len() == 1 && failed[0].starts_with("a: "), "{failed:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(asked.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn no_cache_is_flushed_once_the_run_is_to_end() {
    let stop = CancellationToken::new();
    let ends = stop.clone();
    let (client, asked) = client_of(move |_, _| {
        ends.cancel();
        Some((StatusCode::OK, "Flushed".to_owned()))
    });
    let pods: Vec<String> = (0..20).map(|n| format!("edge-{n}")).collect();
    let patience = Patience {
        until: Instant::now(),
        stop: &stop,
        watch_targets: false,
    };
    let flush = Experiment::Flush(pods.clone());
    let sent = api::send(&client, &subject(), &flush, &pods, &patience).await;
    assert!(matches!(sent, Err(FaultError::Interrupted)), "{sent:?}");
    let asked = asked.lock().unwrap().len();
    assert!(asked <= 8, "{asked} of 20, where 8 may have been under way");
}

/// The API server answers with this status, if at all.
async fn sent(answer: Option<u16>) -> Result<(), FaultError> {
    let (client, _) = client_of(move |_, _| Some((StatusCode::from_u16(answer?).unwrap(), "no".to_owned())));
    let (stop, pods) = (CancellationToken::new(), ["p".to_owned()]);
    let patience = Patience {
        until: Instant::now(),
        stop: &stop,
        watch_targets: true,
    };
    api::send(&client, &subject(), &lost(), &pods, &patience).await
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_does_not_come_and_what_was_not_answered_may() {
    for (answer, unsure) in [(Some(403), false), (Some(409), false), (Some(504), true), (None, true)] {
        let sent = sent(answer).await;
        assert_eq!(
            matches!(sent, Err(FaultError::Unsure { .. })),
            unsure,
            "{answer:?}: {sent:?}"
        );
    }
}

#[tokio::test]
async fn an_undo_that_hangs_takes_no_time_from_the_others_and_all_have_one_limit() {
    // `stuck-1` never answers, `stuck-2` is never let go, the others are gone.
    let (client, asked) = client(|_, path| {
        if path.ends_with("stuck-1") {
            None
        } else if path.ends_with("stuck-2") {
            Some(chaos())
        } else {
            Some(missing())
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.jsonl");
    let journal = Journal::open(&path).unwrap();
    let delete = |name: &str| Undo::DeleteChaos {
        kind: "NetworkChaos".into(),
        namespace: "cinema".into(),
        name: name.into(),
    };
    let mut entries = Vec::new();
    for name in ["a", "b", "stuck-1", "stuck-2"] {
        let intent = journal.intent("f", delete(name)).await.unwrap();
        let stage = super::Stage::Injected;
        entries.push(super::Entry { stage, ..intent });
    }
    let (_writer, recorder) = Writer::start(&dir.path().join("evidence.jsonl"), Instant::now()).unwrap();
    let (_latest_in, latest) = watch::channel(Snapshot::default());
    let limit = Duration::from_millis(500);
    let injector = Injector::new(client, subject(), journal, recorder, latest, "night-1", 1, limit);
    let began = Instant::now();
    assert!(injector.undo_all(&entries).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let left = outstanding(&read_journal(&path).unwrap());
    assert_eq!(left.iter().map(|e| e.id).collect::<Vec<_>>(), [3, 2], "{left:?}");
    assert_eq!(
        asked.lock().unwrap().iter().filter(|a| a.starts_with("DELETE")).count(),
        1,
        "what is not there, and what cannot be seen to be ours, is not deleted"
    );
}

/// Of two faults, each with something that may still come.
#[tokio::test(start_paused = true)]
async fn a_sweep_takes_back_what_the_journal_says_is_left() {
    let (client, _) = client(|_, _| Some(missing()));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.jsonl");
    let journal = Journal::open(&path).unwrap();
    journal.intent("died", lost().undo()).await.unwrap();
    journal.intent("died-too", lost().undo()).await.unwrap();
    // Written in another runtime: paused time does not jump while something blocks.
    let elsewhere = tokio::runtime::Runtime::new().unwrap();
    let (writer, recorder) = {
        let _entered = elsewhere.enter();
        Writer::start(&dir.path().join("evidence.jsonl"), Instant::now()).unwrap()
    };
    let (_latest_in, latest) = watch::channel(Snapshot::default());
    let (limit, began) = (Duration::from_secs(50), Instant::now());
    let injector = Injector::new(client, subject(), journal, recorder, latest, "night-1", 1, limit);
    injector.sweep().await.unwrap();
    let took = began.elapsed().as_secs();
    assert!(took < 60, "one after the other: {took} s");
    assert!(outstanding(&read_journal(&path).unwrap()).is_empty());
    drop(injector);
    tokio::time::resume();
    writer.finish().await.unwrap();
    elsewhere.shutdown_background();
    let evidence = std::fs::read_to_string(dir.path().join("evidence.jsonl")).unwrap();
    assert!(evidence.contains(r#""name":"died","stage":"undone""#), "{evidence}");
}

#[tokio::test(start_paused = true)]
async fn an_undo_goes_on_until_its_deadline_while_the_api_fails() {
    for (well_after, undone) in [(80, true), (100, false)] {
        let began = Instant::now();
        let (client, _) = client_of(move |_, _| {
            let failing = began.elapsed() < Duration::from_secs(well_after);
            let busy = (StatusCode::SERVICE_UNAVAILABLE, "try again later".to_owned());
            Some(if failing { busy } else { missing() })
        });
        let entry = super::Entry {
            id: 0,
            fault: "f".into(),
            stage: super::Stage::Injected,
            undo: lost().undo(),
            at: jiff::Timestamp::UNIX_EPOCH,
        };
        let entries = [entry];
        let outcomes = take_back_all(&client, "night-1", &entries, UNDO_WITHIN, async |_| Ok(())).await;
        assert_eq!(outcomes[0].1.is_ok(), undone, "{:?}", outcomes[0].1);
        let took = began.elapsed();
        let least = Duration::from_secs(well_after).min(UNDO_WITHIN);
        assert!(took >= least && took < UNDO_WITHIN + Duration::from_secs(1), "{took:?}");
    }
}

fn entry(id: u32, name: &str, stage: super::Stage) -> super::Entry {
    super::Entry {
        id,
        fault: name.to_owned(),
        stage,
        undo: Undo::DeleteChaos {
            kind: "NetworkChaos".into(),
            namespace: "cinema".into(),
            name: name.to_owned(),
        },
        at: jiff::Timestamp::UNIX_EPOCH,
    }
}

/// The API server has the object of `late` only after 15 s; that of the others it never had.
#[tokio::test(start_paused = true)]
async fn what_may_still_come_is_looked_for_and_the_others_do_not_wait_for_it() {
    let began = Instant::now();
    let gone = Arc::new(Mutex::new(false));
    let deleted = gone.clone();
    let (client, asked) = client_of(move |method, path| {
        if path.ends_with("/late") && method == Method::DELETE {
            *gone.lock().unwrap() = true;
        }
        let there = began.elapsed() >= Duration::from_secs(15) && !*gone.lock().unwrap();
        Some(if path.ends_with("/late") && (there || method == Method::DELETE) {
            chaos()
        } else {
            missing()
        })
    });
    let (intent, injected) = (super::Stage::Intent, super::Stage::Injected);
    let heals = super::Entry {
        undo: Undo::SelfHealing,
        ..entry(3, "heals", intent)
    };
    let entries = [
        entry(0, "late", intent),
        entry(1, "never", intent),
        entry(2, "known", injected),
        heals,
    ];
    let took: Mutex<Vec<(String, u64)>> = Mutex::default();
    let done = async |entry: &super::Entry| {
        let seconds = began.elapsed().as_secs();
        took.lock().unwrap().push((entry.fault.clone(), seconds));
        Ok(())
    };
    let outcomes = take_back_all(&client, "night-1", &entries, UNDO_WITHIN, done).await;
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
    assert!(*deleted.lock().unwrap(), "{:?}", asked.lock().unwrap());
    let mut took = took.into_inner().unwrap();
    took.sort();
    let expected = [("heals", 0), ("known", 0), ("late", 15), ("never", 30)];
    assert_eq!(took, expected.map(|(name, seconds)| (name.to_owned(), seconds)));
}

/// What came, was asked to go, and then could not be asked after for a moment, does not come again.
#[tokio::test(start_paused = true)]
async fn what_was_seen_once_is_not_waited_for_again() {
    let began = Instant::now();
    let asked = Arc::new(Mutex::new(0));
    let (client, _) = client_of(move |method, _| {
        if method == Method::DELETE {
            return Some(chaos());
        }
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        Some(match *asked {
            1 => chaos(),
            2 => (StatusCode::INTERNAL_SERVER_ERROR, "{}".to_owned()),
            _ => missing(),
        })
    });
    let entries = [entry(0, "lose-eu", super::Stage::Intent)];
    let done = async |_: &super::Entry| Ok(());
    let outcomes = take_back_all(&client, "night-1", &entries, UNDO_WITHIN, done).await;
    assert!(outcomes[0].1.is_ok(), "{outcomes:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
