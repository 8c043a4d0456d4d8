//! Laws of server-side apply, on generated configurations.

#![allow(clippy::unwrap_used)]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::update::{self, Kind, Writer, note_update};
use super::{managers, merge};
use crate::error::ApiError;
use crate::schema::{Schema, parse};

/// A map, a list map with two keys, a set, an atomic list and an atomic map.
fn schema() -> Schema {
    parse::parse(&json!({"type": "object", "properties": {
        "data": {"type": "object", "additionalProperties": {"type": "string"}},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {"type": "object", "properties": {"port": {"type": "integer"},
                "protocol": {"type": "string", "default": "TCP"}, "name": {"type": "string"}}}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "args": {"type": "array", "items": {"type": "string"}},
        "selector": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
    }}))
    .unwrap()
}

/// Configurations whose keys all start with `prefix`, so that two prefixes never touch the same field.
fn config(prefix: &'static str) -> impl Strategy<Value = Value> {
    let port = if prefix == "a" { 1..50_i64 } else { 100..150_i64 };
    let word = || "[a-c]{1,2}";
    (
        btree_map(word(), word(), 0..4),
        btree_map((port, prop_oneof![Just("TCP"), Just("UDP")]), word(), 0..4),
        proptest::collection::btree_set(word(), 0..4),
        proptest::option::of(vec(word(), 1..3)),
    )
        .prop_map(move |(data, ports, tags, args)| {
            let mut out = Map::new();
            if !data.is_empty() {
                let data = data
                    .into_iter()
                    .map(|(k, v)| (format!("{prefix}{k}"), Value::from(v)))
                    .collect();
                out.insert("data".into(), Value::Object(data));
            }
            if !ports.is_empty() {
                let ports = ports.into_iter().map(|((port, protocol), name)| {
                    // TCP is the default of the key, so leaving it out names the same item.
                    if protocol == "TCP" {
                        json!({"port": port, "name": name})
                    } else {
                        json!({"port": port, "protocol": protocol, "name": name})
                    }
                });
                out.insert("ports".into(), ports.collect());
            }
            if !tags.is_empty() {
                out.insert(
                    "tags".into(),
                    tags.into_iter().map(|t| Value::from(format!("{prefix}{t}"))).collect(),
                );
            }
            if let (Some(args), "a") = (args, prefix) {
                out.insert("args".into(), json!(args));
                out.insert("selector".into(), json!({"k": args[0]}));
            }
            Value::Object(out)
        })
}

fn writer(manager: &str) -> Writer {
    Writer {
        manager: manager.to_owned(),
        api_version: "v1".to_owned(),
        subresource: String::new(),
        now: "2026-01-01T00:00:00Z".to_owned(),
    }
}

/// Applies a configuration.
fn apply(live: &Value, config: &Value, manager: &str, force: bool) -> Result<Value, ApiError> {
    let (schema, zero) = (schema(), json!({}));
    let kind = Kind {
        schema: &schema,
        zero: &zero,
        reset: &[],
    };
    update::apply(&kind, live, config, &writer(manager), force)
}

fn put(live: &Value, config: &Value, manager: &str) -> Value {
    apply(live, config, manager, false).unwrap()
}

/// The fields of an object without its metadata, lists in an order that does not matter.
fn content(object: &Value) -> Value {
    let mut out = object.clone();
    out.as_object_mut().unwrap().remove("metadata");
    for list in ["ports", "tags"] {
        if let Some(items) = out[list].as_array_mut() {
            items.sort_by_key(ToString::to_string);
        }
    }
    let fields = out.as_object_mut().unwrap();
    fields.retain(|_, value| !value.is_null());
    out
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(config in config("a")) {
        let once = put(&Value::Null, &config, "one");
        prop_assert_eq!(&put(&once, &config, "one"), &once);
        prop_assert_eq!(content(&once), content(&config));
    }

    #[test]
    fn disjoint_managers_commute(a in config("a"), b in config("b")) {
        let ab = put(&put(&Value::Null, &a, "one"), &b, "two");
        let ba = put(&put(&Value::Null, &b, "two"), &a, "one");
        prop_assert_eq!(content(&ab), content(&ba));
    }

    #[test]
    fn a_manager_that_applies_nothing_leaves_the_others_alone(a in config("a"), b in config("b")) {
        let both = put(&put(&Value::Null, &a, "one"), &b, "two");
        let without = put(&both, &json!({}), "two");
        let mut rest = content(&without);
        // An emptied container may stay behind as an empty one.
        rest.as_object_mut().unwrap().retain(|_, v| v != &json!({}) && v != &json!([]));
        prop_assert_eq!(rest, content(&a));
        prop_assert!(managers::read(&without).iter().all(|m| m.name != "two"));
    }

    #[test]
    fn moving_from_one_configuration_to_another_forgets_the_first(first in config("a"), second in config("a")) {
        let moved = put(&put(&Value::Null, &first, "one"), &second, "one");
        let mut rest = content(&moved);
        rest.as_object_mut().unwrap().retain(|_, v| v != &json!({}) && v != &json!([]));
        prop_assert_eq!(rest, content(&second));
    }

    #[test]
    fn a_conflict_is_refused_and_force_resolves_it(a in config("a"), value in "[d-f]{2}") {
        prop_assume!(a["data"].as_object().is_some_and(|data| !data.is_empty()));
        let key = a["data"].as_object().unwrap().keys().next().unwrap().clone();
        let other = json!({"data": {key.clone(): value}});
        let live = put(&Value::Null, &a, "one");
        let refused = apply(&live, &other, "two", false).unwrap_err();
        prop_assert_eq!(refused.code, 409);
        let forced = apply(&live, &other, "two", true).unwrap();
        prop_assert_eq!(&forced["data"][&key], &other["data"][&key]);
        let one = managers::read(&forced).into_iter().find(|m| m.name == "one");
        let path = format!(".data.{key}");
        prop_assert!(one.is_none_or(|m| !m.fields.paths().contains(&path)));
    }

    #[test]
    fn after_a_plain_write_every_field_has_an_owner(a in config("a"), b in config("b")) {
        // Where nobody has applied anything yet, nobody's ownership is noted.
        prop_assume!(a != json!({}));
        let live = put(&Value::Null, &a, "one");
        let mut new = live.clone();
        for (name, value) in b.as_object().unwrap() {
            new[name] = value.clone();
        }
        let (schema, zero) = (schema(), json!({}));
        let kind = Kind { schema: &schema, zero: &zero, reset: &[] };
        note_update(&kind, &live, &mut new, &writer("editor"));
        let mut owned = super::fields::FieldSet::default();
        for manager in managers::read(&new) {
            owned.unite(manager.fields);
        }
        let mut bare = new.clone();
        bare.as_object_mut().unwrap().remove("metadata");
        let named = merge::field_set(&schema, &bare);
        prop_assert!(named.difference(&owned).is_empty(), "unowned: {:?}", named.difference(&owned).paths());
    }
}
