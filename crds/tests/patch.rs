//! What a scenario's `platformPatch` makes of a platform: every mistake, where the patch has it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;

use std::{fs, path::PathBuf};

use answers::SCENARIO;
use showrunner_crds::{
    platform::StreamingPlatformSpec,
    source::{read_platform_file, read_scenario},
};

/// A scenario with this patch.
fn scenario(patch: &str) -> String {
    let title = "  title: t\n";
    SCENARIO.replace(title, &format!("{title}  platformPatch:\n    {patch}\n"))
}

fn cinema() -> StreamingPlatformSpec {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/cinema.yaml");
    let file = read_platform_file("cinema.yaml", fs::read(path).unwrap()).unwrap();
    file.platform.spec
}

fn lines(text: &str) -> Vec<String> {
    let answer = read_scenario("f.yaml", text, Some(&cinema())).err();
    answer.map(|error| error.lines().collect()).unwrap_or_default()
}

fn patched(patch: &str) -> Vec<String> {
    lines(&scenario(patch))
}

#[test]
fn a_patch_that_leaves_a_platform_is_taken() {
    for patch in [
        "edge: {viewersPerReplica: 5}",
        "services: null",
        "{}",
        "regions: [{name: eu}, {name: us}]",
    ] {
        assert_eq!(patched(patch), Vec::<String>::new(), "{patch}");
    }
}

#[test]
fn every_mistake_of_a_patch_is_said_where_it_stands() {
    assert_eq!(
        patched("edge: {viewersPerReplica: 0, nope: 1}\n    regions: 3"),
        [
            "f.yaml:7:31: spec.platformPatch.edge.viewersPerReplica: 0 is below the minimum of 1".to_owned(),
            format!(
                "f.yaml:7:34: spec.platformPatch.edge.nope: unknown field; known: {}",
                "autoscaling, cacheMib, cpuMillis, egressMbps, viewersPerReplica"
            ),
            "f.yaml:8:14: spec.platformPatch.regions: expected a list, found the number 3".to_owned(),
        ]
    );
}

#[test]
fn a_patched_region_asks_for_node_labels_that_there_can_be() {
    let found = patched("regions: [{name: eu}, {name: us, placement: {nodeSelector: {disk: very fast}}}]");
    let start = "f.yaml:7:71: spec.platformPatch.regions[1].placement.nodeSelector.disk: `very fast` is not the value of a \
                 label: ";
    assert!(found.len() == 1 && found[0].starts_with(start), "{found:?}");
}

/// What is wrong with the patch hides nothing that is wrong with the scenario, and the other way round.
#[test]
fn a_patch_and_its_scenario_are_looked_at_together() {
    let text = scenario("edge: {viewersPerReplica: 0}")
        .replace("region: eu", "region: mars")
        .replace("channel: main", "channel: mian");
    let found = lines(&text);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(
        found[0],
        "f.yaml:7:31: spec.platformPatch.edge.viewersPerReplica: 0 is below the minimum of 1"
    );
    assert!(
        found[1].starts_with("f.yaml:9:14: spec.audience.channel: "),
        "{found:?}"
    );
    assert!(
        found[2].starts_with("f.yaml:10:24: spec.audience.regions[0].region: "),
        "{found:?}"
    );
}

/// A rule across fields is broken by what the patch says, by what the platform said before, or by what is gone.
#[test]
fn a_rule_is_broken_where_the_patch_has_the_field_and_else_at_the_patch() {
    let few = "minReplicas must not be more than maxReplicas";
    let found = patched("edge: {autoscaling: {minReplicas: 9, maxReplicas: 8}}");
    assert!(
        found.len() == 1 && found[0].starts_with("f.yaml:7:39: spec.platformPatch.edge.autoscaling.minReplicas: "),
        "{few}: {found:?}"
    );
    let found = patched("regions: [{name: eu}]");
    let start = "f.yaml:6:3: spec.platformPatch: gives spec.resilience.regionsToLose: ";
    assert!(found.len() == 1 && found[0].starts_with(start), "{found:?}");
    assert_eq!(
        patched("channels: null"),
        ["f.yaml:7:5: spec.platformPatch.channels: required, and not stated"]
    );
    assert_eq!(
        patched("channels: [{name: main}]"),
        ["f.yaml:7:16: spec.platformPatch.channels[0].ladder: required, and not stated"]
    );
    let found = patched("regions: []");
    assert!(!found.is_empty(), "{found:?}");
    for line in &found {
        let starts = [
            "f.yaml:7:14: spec.platformPatch.regions: 0 items: at least 1 needed",
            "f.yaml:7:5: spec.platformPatch.regions: ",
            "f.yaml:6:3: spec.platformPatch: gives spec.",
            "f.yaml:10:24: spec.audience.regions[0].region: ",
        ];
        assert!(starts.iter().any(|start| line.starts_with(start)), "{line}");
    }
}

#[test]
fn what_is_no_yaml_value_is_said_once() {
    assert_eq!(
        patched("edge: {cacheMib: .nan, cacheMib: .nan}"),
        [
            "f.yaml:7:22: spec.platformPatch.edge.cacheMib: expected a number, found `.nan`",
            "f.yaml:7:28: spec.platformPatch.edge.cacheMib: stated twice; first on line 7",
            "f.yaml:7:38: spec.platformPatch.edge.cacheMib: expected a number, found `.nan`",
        ]
    );
    assert_eq!(
        lines(&scenario("nonsense")),
        ["f.yaml:7:5: spec.platformPatch: expected fields, found the text `nonsense`"]
    );
}
