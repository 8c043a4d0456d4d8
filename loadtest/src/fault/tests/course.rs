//! A fault that lasts, on a cluster that changes under it.

use serde_json::{Value, json};

use super::*;
use crate::{
    plan::{PlannedFault, plan},
    testing::{platform, scenario},
};

/// A cluster with some edges, which keeps the objects that it is asked for.
#[derive(Debug, Default)]
struct Cluster {
    edges: u32,
    /// From how many faults on it refuses them, and how.
    refuses: Option<(usize, StatusCode)>,
    /// Faults that it was asked for.
    asked: usize,
    there: BTreeSet<String>,
    /// Whether there is one that it has not been asked for by name yet.
    nameless: bool,
}

impl Cluster {
    fn answer(&mut self, method: &Method, path: &str) -> (StatusCode, String) {
        let ok = |body: Value| (StatusCode::OK, body.to_string());
        if path.ends_with("/pods") {
            let pods: Vec<Value> = (0..self.edges).map(edge).collect();
            return ok(json!({"metadata": {}, "items": pods}));
        }
        if path.contains("/pods/") {
            return ok(edge(0));
        }
        let (_, name) = path.rsplit_once('/').unwrap();
        if method == Method::POST {
            self.asked += 1;
            if let Some((from, refusal)) = self.refuses
                && self.asked > from
            {
                return (refusal, "no".to_owned());
            }
            self.nameless = true;
            return ok(injected());
        }
        if std::mem::take(&mut self.nameless) {
            self.there.insert(name.to_owned());
        }
        if method == Method::DELETE {
            self.there.remove(name);
        }
        if self.there.contains(name) || method == Method::DELETE {
            return ok(injected());
        }
        missing()
    }
}

fn edge(number: u32) -> Value {
    let labels = json!({"showrunner.dev/role": "edge", "showrunner.dev/region": "eu"});
    json!({
        "metadata": {"name": format!("edge-{number}"), "uid": format!("uid-{number}"), "labels": labels},
        "status": {"phase": "Running"},
    })
}

fn injected() -> Value {
    let mut chaos: Value = serde_json::from_str(&chaos().1).unwrap();
    let record = json!({"id": "cinema/edge-0", "phase": "Injected", "injectedCount": 1, "recoveredCount": 0, "selectorKey": "."});
    chaos["status"] = json!({"conditions": [], "experiment": {"desiredPhase": "Run", "containerRecords": [record]}});
    chaos
}

/// Slow edges for 40 s.
fn slow() -> PlannedFault {
    let mut scenario = scenario();
    let fault = json!([{
        "name": "slow",
        "start": {"phase": "doors"},
        "duration": "40s",
        "action": {"networkDelay": {"role": "edge", "latencyMs": 5}},
    }]);
    scenario.faults = serde_json::from_value(fault).unwrap();
    plan(&scenario, &platform(), None).unwrap().faults.remove(0)
}

struct Played {
    outcome: Result<(), FaultError>,
    seconds: u64,
    /// Mutations on record, and those of them that are not known to be taken back.
    journal: (usize, usize),
}

/// Works the fault; a second after it began `change` comes over the cluster.
async fn play(cluster: Cluster, change: impl FnOnce(&mut Cluster)) -> (Played, Arc<Mutex<Cluster>>) {
    let cluster = Arc::new(Mutex::new(cluster));
    let there = cluster.clone();
    let (client, _) = client_of(move |method, path| Some(there.lock().unwrap().answer(method, path)));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.jsonl");
    let journal = Journal::open(&path).unwrap();
    // Written in another runtime: paused time does not jump while something blocks.
    let elsewhere = tokio::runtime::Runtime::new().unwrap();
    let (writer, recorder) = {
        let _entered = elsewhere.enter();
        Writer::start(&dir.path().join("evidence.jsonl"), Instant::now()).unwrap()
    };
    let (_in, latest) = watch::channel(Snapshot::default());
    let injector = Injector::new(client, subject(), journal, recorder, latest, "night-1", 1, UNDO_WITHIN);
    let (planned, began, stop) = (slow(), Instant::now(), CancellationToken::new());
    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        change(&mut cluster.lock().unwrap());
    };
    let worked = async { (injector.work(&planned, began, &stop).await, began.elapsed().as_secs()) };
    let ((outcome, seconds), ()) = tokio::join!(worked, later);
    drop((injector, writer));
    elsewhere.shutdown_background();
    let entries = read_journal(&path).unwrap();
    let ids: BTreeSet<u32> = entries.iter().map(|entry| entry.id).collect();
    let played = Played {
        outcome,
        seconds,
        journal: (ids.len(), outstanding(&entries).len()),
    };
    (played, cluster)
}

/// The run ends while the API server is asked which pods there are.
#[tokio::test]
async fn nothing_is_decided_on_once_the_run_is_to_end() {
    let stop = CancellationToken::new();
    let ends = stop.clone();
    let (client, asked) = client_of(move |_, _| {
        ends.cancel();
        Some((StatusCode::OK, json!({"metadata": {}, "items": [edge(0)]}).to_string()))
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.jsonl");
    let journal = Journal::open(&path).unwrap();
    let (_writer, recorder) = Writer::start(&dir.path().join("evidence.jsonl"), Instant::now()).unwrap();
    let (_in, latest) = watch::channel(Snapshot::default());
    let injector = Injector::new(client, subject(), journal, recorder, latest, "night-1", 1, UNDO_WITHIN);
    injector.work(&slow(), Instant::now(), &stop).await.unwrap();
    assert!(read_journal(&path).unwrap().is_empty(), "no intent is on record");
    assert_eq!(asked.lock().unwrap().len(), 1, "nothing more is asked");
}

/// What is known not to come is not waited for.
#[tokio::test(start_paused = true)]
async fn a_fault_that_was_refused_is_over_at_once() {
    for (code, waits) in [(403, false), (504, true)] {
        let refusal = StatusCode::from_u16(code).unwrap();
        let cluster = Cluster {
            edges: 1,
            refuses: Some((0, refusal)),
            ..Cluster::default()
        };
        let (played, _) = play(cluster, |_| ()).await;
        assert!(played.outcome.is_err());
        assert_eq!(played.journal, (1, 0));
        assert_eq!(played.seconds >= 30, waits, "{code}: {} s", played.seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_cannot_follow_tries_less_and_less_often() {
    let cluster = Cluster {
        edges: 1,
        refuses: Some((1, StatusCode::SERVICE_UNAVAILABLE)),
        ..Cluster::default()
    };
    let (played, cluster) = play(cluster, |cluster| cluster.edges = 2).await;
    assert!(played.outcome.is_ok(), "{:?}", played.outcome);
    let asked = cluster.lock().unwrap().asked;
    assert!((4..=12).contains(&asked), "{asked} times in 40 s");
    assert_eq!(played.journal, (asked, 0), "each has its place in the journal");
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_follows_new_pods_does_so_soon() {
    let cluster = Cluster {
        edges: 1,
        ..Cluster::default()
    };
    let (played, cluster) = play(cluster, |cluster| cluster.edges = 2).await;
    assert!(played.outcome.is_ok(), "{:?}", played.outcome);
    assert_eq!(cluster.lock().unwrap().asked, 2);
}
