//! `kill -9` of a drill in the middle of a fault, on a cluster that stays: `showrunner undo` takes the fault back, or the
//! operator does, or the garbage collector with the Drill. And the lever, by hand; and Ctrl-C in the middle of an undo.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use chaos_mesh_rs::NetworkChaos;
use common::{
    Running, Said, follow, showrunner, until,
    up::{Up, cinema},
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use nix::sys::signal::Signal;
use showrunner_crds::drill::{Drill, DrillPhase, DrillStatus, UNDONE, lease_name};
use tokio::runtime::Runtime;

/// How long the platform may take to be up, and a drill to inject its fault.
const LONG: Duration = Duration::from_secs(150);
/// How long the operator may take to finish a drill whose runner was killed.
const FINISHED: Duration = Duration::from_secs(60);

/// A drill against the platform that is there.
fn against(kubeconfig: &Path, out: &Path) -> Command {
    let mut command = showrunner();
    command
        .args(["drill", "scenarios/smoke.yaml", "--platform", "cinema", "-n", "cinema"])
        .args(["--environment", "sandbox", "--kubeconfig"])
        .arg(kubeconfig)
        .arg("--out")
        .arg(out);
    command
}

/// A drill against the platform that is there, once its fault is in force; what it says, and its name.
fn in_the_middle(kubeconfig: &Path, out: &Path) -> (Running, Said, String) {
    let mut drill = Running(
        against(kubeconfig, out)
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
    let text = said.text();
    let at = text.find("drill smoke-").expect("it says its name") + "drill ".len();
    let name = text[at..].split_whitespace().next().unwrap().to_owned();
    (drill, said, name)
}

/// A drill against the platform that is there, killed once its fault is in force; its name.
fn killed_in_the_middle(kubeconfig: &Path, out: &Path) -> String {
    let (mut drill, _, name) = in_the_middle(kubeconfig, out);
    drill.signal(Signal::SIGKILL);
    drill.end(Duration::from_secs(10));
    name
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

/// What the machine says on standard output to a command that must end well.
fn told(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// A cluster with a platform, and ways to ask it.
struct Stage {
    dir: tempfile::TempDir,
    kubeconfig: PathBuf,
    runtime: Runtime,
    client: Client,
}

impl Stage {
    fn set(dir: tempfile::TempDir, kubeconfig: PathBuf) -> Self {
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(async {
            let file = Kubeconfig::read_from(&kubeconfig).unwrap();
            let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .unwrap();
            Client::try_from(config).unwrap()
        });
        Self {
            dir,
            kubeconfig,
            runtime,
            client,
        }
    }

    /// A drill that was killed while its fault was in force: its folder and its name.
    fn killed(&self, folder: &str) -> (PathBuf, String) {
        let out = self.dir.path().join(folder);
        let name = killed_in_the_middle(&self.kubeconfig, &out);
        (out, name)
    }

    fn undo(&self, args: &[&str]) -> Output {
        undo(&self.kubeconfig, args)
    }

    fn drill(&self, name: &str) -> DrillStatus {
        self.runtime.block_on(drill(&self.client, name))
    }

    fn faults(&self) -> Vec<NetworkChaos> {
        let faults: Api<NetworkChaos> = Api::namespaced(self.client.clone(), "cinema");
        self.runtime
            .block_on(faults.list(&ListParams::default()))
            .unwrap()
            .items
    }

    /// Ctrl-C a second time, while the undo of a fault is under way: it comes to its end all the same.
    fn interrupted_twice(&self) {
        let out = self.dir.path().join("interrupted");
        let (mut drill, said, name) = in_the_middle(&self.kubeconfig, &out);
        // While this is on them nothing that is deleted goes: the undo waits.
        let faults: Api<NetworkChaos> = Api::namespaced(self.client.clone(), "cinema");
        // On condition that nobody has changed it since: a finalizer that is gone cannot come back.
        let hold = |name: &str, held: bool| {
            let changed = |fault: NetworkChaos| {
                let mut finalizers = fault.finalizers().to_vec();
                finalizers.retain(|finalizer| finalizer != "test/held");
                if held {
                    finalizers.push("test/held".to_owned());
                }
                let version = fault.resource_version();
                let patch = serde_json::json!({ "metadata": { "finalizers": finalizers, "resourceVersion": version } });
                let patching = async { faults.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await };
                self.runtime.block_on(patching).is_ok()
            };
            until(Duration::from_secs(10), "a finalizer to change", || {
                let now = self.runtime.block_on(faults.get(name)).unwrap();
                changed(now).then_some(())
            });
        };
        for fault in self.faults() {
            hold(&fault.name_any(), true);
        }
        let ours = |fault: &NetworkChaos| fault.finalizers().iter().any(|finalizer| finalizer == "test/held");
        drill.signal(Signal::SIGINT);
        let going = until(Duration::from_secs(30), "the undo to begin", || {
            let held: Vec<_> = self.faults().into_iter().filter(ours).collect();
            let going = held.iter().all(|fault| fault.metadata.deletion_timestamp.is_some());
            (!held.is_empty() && going).then_some(held)
        });
        assert!(said.contains("stopping: faults are undone"), "{}", said.text());
        drill.signal(Signal::SIGINT);
        // It is heard, and nothing comes of it: the Lease is renewed from there on.
        let renewed = || {
            let leases: Api<Lease> = Api::namespaced(self.client.clone(), "cinema");
            let lease = self.runtime.block_on(leases.get(&lease_name(&name))).unwrap();
            lease.spec.unwrap().renew_time
        };
        let before = renewed();
        until(Duration::from_secs(30), "the drill to live on", || {
            assert_eq!(drill.0.try_wait().unwrap(), None, "{}", said.text());
            (renewed() != before).then_some(())
        });
        for fault in &going {
            let now = self.runtime.block_on(faults.get_opt(&fault.name_any())).unwrap();
            if let Some(now) = now {
                hold(&now.name_any(), false);
            }
        }
        assert_eq!(drill.end(LONG).code(), Some(3), "{}", said.text());
        assert!(self.faults().is_empty());
        assert!(finished(&self.drill(&name)));
        let journal = std::fs::read_to_string(out.join("journal.jsonl")).unwrap();
        let (injected, undone) = (
            journal.matches("\"injected\"").count(),
            journal.matches("\"undone\"").count(),
        );
        assert!(injected >= 1 && undone >= injected, "{journal}");
        assert!(out.join("verdict.json").exists(), "what was measured is kept");
    }

    /// A person undoes a drill, from the folder of the run.
    fn by_folder(&self) {
        let (folder, name) = self.killed("folder");
        assert_eq!(self.drill(&name).phase, Some(DrillPhase::Running), "it was killed");
        let said = told(&self.undo(&[folder.to_str().unwrap()]));
        assert!(said.contains("eu-lost undone: NetworkChaos"), "{said}");
        assert!(finished(&self.drill(&name)));
        let again = told(&self.undo(&[&name, "-n", "cinema", "--json"]));
        let report: serde_json::Value = serde_json::from_str(&again).unwrap();
        assert_eq!(report[0]["nothingOutstanding"], true, "{report}");
    }

    /// A person undoes whatever is not over, without knowing a name.
    fn by_all(&self) {
        let (_, name) = self.killed("all");
        let said = told(&self.undo(&["--all", "-n", "cinema", "--json"]));
        let reports: serde_json::Value = serde_json::from_str(&said).unwrap();
        let runs: Vec<_> = reports.as_array().unwrap().iter().map(|r| &r["run"]).collect();
        assert_eq!(runs, [&serde_json::Value::from(name.as_str())], "{reports}");
        assert!(finished(&self.drill(&name)));
        let again = told(&self.undo(&["--all", "-n", "cinema"]));
        assert_eq!(again, "every drill in namespace cinema is over\n");
    }

    /// The operator undoes it by itself.
    fn by_operator(&self) {
        let (folder, name) = self.killed("operator");
        let killed = Instant::now();
        until(FINISHED, "the operator", || finished(&self.drill(&name)).then_some(()));
        println!(
            "the operator had undone it {:.0} s after the kill",
            killed.elapsed().as_secs_f64()
        );
        // The operator has taken the faults back; that the platform is steady again is still to be proved.
        let proof = told(&self.undo(&[folder.to_str().unwrap(), "--json"]));
        let report: serde_json::Value = serde_json::from_str(&proof).unwrap();
        assert_eq!(report[0]["steady"]["ok"], true, "{report}");

        // Another cluster's journal proves nothing.
        let journal = folder.join("journal.jsonl");
        let text = std::fs::read_to_string(&journal).unwrap();
        let at = text.find("\"namespaceUid\":\"").unwrap() + "\"namespaceUid\":\"".len();
        let mut foreign = text.clone();
        foreign.replace_range(at..=at, if &text[at..=at] == "0" { "1" } else { "0" });
        std::fs::write(&journal, foreign).unwrap();
        let refused = self.undo(&[journal.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(2));
    }

    /// Faults belong to their Drill: who deletes it has them taken back by the garbage collector.
    fn by_deletion(&self) {
        let (_, name) = self.killed("deleted");
        assert!(!self.faults().is_empty(), "the fault is in force");
        let drills: Api<Drill> = Api::namespaced(self.client.clone(), "cinema");
        self.runtime
            .block_on(drills.delete(&name, &DeleteParams::background()))
            .unwrap();
        // Less than the operator waits for a runner, so that it was not the operator.
        until(Duration::from_secs(25), "the garbage collector", || {
            self.faults().is_empty().then_some(())
        });
    }

    /// While the lever is engaged no drill starts, and who tries is told why.
    fn lever(&self) {
        let lever = |args: &[&str]| {
            let mut command = showrunner();
            command
                .arg("lever")
                .args(args)
                .arg("--kubeconfig")
                .arg(&self.kubeconfig);
            told(&command.output().unwrap())
        };
        assert!(lever(&["show"]).starts_with("released"));
        let engaged = lever(&["engage", "--reason", "cup final"]);
        assert!(
            engaged.starts_with("engaged") && engaged.contains("cup final"),
            "{engaged}"
        );
        let refused = against(&self.kubeconfig, &self.dir.path().join("refused"))
            .output()
            .unwrap();
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(4), "{why}");
        assert!(why.contains("cup final"), "{why}");
        assert!(self.faults().is_empty());
        assert!(lever(&["release"]).starts_with("released"));
    }
}

/// One platform for all of it: it takes longer to come up than anything here.
#[test]
fn a_drill_that_was_killed_is_undone() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    let mut up = Up::start(cinema(&kubeconfig));
    up.until_up(LONG);
    let stage = Stage::set(dir, kubeconfig);
    stage.lever();
    stage.interrupted_twice();
    stage.by_folder();
    stage.by_all();
    stage.by_deletion();
    stage.by_operator();
    up.running.signal(Signal::SIGTERM);
    assert_eq!(up.running.end(Duration::from_secs(60)).code(), Some(0));
}
