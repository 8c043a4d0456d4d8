//! Ctrl-C and SIGKILL in the middle of a fault.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{path::Path, process::Stdio, time::Duration};

use common::{Running, listening, pods_of, showrunner, until};
use nix::sys::signal::Signal;

/// How long a drill may take to inject its first fault.
const INJECTED: Duration = Duration::from_secs(150);

/// Starts the smoke drill and waits until its fault is in force.
fn in_the_middle_of_a_fault(out: &Path) -> Running {
    let drill = Running(
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
            .spawn()
            .unwrap(),
    );
    let journal = out.join("journal.jsonl");
    until(INJECTED, "the fault", || {
        std::fs::read_to_string(&journal)
            .ok()
            .filter(|j| j.contains("\"stage\":\"injected\""))
    });
    assert!(
        !pods_of(drill.0.id()).is_empty() && !listening().is_empty(),
        "or the checks that follow could not fail"
    );
    drill
}

/// One test, since one sandbox runs on a machine at a time.
#[test]
fn nothing_is_left_whichever_way_a_drill_ends() {
    let dir = tempfile::tempdir().unwrap();

    let mut drill = in_the_middle_of_a_fault(dir.path());
    let pid = drill.0.id();
    drill.signal(Signal::SIGINT);
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
    assert_eq!(pods_of(pid), Vec::<String>::new(), "processes are left");
    assert_eq!(listening(), Vec::<String>::new(), "ports are left");
    assert!(
        !std::env::temp_dir().join(format!("showrunner-{pid}")).exists(),
        "files are left"
    );

    let killed = tempfile::tempdir().unwrap();
    let mut drill = in_the_middle_of_a_fault(killed.path());
    let pid = drill.0.id();
    drill.signal(Signal::SIGKILL);
    drill.end(Duration::from_secs(10));
    until(Duration::from_secs(10), "the pods to die with their parent", || {
        pods_of(pid).is_empty().then_some(())
    });
    std::fs::remove_dir_all(std::env::temp_dir().join(format!("showrunner-{pid}"))).unwrap();
}
