//! Each rule, broken: the function and the CEL form refuse the same platforms in the same words.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use kube_cel::Validator;
use serde_json::{Value, json};
use showrunner_crds::{
    crd,
    platform::StreamingPlatform,
    premiere::PremiereSpec,
    rules::{self, validate_platform, validate_premiere},
};

/// Two regions and everything that a rule may want to change.
fn platform() -> Value {
    json!({
        "apiVersion": "showrunner.dev/v1alpha1",
        "kind": "StreamingPlatform",
        "metadata": {"name": "cinema"},
        "spec": {
            "channels": [
                {"name": "main", "ladder": [
                    {"name": "hi", "width": 640, "height": 360, "bitrateKbps": 600},
                    {"name": "lo", "width": 256, "height": 144, "bitrateKbps": 120}]},
                {"name": "second", "ladder": [{"name": "hi", "width": 640, "height": 360, "bitrateKbps": 600}]},
            ],
            "regions": [{"name": "eu"}, {"name": "us"}, {"name": "apac", "roles": ["edge"]}],
            "services": [
                {"name": "entitlement", "kind": "entitlement"},
                {"name": "licence", "kind": "licence", "url": "https://licence.example.com"}],
        }
    })
}

/// The same, fit for production.
fn production() -> Value {
    let mut platform = platform();
    platform["spec"]["environment"] = json!("production");
    for region in platform["spec"]["regions"].as_array_mut().unwrap() {
        region["publicUrl"] = json!("https://x.example.com");
    }
    platform
}

/// Words of the CEL rules that an object breaks.
fn by_cel(kind: &str, object: &Value) -> BTreeSet<String> {
    let schema = crd::schema(&crd::crd(kind).unwrap());
    match Validator::new().validate(&schema, object, None) {
        Ok(()) => BTreeSet::new(),
        Err(errors) => errors.into_vec().into_iter().map(|error| error.message).collect(),
    }
}

struct Case {
    platform: Value,
    change: fn(&mut Value),
    /// Path and beginning of the message of each violation.
    broken: &'static [(&'static str, &'static str)],
}

fn case(platform: Value, change: fn(&mut Value), broken: &'static [(&'static str, &'static str)]) -> Case {
    Case {
        platform,
        change,
        broken,
    }
}

fn cases() -> Vec<Case> {
    vec![
        case(platform(), |_| (), &[]),
        case(production(), |_| (), &[]),
        // Names.
        case(
            platform(),
            |p| p["metadata"]["name"] = json!("1cinema"),
            &[("metadata.name", "the name must be a DNS label")],
        ),
        case(
            platform(),
            |p| p["metadata"]["name"] = json!("cin.ema"),
            &[("metadata.name", "the name must be a DNS label")],
        ),
        case(
            platform(),
            |p| p["metadata"]["name"] = json!("c".repeat(33)),
            &[("metadata.name", "the names of platform, region")],
        ),
        case(platform(), |p| p["metadata"]["name"] = json!("c".repeat(32)), &[]),
        case(
            platform(),
            |p| p["spec"]["services"][0]["name"] = json!("edge"),
            &[("spec.services[0].name", "a service may not have the name of a role")],
        ),
        case(
            platform(),
            |p| p["spec"]["services"][1]["name"] = json!("eu-licence"),
            &[(
                "spec.services[1].name",
                "a service's name may not begin with a region's",
            )],
        ),
        case(platform(), |p| p["spec"]["services"][1]["name"] = json!("europe"), &[]),
        // Channels.
        case(
            platform(),
            |p| p["spec"]["channels"][1]["name"] = json!("main"),
            &[("spec.channels[1].name", "names of channels must be unique")],
        ),
        case(
            platform(),
            |p| p["spec"]["channels"][0]["ladder"][1]["name"] = json!("hi"),
            &[("spec.channels[0].ladder[1].name", "names of rungs must be unique")],
        ),
        case(
            platform(),
            |p| p["spec"]["channels"][1]["ladder"][0]["name"] = json!("audio"),
            &[("spec.channels[1].ladder[0].name", "`audio` is the name")],
        ),
        case(
            platform(),
            |p| p["spec"]["channels"][0]["ladder"][0]["width"] = json!(641),
            &[("spec.channels[0].ladder[0].width", "width must be even")],
        ),
        case(
            platform(),
            |p| p["spec"]["channels"][0]["ladder"][1]["height"] = json!(145),
            &[("spec.channels[0].ladder[1].height", "height must be even")],
        ),
        case(
            platform(),
            |p| p["spec"]["channels"][0]["dvrWindow"] = json!("7999ms"),
            &[("spec.channels[0].dvrWindow", "dvrWindow must hold at least 4")],
        ),
        case(platform(), |p| p["spec"]["channels"][0]["dvrWindow"] = json!("8s"), &[]),
        case(
            platform(),
            |p| p["spec"]["channels"][1]["segmentSeconds"] = json!(10),
            &[],
        ),
        case(
            platform(),
            |p| {
                p["spec"]["channels"][1]["segmentSeconds"] = json!(10);
                p["spec"]["channels"][1]["dvrWindow"] = json!("39.5s");
            },
            &[("spec.channels[1].dvrWindow", "dvrWindow must hold at least 4")],
        ),
        // Regions.
        case(
            platform(),
            |p| p["spec"]["regions"][2]["name"] = json!("eu"),
            &[("spec.regions[2].name", "names of regions must be unique")],
        ),
        case(
            platform(),
            |p| p["spec"]["regions"][2]["roles"] = json!(["edge", "edge"]),
            &[("spec.regions[2].roles", "a role can be stated once")],
        ),
        case(
            platform(),
            |p| p["spec"]["regions"][2]["roles"] = json!(["edge", "origin"]),
            &[("spec.regions[2].roles", "encoder and origin go together")],
        ),
        case(
            platform(),
            |p| p["spec"]["regions"][2]["roles"] = json!(["edge", "encoder"]),
            &[("spec.regions[2].roles", "encoder and origin go together")],
        ),
        case(
            platform(),
            |p| {
                for index in 0..2 {
                    p["spec"]["regions"][index]["roles"] = json!(["shield", "edge", "steering", "services"]);
                }
            },
            &[(
                "spec.regions",
                "at least one region must have the roles encoder and origin",
            )],
        ),
        case(
            platform(),
            |p| {
                for index in 0..2 {
                    p["spec"]["regions"][index]["roles"] = json!(["encoder", "origin", "edge", "steering", "services"]);
                }
            },
            &[("spec.regions", "at least one region must have the role shield")],
        ),
        case(
            platform(),
            |p| {
                for index in 0..2 {
                    p["spec"]["regions"][index]["roles"] = json!(["encoder", "origin", "shield", "edge", "services"]);
                }
            },
            &[("spec.regions", "at least one region must have the role steering")],
        ),
        case(
            platform(),
            |p| {
                for index in 0..2 {
                    p["spec"]["regions"][index]["roles"] = json!(["encoder", "origin", "shield", "edge", "steering"]);
                }
            },
            &[("spec.services", "services without a url are deployed")],
        ),
        case(
            platform(),
            |p| {
                for index in 0..2 {
                    p["spec"]["regions"][index]["roles"] =
                        json!(["encoder", "origin", "shield", "steering", "services"]);
                }
                p["spec"]["regions"][2]["roles"] = json!(["shield"]);
            },
            &[
                ("spec.regions", "at least one region must have the role edge"),
                (
                    "spec.regions",
                    "at least one region with edges must have a weight above 0",
                ),
                ("spec.resilience.regionsToLose", "resilience.regionsToLose must be less"),
            ],
        ),
        case(
            platform(),
            |p| {
                for index in 0..3 {
                    p["spec"]["regions"][index]["weight"] = json!(0);
                }
            },
            &[(
                "spec.regions",
                "at least one region with edges must have a weight above 0",
            )],
        ),
        case(
            platform(),
            |p| p["spec"]["regions"][1]["publicUrl"] = json!("ftp://x"),
            &[("spec.regions[1].publicUrl", "publicUrl must begin with")],
        ),
        case(
            platform(),
            |p| p["spec"]["regions"][1]["publicUrl"] = json!("http://x"),
            &[],
        ),
        case(
            platform(),
            |p| p["spec"]["resilience"] = json!({"regionsToLose": 3}),
            &[("spec.resilience.regionsToLose", "resilience.regionsToLose must be less")],
        ),
        case(
            platform(),
            |p| p["spec"]["resilience"] = json!({"regionsToLose": 2}),
            &[],
        ),
        // Tiers.
        case(
            platform(),
            |p| p["spec"]["edge"] = json!({"autoscaling": {"minReplicas": 21}}),
            &[("spec.edge.autoscaling.minReplicas", "minReplicas must not be more")],
        ),
        case(
            platform(),
            |p| p["spec"]["edge"] = json!({"autoscaling": {"minReplicas": 20}}),
            &[],
        ),
        case(
            platform(),
            |p| p["spec"]["steering"] = json!({"probe": {"timeoutMs": 1000}}),
            &[("spec.steering.probe.timeoutMs", "timeoutMs must be less")],
        ),
        case(
            platform(),
            |p| p["spec"]["services"][1]["name"] = json!("entitlement"),
            &[("spec.services[1].name", "names of services must be unique")],
        ),
        case(
            platform(),
            |p| p["spec"]["services"][1]["url"] = json!("licence.example.com"),
            &[("spec.services[1].url", "url must begin with")],
        ),
        case(
            platform(),
            |p| {
                p["spec"].as_object_mut().unwrap().remove("services");
            },
            &[],
        ),
        // Production.
        case(
            production(),
            |p| p["spec"]["regions"][2]["roles"] = json!(["shield"]),
            &[("spec.regions", "production needs at least 3 regions with edges")],
        ),
        case(
            production(),
            |p| p["spec"]["regions"][1]["roles"] = json!(["edge"]),
            &[("spec.regions", "production needs at least 2 regions that encode")],
        ),
        case(
            production(),
            |p| p["spec"]["resilience"] = json!({"regionsToLose": 0}),
            &[("spec.resilience.regionsToLose", "production must survive")],
        ),
        case(
            production(),
            |p| p["spec"]["regions"][0]["publicUrl"] = json!("http://x"),
            &[("spec.regions[0].publicUrl", "in production every region with edges")],
        ),
        case(
            production(),
            |p| {
                p["spec"]["regions"][0].as_object_mut().unwrap().remove("publicUrl");
            },
            &[("spec.regions[0].publicUrl", "in production every region with edges")],
        ),
        case(
            production(),
            |p| p["spec"]["services"][1]["url"] = json!("http://x"),
            &[("spec.services[1].url", "in production the url of a service")],
        ),
    ]
}

#[test]
fn both_forms_refuse_the_same_in_the_same_words() {
    for (
        index,
        Case {
            mut platform,
            change,
            broken,
        },
    ) in cases().into_iter().enumerate()
    {
        change(&mut platform);
        let object: StreamingPlatform = serde_json::from_value(platform.clone()).unwrap();
        let found = validate_platform(&object);
        let matches = found.len() == broken.len()
            && broken
                .iter()
                .all(|(path, start)| found.iter().any(|v| v.path == *path && v.message.starts_with(start)));
        assert!(matches, "case {index}: expected {broken:?}, found {found:#?}");
        let words: BTreeSet<String> = found.into_iter().map(|violation| violation.message).collect();
        assert_eq!(by_cel("StreamingPlatform", &platform), words, "case {index}, by CEL");
    }
}

#[test]
fn no_rule_goes_untested() {
    let tested: BTreeSet<String> = cases()
        .into_iter()
        .flat_map(
            |Case {
                 mut platform, change, ..
             }| {
                change(&mut platform);
                validate_platform(&serde_json::from_value(platform).unwrap())
            },
        )
        .map(|violation| violation.message)
        .collect();
    for rule in rules::PLATFORM.iter().flat_map(|group| group.iter()) {
        assert!(tested.contains(rule.message), "no case breaks: {}", rule.message);
    }
}

#[test]
fn every_rule_compiles_and_none_is_too_expensive() {
    for definition in crd::all_crds() {
        let schema = crd::schema(&definition);
        let compiled = kube_cel::compile_schema(&schema);
        assert!(!compiled.has_errors(), "{:?}", compiled.compilation_errors());
    }
    let schema = crd::schema(&crd::crd("StreamingPlatform").unwrap());
    for rule in rules::PLATFORM.iter().flat_map(|group| group.iter()) {
        // The estimate looks one level deep for the bounds of lists: rules of the root loop over those of the spec.
        let at = if rule.at.is_empty() { "spec" } else { rule.at };
        let mut node = &schema;
        for step in at.split('.').filter(|step| !step.is_empty()) {
            node = &node["properties"][step.trim_end_matches("[]")];
            if step.ends_with("[]") {
                node = &node["items"];
            }
        }
        let warnings = kube_cel::estimate_rule_cost(rule.cel, &kube_cel::compile_schema(node));
        assert!(warnings.is_empty(), "{}: {warnings:?}", rule.at);
    }
}

#[test]
fn premieres() {
    for (ramp, duration, valid) in [
        ("5m", "3h", true),
        ("3h", "3h", true),
        ("3h1s", "3h", false),
        ("90s", "1m", false),
    ] {
        let spec = json!({"platform": "p", "start": "2027-01-01T20:00:00Z", "expectedViewers": 1, "ramp": ramp, "duration": duration});
        let object = json!({"metadata": {"name": "x"}, "spec": spec});
        let typed: PremiereSpec = serde_json::from_value(spec).unwrap();
        let words: BTreeSet<String> = validate_premiere(&typed)
            .into_iter()
            .map(|violation| violation.message)
            .collect();
        assert_eq!(words.is_empty(), valid, "{ramp} of {duration}");
        assert_eq!(by_cel("Premiere", &object), words, "{ramp} of {duration}, by CEL");
    }
}
