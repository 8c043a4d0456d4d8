//! Ctrl-C and SIGKILL in the middle of a fault.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{path::Path, process::Stdio, time::Duration};

use common::{
    Running, Said, follow, showrunner,
    tree::Tree,
    until,
    up::{Up, cinema},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long a drill may take to inject its first fault.
const INJECTED: Duration = Duration::from_secs(150);
/// How long the platform may take to be up.
const UP: Duration = Duration::from_secs(150);
/// How long what a killed run leaves may live.
const DEATH: Duration = Duration::from_secs(10);

/// What is said once Ctrl-C was heard.
const HEARD: &str = "stopping: faults are undone and processes ended first";

/// Starts the smoke drill and waits until its fault is in force.
fn in_the_middle_of_a_fault(out: &Path) -> (Running, Tree, Said) {
    let mut drill = Running(
        showrunner()
            .args([
                "drill",
                "scenarios/smoke.yaml",
                "--platform",
                "examples/cinema.yaml",
                "--out",
            ])
            .arg(out)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let tree = Tree::watch(drill.0.id());
    let said = follow(drill.0.stderr.take().unwrap());
    let journal = out.join("journal.jsonl");
    until(INJECTED, "the fault", || {
        assert_eq!(drill.0.try_wait().unwrap(), None, "{}", said.text());
        std::fs::read_to_string(&journal)
            .ok()
            .filter(|j| j.contains("\"stage\":\"injected\""))
    });
    common::stands(&tree);
    (drill, tree, said)
}

/// One test, since one sandbox runs on a machine at a time.
#[test]
fn nothing_is_left_whichever_way_a_drill_ends() {
    let dir = tempfile::tempdir().unwrap();

    let (mut drill, tree, said) = in_the_middle_of_a_fault(dir.path());
    let pid = drill.0.id();
    drill.signal(Signal::SIGINT);
    // Of two that are pending the kernel makes one.
    until(Duration::from_secs(10), "the first Ctrl-C to be heard", || {
        said.contains(HEARD).then_some(())
    });
    drill.signal(Signal::SIGINT);
    assert_eq!(
        drill.end(Duration::from_secs(120)).code(),
        Some(3),
        "a run cut short is inconclusive"
    );
    let journal = std::fs::read_to_string(dir.path().join("journal.jsonl")).unwrap();
    let (injected, undone) = (
        journal.matches("\"injected\"").count(),
        journal.matches("\"undone\"").count(),
    );
    assert!(injected >= 1 && undone >= injected, "{journal}");
    assert!(dir.path().join("verdict.json").exists(), "what was measured is kept");
    tree.gone(Duration::from_secs(2));
    assert!(!folder(pid).exists(), "files are left");

    // SIGKILL: nothing survives it, though nobody asked the pods to end. What is left is a folder, until the next start.
    let killed = tempfile::tempdir().unwrap();
    let (mut drill, tree, _) = in_the_middle_of_a_fault(killed.path());
    let dead = drill.0.id();
    drill.signal(Signal::SIGKILL);
    drill.end(Duration::from_secs(10));
    tree.gone(DEATH);
    assert!(folder(dead).exists(), "its logs stay until somebody starts again");

    let first = killed.path().join("kubeconfig");
    let (mut up, tree) = up_after(dead, &first);
    assert!(!folder(dead).exists());

    // Without its supervisor the pods' own children may survive; the next start ends them.
    let supervisor = tree.living().into_iter().find(|line| line.contains(" supervise "));
    let supervisor: i32 = supervisor
        .expect("a supervisor")
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    let dead = up.0.id();
    up.signal(Signal::SIGKILL);
    up.end(Duration::from_secs(10));
    assert!(first.exists(), "or its removal could not be seen");

    let second = killed.path().join("kubeconfig-2");
    let (mut up, after) = up_after(dead, &second);
    tree.gone(Duration::ZERO);
    assert!(!folder(dead).exists() && !first.exists(), "files are left");
    up.signal(Signal::SIGTERM);
    assert_eq!(up.end(Duration::from_secs(60)).code(), Some(0));
    after.gone(Duration::from_secs(2));
    assert!(!folder(up.0.id()).exists() && !second.exists(), "files are left");
}

/// Where a run keeps its files.
fn folder(pid: u32) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("showrunner-{pid}"))
}

/// Starts `up` after another run was killed, hears what it says of that, and waits until the platform stands.
fn up_after(dead: u32, kubeconfig: &Path) -> (Running, Tree) {
    let mut up = Up::start(cinema(kubeconfig));
    let wanted = format!("process {dead} was killed and left a sandbox: ended ");
    until(UP, "a word about the run before", || {
        up.said.contains(&wanted).then_some(())
    });
    let said = up.said.text();
    assert!(said.contains(&format!("removed {}", folder(dead).display())), "{said}");
    up.until_up(UP);
    common::stands(&up.tree);
    (up.running, up.tree)
}
