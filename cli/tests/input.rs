//! Bad input: one message each with its place, all of a file at once, exit 2, nothing started.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn showrunner(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_showrunner"))
        .args(arguments)
        .current_dir(repository())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_mistake_of_a_file_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cinema.yaml");
    let good = std::fs::read_to_string(repository().join("examples/cinema.yaml")).unwrap();
    std::fs::write(
        &path,
        good.replace("weight: 35", "weigth: 35")
            .replace("- name: us", "- name: US"),
    )
    .unwrap();
    let file = path.display().to_string();
    for command in [
        vec!["build", "-f", &file],
        vec!["up", "-f", &file],
        vec!["drill", "scenarios/smoke.yaml", "--platform", &file],
    ] {
        let output = showrunner(&command);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {errors}");
        assert!(
            errors.contains(&format!("{file}:23:13: spec.regions[1].name: ")),
            "{errors}"
        );
        assert!(
            errors.contains(&format!(
                "{file}:24:7: spec.regions[1].weigth: unknown field; did you mean `weight`?"
            )),
            "{errors}"
        );
        assert!(output.stdout.is_empty(), "nothing was started");
    }
}

#[test]
fn a_scenario_is_held_against_the_platform() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("smoke.yaml");
    let good = std::fs::read_to_string(repository().join("scenarios/smoke.yaml")).unwrap();
    std::fs::write(
        &path,
        good.replace("regionLoss: {region: eu}", "regionLoss: {region: mars}"),
    )
    .unwrap();
    let output = showrunner(&[
        "drill",
        &path.display().to_string(),
        "--platform",
        "examples/cinema.yaml",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("mars"), "{}", text(&output.stderr));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = showrunner(&["build", "-f", "absent.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).starts_with("absent.yaml: "),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_dry_run_prints_the_timeline_and_does_nothing() {
    let output = showrunner(&[
        "drill",
        "scenarios/premiere-night.yaml",
        "--platform",
        "examples/cinema.yaml",
        "--dry-run",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let timeline = text(&output.stdout);
    assert!(
        timeline.contains("eu-lost") && timeline.contains("showrunner.dev/region=eu"),
        "{timeline}"
    );
}

#[test]
fn every_example_builds() {
    for example in ["cinema", "minimal", "production"] {
        let output = showrunner(&["build", "-f", &format!("examples/{example}.yaml")]);
        assert_eq!(output.status.code(), Some(0), "{example}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains("kind: StatefulSet"), "{example}");
    }
}

#[test]
fn definitions_are_printed() {
    let output = showrunner(&["crd"]);
    assert_eq!(output.status.code(), Some(0));
    let yaml = text(&output.stdout);
    for name in ["streamingplatforms", "premieres", "scenarios", "drills"] {
        assert!(yaml.contains(&format!("name: {name}.showrunner.dev")), "{name}");
    }
}

#[test]
fn evidence_that_is_none_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evidence.jsonl");
    std::fs::write(&path, "nonsense\n").unwrap();
    let output = showrunner(&["judge", &path.display().to_string()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("line 1"), "{}", text(&output.stderr));
}
