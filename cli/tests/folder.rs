//! The folder that a drill writes into: what another run has in it is not destroyed. Nothing here comes so far that a sandbox
//! starts.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{collections::BTreeMap, fs::File, path::Path, process::Output};

use common::{repository, showrunner};

const ORIGIN: &str =
    r#"{"journal":"showrunner.dev/v1alpha1","run":"smoke-1","namespace":"cinema","platform":"cinema"}"#;
const INTENT: &str =
    r#"{"id":0,"fault":"eu-lost","stage":"intent","undo":{"how":"selfHealing"},"at":"2026-01-01T00:00:00Z"}"#;
const UNDONE: &str =
    r#"{"id":0,"fault":"eu-lost","stage":"undone","undo":{"how":"selfHealing"},"at":"2026-01-01T00:00:01Z"}"#;

/// A folder as an earlier run has left it.
fn left(journal: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("journal.jsonl"), journal.join("\n") + "\n").unwrap();
    std::fs::write(dir.path().join("evidence.jsonl"), "what was seen\n").unwrap();
    std::fs::write(dir.path().join("verdict.json"), "{}\n").unwrap();
    dir
}

fn files(dir: &Path) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(dir).unwrap().flatten();
    files
        .map(|file| {
            let text = std::fs::read_to_string(file.path()).unwrap();
            (file.file_name().to_string_lossy().into_owned(), text)
        })
        .collect()
}

/// Starts a drill with that folder, where Kubernetes' own control plane cannot be found: no sandbox starts.
fn drill(out: &Path) -> Output {
    let elsewhere = tempfile::tempdir().unwrap();
    showrunner()
        .current_dir(elsewhere.path())
        .env("KUBEBUILDER_ASSETS", elsewhere.path())
        .arg("drill")
        .arg(repository().join("scenarios/smoke.yaml"))
        .arg("--platform")
        .arg(repository().join("examples/cinema.yaml"))
        .args(["--control-plane", "real", "--out"])
        .arg(out)
        .output()
        .unwrap()
}

/// Starts a drill that is refused for all of `said`; everything in the folder is as before.
fn refused(dir: &Path, said: &[&str]) {
    let before = files(dir);
    let output = drill(dir);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in said {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    assert_eq!(files(dir), before);
}

#[test]
fn a_folder_whose_faults_are_not_undone_is_refused() {
    let dir = left(&[ORIGIN, INTENT]);
    let name = dir.path().to_str().unwrap();
    let undo = format!("`showrunner undo {name}`");
    refused(dir.path(), &[name, "drill smoke-1", &undo, "--out"]);
}

#[test]
fn a_folder_that_a_living_run_writes_into_is_refused() {
    let dir = left(&[ORIGIN, INTENT, UNDONE]);
    let held = File::open(dir.path()).unwrap();
    held.try_lock().unwrap();
    refused(
        dir.path(),
        &[dir.path().to_str().unwrap(), "a drill that still runs", "--out"],
    );
}

#[test]
fn what_a_finished_run_has_left_stays_until_there_is_something_to_write() {
    let dir = left(&[ORIGIN, INTENT, UNDONE]);
    refused(dir.path(), &["run `make kubernetes`"]);
}
