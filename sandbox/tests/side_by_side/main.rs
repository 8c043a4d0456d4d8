//! Our controllers, scheduler and nodes beside Kubernetes' own: the same scripted histories on both, and what a user can
//! observe of them compared.
//!
//! Plain `cargo test` holds the embedded control plane against what was recorded of Kubernetes' own; `SIDE_BY_SIDE=real`
//! plays the histories on that one too, `SIDE_BY_SIDE=record` writes its outcome down again. Both need its binaries
//! (`make kubernetes`); `make test-kubernetes` does the first.
#![allow(clippy::unwrap_used)]

mod facts;
mod histories;
mod stage;

use std::{collections::BTreeMap, path::Path};

use facts::{Facts, differences};
use showrunner_sandbox::{ControlPlane, real::Assets};
use stage::Cluster;
use tokio::sync::Mutex;

/// What Kubernetes' own control plane did, by history.
const RECORDED: &str = "tests/side_by_side/recorded.json";
/// Addresses of Services are the machine's: one cluster at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

type Outcome = BTreeMap<String, Facts>;

fn recorded() -> Outcome {
    serde_json::from_str(include_str!("recorded.json")).unwrap()
}

fn assets() -> Assets {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    Assets::find(workspace).unwrap()
}

async fn play(plane: ControlPlane) -> Outcome {
    let _turn = ONE_AT_A_TIME.lock().await;
    let cluster = Cluster::start(plane).await;
    let outcome = Box::pin(histories::play(&cluster)).await;
    cluster.stop().await;
    outcome
}

/// Prints a line for each history; gives what is not as it was recorded.
fn compare(who: &str, found: &Outcome, expected: &Outcome) -> Vec<String> {
    let mut all = Vec::new();
    for (name, expected) in expected {
        let nothing = Facts::default();
        let differences = differences(found.get(name).unwrap_or(&nothing), expected);
        println!(
            "{who}: {name}: {} facts, {} times, {} differ",
            expected.exact.len(),
            expected.seconds.len(),
            differences.len()
        );
        all.extend(differences.into_iter().map(|line| format!("{name}: {line}")));
    }
    let more = found.keys().filter(|name| !expected.contains_key(*name));
    all.extend(more.map(|name| format!("{name}: nothing is recorded of it")));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_control_plane_does_what_kubernetes_own_did() {
    let found = play(ControlPlane::Embedded).await;
    assert_eq!(compare("embedded", &found, &recorded()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubernetes_own_control_plane_does_what_was_recorded() {
    let wish = std::env::var("SIDE_BY_SIDE").unwrap_or_default();
    if wish.is_empty() {
        println!("skipped: SIDE_BY_SIDE=real plays it");
        return;
    }
    let found = play(ControlPlane::Real(assets())).await;
    if wish == "record" {
        let text = serde_json::to_string_pretty(&found).unwrap() + "\n";
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDED), text).unwrap();
        return;
    }
    assert_eq!(compare("Kubernetes", &found, &recorded()), Vec::<String>::new());
}

/// Our controllers and scheduler alone, by Kubernetes' own API server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_controllers_do_the_same_on_kubernetes_own_api_server() {
    if std::env::var("SIDE_BY_SIDE").is_ok_and(|wish| wish == "real") {
        let found = play(ControlPlane::RealApi(assets())).await;
        assert_eq!(compare("ours on Kubernetes", &found, &recorded()), Vec::<String>::new());
    } else {
        println!("skipped: SIDE_BY_SIDE=real plays it");
    }
}

#[test]
fn a_history_that_was_not_played_or_not_recorded_is_a_difference() {
    let recorded = recorded();
    assert_eq!(compare("nobody", &recorded, &recorded), Vec::<String>::new());
    let mut less = recorded.clone();
    let (name, _) = less.pop_first().unwrap();
    let missing = compare("nobody", &less, &recorded);
    assert!(missing.iter().all(|line| line.starts_with(&name)) && !missing.is_empty());
    assert_eq!(compare("nobody", &recorded, &less).len(), 1);
}
