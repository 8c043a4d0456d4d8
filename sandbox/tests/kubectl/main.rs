//! The real kubectl and helm as clients: a scripted session of each against the embedded control plane and against
//! Kubernetes' own, and what they print compared, line by line, once what differs between any two clusters is masked.
//!
//! `KUBECTL_SESSION=1` plays them (`make test-kubernetes` does); they need what `make kubernetes` builds.
//! `KUBECTL_SESSION=show` prints every answer.
#![allow(clippy::unwrap_used)]

mod exclusions;
mod mask;
mod play;
mod script;

use std::path::Path;

use play::{Answer, play};
use script::Step;
use showrunner_sandbox::{ControlPlane, real::Assets};

fn kubectl() -> Vec<Step> {
    script::parse("session.txt", include_str!("session.txt")).unwrap()
}

fn helm() -> Vec<Step> {
    script::parse("helm.txt", include_str!("helm.txt")).unwrap()
}

/// What differs: a step, and both answers. Steps on the list of exclusions must differ, all others must not. A step that
/// fails, or does not, against what the session says, is a difference to the session.
fn differences(steps: &[Step], ours: &[Answer], theirs: &[Answer]) -> Vec<String> {
    let mut all = Vec::new();
    for ((step, ours), theirs) in steps.iter().zip(ours).zip(theirs) {
        if (theirs.code != 0) != step.fails {
            all.push(format!("{step}\n  Kubernetes' own, unlike the session says:\n{theirs}"));
            continue;
        }
        let excluded = exclusions::of(&step.command);
        match (ours == theirs, excluded) {
            (true, Some(why)) => all.push(format!("{step}\n  is excluded ({why}), and no longer differs")),
            (false, None) => all.push(format!(
                "{step}\n--- the embedded control plane\n{ours}\n--- Kubernetes' own\n{theirs}"
            )),
            _ => {}
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_sees_no_difference() {
    compare("kubectl", &kubectl()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_sees_no_difference() {
    compare("helm", &helm()).await;
}

async fn compare(program: &str, steps: &[Step]) {
    let wish = std::env::var("KUBECTL_SESSION").unwrap_or_default();
    if wish.is_empty() {
        println!("skipped: KUBECTL_SESSION=1 plays it");
        return;
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let assets = Assets::find(workspace).unwrap();
    let binary = assets.binary(program).unwrap();
    let programs = binary.parent().unwrap();
    let ours = play(ControlPlane::Embedded, programs, steps).await;
    let theirs = play(ControlPlane::Real(assets), programs, steps).await;
    if wish == "show" {
        for (step, theirs) in steps.iter().zip(&theirs) {
            println!("{step}\n{theirs}");
        }
    }
    let differences = differences(steps, &ours, &theirs);
    println!(
        "{program}: {} commands, {} excluded, {} differ",
        steps.len(),
        steps
            .iter()
            .filter(|step| exclusions::of(&step.command).is_some())
            .count(),
        differences.len()
    );
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn a_difference_is_found() {
    let steps = script::parse("s", "$ get pods\n$ get nodes\n").unwrap();
    let answer = |out: &str| Answer {
        code: 0,
        lines: vec![out.to_owned()],
    };
    let (one, two) = ([answer("a"), answer("b")], [answer("a"), answer("c")]);
    assert_eq!(differences(&steps, &one, &one), Vec::<String>::new());
    let found = differences(&steps, &one, &two);
    assert!(found.len() == 1 && found[0].contains("get nodes"), "{found:?}");
    let failed = || Answer { code: 1, ..answer("a") };
    assert_eq!(differences(&steps, &[failed(), answer("b")], &one).len(), 1);
    let both = [failed(), answer("b")];
    assert_eq!(
        differences(&steps, &both, &both).len(),
        1,
        "it should not fail on either"
    );
}

#[test]
fn every_exclusion_is_of_a_command_in_the_session() {
    let steps = [kubectl(), helm()].concat();
    for (command, _) in exclusions::ALL {
        assert!(steps.iter().any(|step| step.command == *command), "{command}");
    }
}
