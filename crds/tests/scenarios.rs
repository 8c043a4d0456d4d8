//! Scenario rules, and every file that the repository ships.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use showrunner_crds::{
    platform::{Environment, PushTo, StreamingPlatformSpec},
    rules::{patched, validate_platform, validate_scenario},
    scenario::ScenarioSpec,
    source::{PlatformFile, read_platform_file, read_scenario},
};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty());
    files
}

fn example(name: &str) -> PlatformFile {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    read_platform_file(name, fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_example_is_valid() {
    for path in files("examples") {
        let file = read_platform_file(&path.display().to_string(), fs::read(&path).unwrap());
        assert_eq!(
            validate_platform(&file.unwrap_or_else(|error| panic!("{error}")).platform),
            []
        );
    }
}

#[test]
fn the_production_example_is_held_to_the_rules_of_production() {
    let mut file = example("production.yaml");
    assert_eq!(file.platform.spec.environment, Environment::Production);
    assert_eq!(file.premieres.len(), 2);
    file.platform.spec.regions[0].public_url = None;
    assert_eq!(validate_platform(&file.platform).len(), 1, "the rules are in force");
}

#[test]
fn every_scenario_is_valid_on_the_cinema() {
    let cinema = example("cinema.yaml").platform.spec;
    for path in files("scenarios") {
        let scenario = read_scenario(&path.display().to_string(), fs::read(&path).unwrap(), Some(&cinema));
        let scenario = scenario.unwrap_or_else(|error| panic!("{error}"));
        patched(&cinema, scenario.spec.platform_patch.as_ref()).unwrap();
    }
}

#[test]
fn controls_switch_off_what_they_prove() {
    let cinema = example("cinema.yaml").platform.spec;
    let on = |name: &str| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../scenarios")
            .join(name);
        let scenario = read_scenario(name, fs::read(path).unwrap(), Some(&cinema)).unwrap();
        patched(&cinema, scenario.spec.platform_patch.as_ref()).unwrap()
    };
    assert_eq!(on("premiere-night.yaml"), cinema);
    assert!(cinema.steering.failover && !on("control-steering-off.yaml").steering.failover);
    assert!(cinema.edge.autoscaling.enabled && !on("control-autoscaling-frozen.yaml").edge.autoscaling.enabled);
    let (loss, control) = (on("encoder-loss.yaml"), on("control-stale-origin.yaml"));
    assert!(loss.origin.freshness.enabled && !control.origin.freshness.enabled);
    assert_eq!(
        (loss.encoder.push_to, control.encoder.push_to),
        (PushTo::LocalOrigins, PushTo::LocalOrigins)
    );
}

#[test]
fn smoke_takes_ninety_seconds_at_most() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scenarios/smoke.yaml");
    let scenario = read_scenario("smoke.yaml", fs::read(path).unwrap(), None).unwrap();
    let total: f64 = scenario
        .spec
        .audience
        .phases
        .iter()
        .map(|phase| phase.duration.as_secs_f64())
        .sum();
    assert!(total <= 90.0, "{total} s");
}

fn scenario() -> Value {
    json!({
        "title": "t",
        "audience": {
            "channel": "main",
            "regions": [{"region": "eu", "share": 1}, {"region": "us", "share": 1}],
            "phases": [{"name": "up", "duration": "30s", "viewers": 10}, {"name": "on", "duration": "60s", "viewers": 10}],
        },
        "faults": [
            {"name": "lost", "start": {"phase": "on", "after": "10s"}, "duration": "20s", "action": {"regionLoss": {"region": "eu"}}},
            {"name": "other", "start": {"phase": "on", "after": "40s"}, "duration": "10s", "action": {"regionLoss": {"region": "us"}}},
        ],
        "gates": [
            {"name": "startup", "check": {"startupTime": {"percentile": 95.0, "below": "2s"}}, "within": {"phase": "on"}},
            {"name": "failover", "check": {"failoverTime": {"fault": "lost", "within": "10s"}},
             "within": {"fault": {"name": "lost", "after": "5s"}}},
        ],
    })
}

#[test]
fn each_mistake_of_a_scenario_is_found_where_it_is() {
    let cinema = example("cinema.yaml").platform.spec;
    let fault = |action: Value| json!({"name": "f", "start": {"phase": "on"}, "duration": "5s", "action": action});
    let gate = |check: Value| json!({"name": "g", "check": check});
    // What is replaced, by what, and what is said about it: nothing where empty.
    let cases: Vec<(&str, Value, &str)> = vec![
        ("/title", json!("t"), ""),
        (
            "/audience/phases/1/name",
            json!("up"),
            "spec.audience.phases[1].name: names of phases must be unique",
        ),
        (
            "/audience/phases/0/duration",
            json!("0s"),
            "spec.audience.phases[0].duration: a phase must last longer than 0s",
        ),
        (
            "/audience/regions/1/region",
            json!("eu"),
            "spec.audience.regions[1].region: a region's share can be stated once",
        ),
        (
            "/audience/regions/1/region",
            json!("mars"),
            "spec.audience.regions[1].region: there is no region `mars`; known: eu, us, apac",
        ),
        (
            "/audience/channel",
            json!("mian"),
            "spec.audience.channel: there is no channel `mian`; did you mean `main`? known: main",
        ),
        (
            "/faults/1/name",
            json!("lost"),
            "spec.faults[1].name: names of faults must be unique",
        ),
        (
            "/faults/0/start/phase",
            json!("oh"),
            "spec.faults[0].start.phase: there is no phase `oh`; did you mean `on`? known: up, on",
        ),
        (
            "/faults/0/start/after",
            json!("60s"),
            "spec.faults[0].start.after: phase `on` lasts 1m",
        ),
        (
            "/faults/1/duration",
            json!("21s"),
            "spec.faults[1].duration: the fault ends after the last phase",
        ),
        ("/faults/1/duration", json!("20s"), ""),
        (
            "/faults/1/duration",
            json!("0s"),
            "spec.faults[1].duration: the fault must last longer than 0s",
        ),
        (
            "/faults/0/action",
            json!({"regionLoss": {"region": "mars"}}),
            "spec.faults[0].action.regionLoss.region: there is no region `mars`",
        ),
        (
            "/faults/1",
            fault(json!({"podKill": {"role": "encoder", "region": "apac"}})),
            "spec.faults[1].action.podKill.region: region `apac` does not have the role encoder",
        ),
        (
            "/faults/1",
            fault(json!({"podKill": {"role": "encoder", "count": 0}})),
            "spec.faults[1].action.podKill.count: count must be at least 1",
        ),
        (
            "/faults/1",
            fault(json!({"cacheFlush": {"role": "origin"}})),
            "spec.faults[1].action.cacheFlush.role: only edge and shield have caches",
        ),
        (
            "/faults/1",
            fault(json!({"cacheFlush": {"role": "edge", "region": "apac"}})),
            "",
        ),
        (
            "/faults/1",
            fault(json!({"networkDelay": {"role": "edge", "latencyMs": 10, "jitterMs": 20}})),
            "spec.faults[1].action.networkDelay.jitterMs: jitterMs must not be more",
        ),
        (
            "/faults/1",
            fault(json!({"networkDelay": {"role": "edge", "latencyMs": 60_001}})),
            "spec.faults[1].action.networkDelay.latencyMs: latencyMs must be at most",
        ),
        (
            "/faults/1",
            fault(json!({"networkPartition": {"role": "origin", "region": "apac"}})),
            "spec.faults[1].action.networkPartition.region: region `apac` does not",
        ),
        (
            "/faults/1",
            fault(json!({"serviceBrownOut": {"service": "licence", "latencyMs": 10, "lossPercent": 101}})),
            "spec.faults[1].action.serviceBrownOut.lossPercent: lossPercent must be",
        ),
        (
            "/faults/1",
            fault(json!({"serviceBrownOut": {"service": "license", "latencyMs": 10}})),
            "spec.faults[1].action.serviceBrownOut.service: there is no service `license`; did you mean `licence`?",
        ),
        (
            "/gates/1/name",
            json!("startup"),
            "spec.gates[1].name: names of gates must be unique",
        ),
        (
            "/gates/0/within",
            json!({"phase": "off"}),
            "spec.gates[0].within.phase: there is no phase `off`",
        ),
        (
            "/gates/1/within",
            json!({"fault": {"name": "x"}}),
            "spec.gates[1].within.fault.name: there is no fault `x`",
        ),
        (
            "/gates/0/check",
            json!({"startupTime": {"percentile": 0.0, "below": "2s"}}),
            "spec.gates[0].check.startupTime.percentile: a percentile is",
        ),
        (
            "/gates/0/check",
            json!({"startupTime": {"percentile": 100.0, "below": "2s"}}),
            "",
        ),
        (
            "/gates/0/check",
            json!({"startupTime": {"percentile": 100.1, "below": "2s"}}),
            "spec.gates[0].check.startupTime.percentile: a percentile is",
        ),
        (
            "/gates/0",
            gate(json!({"rebufferRatio": {"belowPercent": 0.0}})),
            "spec.gates[0].check.rebufferRatio.belowPercent",
        ),
        (
            "/gates/0",
            gate(json!({"failoverTime": {"fault": "nope", "within": "1s"}})),
            "spec.gates[0].check.failoverTime.fault: there is no fault `nope`",
        ),
        (
            "/gates/0",
            gate(json!({"edgeScaling": {"surge": "nope", "within": "1s"}})),
            "spec.gates[0].check.edgeScaling.surge: there is no phase `nope`",
        ),
        (
            "/gates/0",
            gate(json!({"segmentHitRatio": {"abovePercent": 100.0}})),
            "spec.gates[0].check.segmentHitRatio.abovePercent",
        ),
        (
            "/gates/0",
            gate(json!({"originFetches": {"atMostPerObject": 0}})),
            "spec.gates[0].check.originFetches.atMostPerObject",
        ),
        (
            "/gates/0",
            gate(json!({"streamGap": {"below": "0s"}})),
            "spec.gates[0].check.streamGap.below",
        ),
    ];
    for (at, value, expected) in cases {
        let mut json = scenario();
        *json.pointer_mut(at).unwrap() = value.clone();
        let spec: ScenarioSpec = serde_json::from_value(json).unwrap();
        let found: Vec<String> = validate_scenario(&spec, Some(&cinema))
            .iter()
            .map(ToString::to_string)
            .collect();
        if expected.is_empty() {
            assert!(found.is_empty(), "{at} = {value}: {found:?}");
        } else {
            assert!(
                found.iter().any(|line| line.starts_with(expected)),
                "{at} = {value}: {found:?}"
            );
        }
    }
}

#[test]
fn a_service_of_others_cannot_be_browned_out() {
    let mut cinema = example("cinema.yaml").platform.spec;
    cinema.services[1].url = Some("https://licence.example.com".into());
    let mut json = scenario();
    json["faults"][1]["action"] = json!({"serviceBrownOut": {"service": "licence", "latencyMs": 10}});
    let found = validate_scenario(&serde_json::from_value(json).unwrap(), Some(&cinema));
    assert!(
        found
            .iter()
            .any(|violation| violation.message.contains("run by others")),
        "{found:?}"
    );
}

#[test]
fn the_last_region_with_edges_is_never_lost() {
    let cinema = example("cinema.yaml").platform.spec;
    let two: StreamingPlatformSpec = StreamingPlatformSpec {
        regions: cinema.regions[..2].to_vec(),
        ..cinema.clone()
    };
    let one = {
        let mut one = cinema.clone();
        one.regions.truncate(1);
        one.resilience.regions_to_lose = 0;
        one
    };
    let lost = |platform: &StreamingPlatformSpec, starts: [&str; 2]| {
        let mut json = scenario();
        json["audience"]["regions"] = json!([{"region": "eu", "share": 1}]);
        json["faults"][0]["start"]["after"] = json!(starts[0]);
        json["faults"][1]["start"]["after"] = json!(starts[1]);
        if platform.regions.len() == 1 {
            json["faults"].as_array_mut().unwrap().pop();
        }
        let found = validate_scenario(&serde_json::from_value(json).unwrap(), Some(platform));
        found
            .iter()
            .filter(|violation| violation.message.contains("would leave no region"))
            .count()
    };
    assert_eq!(lost(&cinema, ["10s", "20s"]), 0, "apac is left");
    assert_eq!(lost(&two, ["10s", "30s"]), 0, "one after the other");
    assert_eq!(lost(&two, ["10s", "29s"]), 1, "both at once, for a second");
    assert_eq!(lost(&one, ["10s", "30s"]), 1, "there is only one");
}

#[test]
fn a_patch_that_breaks_the_platform_is_refused() {
    let cinema = example("cinema.yaml").platform.spec;
    for (patch, expected) in [
        (
            json!({"edge": {"autoscaling": {"minReplicas": 9}}}),
            "minReplicas must not be more",
        ),
        (json!({"steering": {"failovr": false}}), "unknown field `failovr`"),
        (json!({"regions": []}), "at least one region"),
    ] {
        let mut json = scenario();
        json["platformPatch"] = patch;
        let found = validate_scenario(&serde_json::from_value(json).unwrap(), Some(&cinema));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, "spec.platformPatch");
        assert!(found[0].message.contains(expected), "{found:?}");
    }
}
