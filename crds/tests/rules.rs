//! Each rule, broken: the function and the CEL form refuse the same objects in the same words.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cases;

use std::collections::BTreeSet;

use cases::Case;
use kube_cel::Validator;
use serde_json::Value;
use showrunner_crds::{
    crd,
    rules::{self, Cluster, Rule, Violation, validate_platform, validate_premiere, validate_scenario},
};

/// Words of the CEL rules that an object breaks.
fn by_cel(schema: &Value, object: &Value) -> BTreeSet<String> {
    match Validator::new().validate(schema, object, None) {
        Ok(()) => BTreeSet::new(),
        Err(errors) => errors.into_vec().into_iter().map(|error| error.message).collect(),
    }
}

fn by_function(kind: &str, object: &Value) -> Vec<Violation> {
    let spec = object["spec"].clone();
    match kind {
        "StreamingPlatform" => validate_platform(&serde_json::from_value(object.clone()).unwrap()),
        "Premiere" => validate_premiere(&serde_json::from_value(spec).unwrap()),
        _ => validate_scenario(&serde_json::from_value(spec).unwrap(), None),
    }
}

/// Message, place and holder of every rule of a kind.
fn rules_of(kind: &str) -> Vec<(&'static str, &'static str, Cluster)> {
    fn list<T: 'static>(rules: impl Iterator<Item = &'static Rule<T>>) -> Vec<(&'static str, &'static str, Cluster)> {
        rules.map(|rule| (rule.message, rule.at, rule.cluster)).collect()
    }
    match kind {
        "StreamingPlatform" => list(rules::PLATFORM.iter().flat_map(|group| group.iter())),
        "Premiere" => list(rules::PREMIERE.iter()),
        _ => list(rules::SCENARIO.iter().flat_map(|group| group.iter())),
    }
}

fn all() -> [(&'static str, Vec<Case>); 3] {
    [
        ("StreamingPlatform", cases::platform::cases()),
        ("Premiere", cases::premiere::cases()),
        ("Scenario", cases::scenario::cases()),
    ]
}

#[test]
fn both_forms_refuse_the_same_in_the_same_words() {
    for (kind, cases) in all() {
        let schema = crd::schema(&crd::crd(kind).unwrap());
        let unheld: BTreeSet<&str> = rules_of(kind)
            .into_iter()
            .filter(|rule| !matches!(rule.2, Cluster::Cel(_)))
            .map(|rule| rule.0)
            .collect();
        for (index, Case { object, broken }) in cases.into_iter().enumerate() {
            let found = by_function(kind, &object);
            let matches = found.len() == broken.len()
                && broken
                    .iter()
                    .all(|(path, start)| found.iter().any(|v| v.path == *path && v.message.starts_with(start)));
            assert!(matches, "{kind} {index}: expected {broken:?}, found {found:#?}");
            let held = found
                .iter()
                .map(|violation| violation.rule)
                .filter(|rule| !unheld.contains(rule));
            let words: BTreeSet<String> = held.map(str::to_owned).collect();
            assert_eq!(by_cel(&schema, &object), words, "{kind} {index}, by CEL");
        }
    }
}

#[test]
fn no_rule_goes_untested() {
    for (kind, cases) in all() {
        let violations = cases.iter().flat_map(|case| by_function(kind, &case.object));
        let tested: BTreeSet<&str> = violations.map(|violation| violation.rule).collect();
        for (message, ..) in rules_of(kind) {
            assert!(tested.contains(message), "no case breaks: {message}");
        }
    }
}

#[test]
fn what_the_cluster_does_not_hold_is_known() {
    let unheld: Vec<&str> = ["StreamingPlatform", "Premiere", "Scenario"]
        .into_iter()
        .flat_map(rules_of)
        .filter(|rule| matches!(rule.2, Cluster::Nobody(_)))
        .map(|rule| rule.0)
        .collect();
    assert_eq!(
        unheld,
        ["a fault ends with the last phase at the latest: nobody would see it undone"]
    );
}

#[test]
fn every_rule_compiles_and_none_is_too_expensive() {
    for definition in crd::all_crds() {
        let schema = crd::schema(&definition);
        let compiled = kube_cel::compile_schema(&schema);
        assert!(!compiled.has_errors(), "{:?}", compiled.compilation_errors());
    }
    for kind in ["StreamingPlatform", "Premiere", "Scenario"] {
        let schema = crd::schema(&crd::crd(kind).unwrap());
        for (_, at, cluster) in rules_of(kind) {
            let Cluster::Cel(cel) = cluster else { continue };
            // The estimate looks one level deep for the bounds of lists: rules of the root loop over those of the spec.
            let at = if at.is_empty() { "spec" } else { at };
            let mut node = &schema;
            for step in at.split('.').filter(|step| !step.is_empty()) {
                node = &node["properties"][step.trim_end_matches("[]")];
                if step.ends_with("[]") {
                    node = &node["items"];
                }
            }
            let warnings = kube_cel::estimate_rule_cost(cel, &kube_cel::compile_schema(node));
            assert!(warnings.is_empty(), "{at}: {warnings:?}");
        }
    }
}
