//! `kill -9` of a drill in the middle of a fault, on a cluster that stays: `showrunner undo` takes the fault back, or the
//! operator does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    path::Path,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use common::{Running, Said, follow, showrunner, until};
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use nix::sys::signal::Signal;
use showrunner_crds::drill::{Drill, DrillPhase, DrillStatus, UNDONE};

/// How long the platform may take to be up, and a drill to inject its fault.
const LONG: Duration = Duration::from_secs(150);
/// How long the operator may take to finish a drill whose runner was killed.
const FINISHED: Duration = Duration::from_secs(60);

/// A sandbox that stays, and what it says.
fn up(kubeconfig: &Path) -> (Running, Said) {
    let mut up = Running(
        showrunner()
            .args(["up", "-f", "examples/cinema.yaml", "--kubeconfig"])
            .arg(kubeconfig)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let said = follow(up.0.stdout.take().unwrap());
    until(LONG, "the platform", || {
        said.contains("Ctrl-C takes it down").then_some(())
    });
    (up, said)
}

/// A drill against the platform that is there, killed once its fault is in force; its name.
fn killed_in_the_middle(kubeconfig: &Path, out: &Path) -> String {
    let mut drill = Running(
        showrunner()
            .args(["drill", "scenarios/smoke.yaml", "--platform", "cinema", "-n", "cinema"])
            .args(["--environment", "sandbox", "--kubeconfig"])
            .arg(kubeconfig)
            .arg("--out")
            .arg(out)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let said = follow(drill.0.stderr.take().unwrap());
    let journal = out.join("journal.jsonl");
    until(LONG, "the fault", || {
        assert!(
            matches!(drill.0.try_wait(), Ok(None)),
            "the drill ended: {}",
            said.text()
        );
        let text = std::fs::read_to_string(&journal).ok()?;
        text.contains("\"stage\":\"injected\"").then_some(())
    });
    drill.signal(Signal::SIGKILL);
    drill.end(Duration::from_secs(10));
    let text = said.text();
    let at = text.find("drill smoke-").expect("it says its name") + "drill ".len();
    text[at..].split_whitespace().next().unwrap().to_owned()
}

fn undo(kubeconfig: &Path, args: &[&str]) -> Output {
    let mut command = showrunner();
    command.arg("undo").args(args).arg("--kubeconfig").arg(kubeconfig);
    command.output().unwrap()
}

async fn drill(client: &Client, name: &str) -> DrillStatus {
    let drills: Api<Drill> = Api::namespaced(client.clone(), "cinema");
    drills.get(name).await.unwrap().status.unwrap_or_default()
}

fn finished(status: &DrillStatus) -> bool {
    let undone =
        |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| c.type_ == UNDONE && c.status == "True";
    status.finished() && !status.journal.is_empty() && status.conditions.iter().any(undone)
}

#[test]
#[ignore = "minutes: make test-undo"]
fn a_drill_that_was_killed_is_undone_by_a_person_and_by_the_operator() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    let (mut up, _said) = up(&kubeconfig);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(async {
        let file = Kubeconfig::read_from(&kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .unwrap();
        Client::try_from(config).unwrap()
    });

    // A person, from the run's folder.
    let first = dir.path().join("first");
    let name = killed_in_the_middle(&kubeconfig, &first);
    let status = runtime.block_on(drill(&client, &name));
    assert_eq!(status.phase, Some(DrillPhase::Running), "it was killed");
    let undone = undo(&kubeconfig, &[first.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&undone.stdout).into_owned();
    assert_eq!(
        undone.status.code(),
        Some(0),
        "{told}{}",
        String::from_utf8_lossy(&undone.stderr)
    );
    assert!(told.contains("eu-lost undone: NetworkChaos"), "{told}");
    assert!(finished(&runtime.block_on(drill(&client, &name))));
    let again = undo(&kubeconfig, &[&name, "-n", "cinema", "--json"]);
    assert_eq!(again.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(report[0]["nothingOutstanding"], true, "{report}");

    // The operator, by itself.
    let second = dir.path().join("second");
    let name = killed_in_the_middle(&kubeconfig, &second);
    let killed = Instant::now();
    until(FINISHED, "the operator", || {
        finished(&runtime.block_on(drill(&client, &name))).then_some(())
    });
    println!(
        "the operator had undone it {:.0} s after the kill",
        killed.elapsed().as_secs_f64()
    );
    let proved = undo(&kubeconfig, &[second.to_str().unwrap()]);
    assert_eq!(
        proved.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&proved.stdout)
    );

    // Another cluster's journal proves nothing.
    let journal = second.join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let at = text.find("\"namespaceUid\":\"").unwrap() + "\"namespaceUid\":\"".len();
    let mut foreign = text.clone();
    foreign.replace_range(at..=at, if &text[at..=at] == "0" { "1" } else { "0" });
    std::fs::write(&journal, foreign).unwrap();
    let refused = undo(&kubeconfig, &[journal.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));

    up.signal(Signal::SIGTERM);
    assert_eq!(up.end(Duration::from_secs(60)).code(), Some(0));
}
