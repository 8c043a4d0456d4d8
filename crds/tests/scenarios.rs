//! Scenario rules, and every file that the repository ships.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cases;

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use showrunner_crds::{
    platform::{Environment, PushTo, Role, StreamingPlatformSpec},
    rules::{AGAINST, patched, validate_platform, validate_scenario},
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
    cases::scenario::scenario()["spec"].clone()
}

/// Everything that a scenario can ask of a platform, asked in vain.
#[test]
fn each_vain_demand_is_found_where_it_is() {
    let cinema = example("cinema.yaml").platform.spec;
    let fault = |action: Value| json!({"name": "f", "start": {"phase": "on"}, "duration": "5s", "action": action});
    let own = |service: &str| fault(json!({"serviceBrownOut": {"service": service, "latencyMs": 10}}));
    // What is replaced, by what, and what is said about it: nothing where empty.
    let cases: Vec<(&str, Value, &str)> = vec![
        ("/title", json!("t"), ""),
        (
            "/audience/regions/1/region",
            json!("mars"),
            "spec.audience.regions[1].region: the audience is in regions of the platform: there is no region `mars`; known: eu, us, apac",
        ),
        (
            "/audience/channel",
            json!("mian"),
            "spec.audience.channel: the audience watches a channel of the platform: there is no channel `mian`; did you mean `main`? known: main",
        ),
        (
            "/faults/0/action",
            json!({"regionLoss": {"region": "mars"}}),
            "spec.faults[0].action.regionLoss.region: a fault is in a region of the platform: there is no region `mars`",
        ),
        (
            "/faults/1",
            fault(json!({"podKill": {"role": "encoder", "region": "apac"}})),
            "spec.faults[1].action.podKill.region: the region must have the role: `apac` does not have the role encoder",
        ),
        (
            "/faults/1",
            fault(json!({"networkPartition": {"role": "origin", "region": "apac"}})),
            "spec.faults[1].action.networkPartition.region: the region must have the role: `apac` does not",
        ),
        (
            "/faults/1",
            fault(json!({"cacheFlush": {"role": "edge", "region": "apac"}})),
            "",
        ),
        (
            "/faults/1",
            own("license"),
            "spec.faults[1].action.serviceBrownOut.service: a brown-out is of a service of the platform: there is no service `license`; did you mean `licence`?",
        ),
        ("/faults/1", own("licence"), ""),
    ];
    let mut said: Vec<&str> = vec![];
    for (at, value, expected) in cases {
        let mut json = scenario();
        *json.pointer_mut(at).unwrap() = value.clone();
        let spec: ScenarioSpec = serde_json::from_value(json).unwrap();
        let violations = validate_scenario(&spec, Some(&cinema));
        let found: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert_eq!(
            found.len(),
            usize::from(!expected.is_empty()),
            "{at} = {value}: {found:?}"
        );
        assert!(
            found.iter().all(|line| line.starts_with(expected)),
            "{at} = {value}: {found:?}"
        );
        said.extend(violations.iter().map(|violation| violation.rule));
    }
    // The rest have tests of their own, below.
    said.extend([
        "a region must have the role",
        "no fault can be injected into a service that is run by others",
        "a region with edges must be left",
        "drills reach pods of the platform's own cluster only",
    ]);
    for rule in AGAINST {
        assert!(said.contains(&rule.message), "no case asks in vain: {}", rule.message);
    }
}

#[test]
fn a_role_that_no_region_has_cannot_be_hit() {
    let mut cinema = example("cinema.yaml").platform.spec;
    for region in &mut cinema.regions {
        region.roles.retain(|role| *role != Role::Services);
    }
    cinema.services.clear();
    let mut json = scenario();
    json["faults"][1]["action"] = json!({"podKill": {"role": "services"}});
    let found = validate_scenario(&serde_json::from_value(json).unwrap(), Some(&cinema));
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        ["spec.faults[1].action.podKill.role: a region must have the role: none has the role services"]
    );
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

/// However it is said: every edge at once, and edges that together are all there are.
#[test]
fn the_last_edges_are_never_taken() {
    let cinema = example("cinema.yaml").platform.spec;
    let said = |faults: Value| {
        let mut json = scenario();
        json["faults"] = faults;
        json["gates"]
            .as_array_mut()
            .unwrap()
            .retain(|gate| !gate.to_string().contains("lost"));
        let found = validate_scenario(&serde_json::from_value(json).unwrap(), Some(&cinema));
        let found = found
            .iter()
            .filter(|violation| violation.rule == "a region with edges must be left");
        found.map(ToString::to_string).collect::<Vec<_>>()
    };
    let fault = |name: &str, after: &str, duration: &str, action: Value| json!({"name": name, "start": {"phase": "on", "after": after}, "duration": duration, "action": action});
    let every = "a region with edges must be left: it takes every edge of every region; name a region, or let podKill have a count";
    assert_eq!(
        said(json!([
            fault("a", "1s", "5s", json!({"networkPartition": {"role": "edge"}})),
            fault("b", "10s", "0s", json!({"podKill": {"role": "edge"}})),
            fault("c", "20s", "5s", json!({"podKill": {"role": "edge", "count": 2}})),
            fault("d", "20s", "5s", json!({"podKill": {"role": "origin"}})),
            fault(
                "e",
                "20s",
                "5s",
                json!({"networkDelay": {"role": "edge", "latencyMs": 5}})
            ),
        ])),
        [
            format!("spec.faults[0].action.networkPartition.role: {every}"),
            format!("spec.faults[1].action.podKill.role: {every}"),
        ]
    );
    let together = |last: &str| {
        said(json!([
            fault("a", "1s", "10s", json!({"regionLoss": {"region": "eu"}})),
            fault(
                "b",
                "1s",
                "10s",
                json!({"networkPartition": {"role": "edge", "region": "us"}})
            ),
            fault("c", last, "0s", json!({"podKill": {"role": "edge", "region": "apac"}})),
        ]))
    };
    assert_eq!(together("11s"), Vec::<String>::new(), "the others are back");
    assert_eq!(
        together("10s"),
        [
            "spec.faults[2].action.podKill.region: a region with edges must be left: the loss of `apac` would leave no region \
          with edges"
        ]
    );
}

/// A drill talks to the platform's own cluster: pods of another are not there for it.
#[test]
fn what_runs_in_another_cluster_is_out_of_reach() {
    let mut cinema = example("cinema.yaml").platform.spec;
    cinema.regions[1].cluster = serde_json::from_value(json!({"kubeconfigSecretRef": {"name": "us-cluster"}})).unwrap();
    let said = |platform: &StreamingPlatformSpec, action: Value| {
        let mut json = scenario();
        json["faults"][1]["action"] = action;
        let found = validate_scenario(&serde_json::from_value(json).unwrap(), Some(platform));
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let rule = "drills reach pods of the platform's own cluster only";
    for (action, field) in [
        (json!({"regionLoss": {"region": "us"}}), "regionLoss"),
        (
            json!({"podKill": {"role": "edge", "region": "us", "count": 1}}),
            "podKill",
        ),
        (
            json!({"networkDelay": {"role": "edge", "region": "us", "latencyMs": 5}}),
            "networkDelay",
        ),
        (
            json!({"networkPartition": {"role": "origin", "region": "us"}}),
            "networkPartition",
        ),
        (json!({"cacheFlush": {"role": "shield", "region": "us"}}), "cacheFlush"),
    ] {
        assert_eq!(
            said(&cinema, action),
            [format!(
                "spec.faults[1].action.{field}.region: {rule}: `us` runs in a cluster of its own"
            )]
        );
    }
    let flush = json!({"cacheFlush": {"role": "edge"}});
    let slow = json!({"serviceBrownOut": {"service": "licence", "latencyMs": 10}});
    for action in [
        &flush,
        &slow,
        &json!({"podKill": {"role": "edge", "region": "apac", "count": 1}}),
    ] {
        assert_eq!(
            said(&cinema, action.clone()),
            Vec::<String>::new(),
            "some of them are here"
        );
    }
    let everywhere = cinema.regions[1].cluster.clone();
    for region in cinema.regions.iter_mut().skip(2) {
        region.cluster.clone_from(&everywhere);
    }
    let eu = &mut cinema.regions[0].roles;
    eu.retain(|role| !matches!(role, Role::Edge | Role::Services));
    let last = |action: &Value| said(&cinema, action.clone()).pop().unwrap();
    let of = |role: &str| format!("{rule}: every region with the role {role} runs in a cluster of its own");
    assert_eq!(
        last(&flush),
        format!("spec.faults[1].action.cacheFlush.role: {}", of("edge"))
    );
    assert_eq!(
        last(&slow),
        format!("spec.faults[1].action.serviceBrownOut.service: {}", of("services"))
    );
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
