//! What is left when `up --control-plane real` is killed: nothing of Kubernetes either. `KUBERNETES=1` plays it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{path::Path, time::Duration};

use common::up::{Up, cinema};
use nix::sys::signal::Signal;

/// How long the platform may take to be up: four servers and their controllers start before it.
const UP: Duration = Duration::from_secs(240);
/// How long what a killed run leaves may live.
const DEATH: Duration = Duration::from_secs(10);
/// Kubernetes' own servers.
const SERVERS: [&str; 4] = [
    "etcd ",
    "kube-apiserver ",
    "kube-controller-manager ",
    "kube-scheduler ",
];

fn up(kubeconfig: &Path) -> Up {
    let mut command = cinema(kubeconfig);
    command.args(["--control-plane", "real"]);
    let mut up = Up::start(command);
    up.until_up(UP);
    common::stands(&up.tree);
    let living = up.tree.living().join("\n");
    for server in SERVERS {
        assert!(living.contains(server), "{server:?} does not run:\n{living}");
    }
    up
}

#[test]
fn a_killed_run_leaves_nothing_of_kubernetes() {
    if std::env::var("KUBERNETES").is_err() {
        println!("skipped: KUBERNETES=1 plays it");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut killed = up(&dir.path().join("first"));
    killed.running.signal(Signal::SIGKILL);
    killed.running.end(Duration::from_secs(10));
    killed.tree.gone(DEATH);

    let mut asked = up(&dir.path().join("second"));
    asked.running.signal(Signal::SIGTERM);
    assert_eq!(asked.running.end(Duration::from_secs(60)).code(), Some(0));
    asked.tree.gone(Duration::from_secs(2));
    println!("killed: {} servers of Kubernetes, 0 left, twice", SERVERS.len());
}
