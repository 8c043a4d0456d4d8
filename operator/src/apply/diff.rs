//! Whether an object already is what we would send, pure: what is current is not sent again.

use std::collections::BTreeMap;

use kube::{
    ResourceExt,
    core::{DynamicObject, ObjectMeta},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::hex::hex;

/// Annotation with the hash of what was last sent: it tells a field that we no longer set from one that we never did.
pub const APPLIED_HASH: &str = "showrunner.dev/applied-hash";

/// Hash of a rendered object.
#[must_use]
pub(super) fn hash(body: &Value) -> String {
    // A tree of JSON values can always be written.
    let digest = Sha256::digest(serde_json::to_vec(body).unwrap_or_default());
    hex(&digest[..12])
}

/// The object with the annotation that [`is_current`] looks for.
#[must_use]
pub(super) fn stamped(body: &Value) -> Value {
    let mut stamped = body.clone();
    if let Some(metadata) = stamped.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata
            .entry("annotations")
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(APPLIED_HASH.to_owned(), Value::String(hash(body)));
        }
    }
    stamped
}

/// Whether sending `body` would change nothing: the same was sent last, and nobody has changed it since.
#[must_use]
pub(super) fn is_current(live: &DynamicObject, body: &Value) -> bool {
    live.metadata.deletion_timestamp.is_none()
        && live
            .annotations()
            .get(APPLIED_HASH)
            .is_some_and(|sent| *sent == hash(body))
        && body.as_object().is_some_and(|body| {
            body.iter().all(|(field, wanted)| match field.as_str() {
                // It was found as what it is.
                "apiVersion" | "kind" => true,
                "metadata" => metadata_covers(&live.metadata, wanted),
                _ => covers(live.data.get(field).unwrap_or(&Value::Null), wanted),
            })
        })
}

/// The same for metadata, of which we render what is named here.
fn metadata_covers(live: &ObjectMeta, wanted: &Value) -> bool {
    let text = |live: &Option<String>, wanted: &Value| live.as_deref() == wanted.as_str();
    let texts = |live: &Option<BTreeMap<String, String>>, wanted: &Value| {
        let covered = |(key, wanted): (&String, &Value)| {
            let live = live.as_ref().and_then(|live| live.get(key));
            live.map(String::as_str) == wanted.as_str()
        };
        wanted.as_object().is_some_and(|wanted| wanted.iter().all(covered))
    };
    wanted.as_object().is_some_and(|wanted| {
        wanted.iter().all(|(field, wanted)| match field.as_str() {
            "name" => text(&live.name, wanted),
            "namespace" => text(&live.namespace, wanted),
            "labels" => texts(&live.labels, wanted),
            "annotations" => texts(&live.annotations, wanted),
            "ownerReferences" => serde_json::to_value(&live.owner_references).is_ok_and(|live| among(&live, wanted)),
            _ => is_nothing(wanted),
        })
    })
}

/// Lists whose items are merged by a key (`x-kubernetes-list-type: map` or `set` in what Kubernetes publishes): others may
/// have items of their own in them. Every other list has one owner as a whole.
const MERGED_LISTS: [&str; 7] = [
    "containers",
    "env",
    "initContainers",
    "ports",
    "topologySpreadConstraints",
    "volumeMounts",
    "volumes",
];
/// Maps that have one owner as a whole (`x-kubernetes-map-type: atomic`): a Service with a key more in its selector selects
/// nothing.
const ATOMIC_MAPS: [&str; 5] = [
    "labelSelector",
    "namespaceSelector",
    "nodeSelector",
    "podSelector",
    "selector",
];

/// Whether everything in `wanted` is in `live`. Defaults and what others own may be there besides; not so in a list or map
/// that has one owner as a whole: what others add to it, they have taken from us.
#[must_use]
pub(super) fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(field, wanted)| {
            let live = live.get(field).unwrap_or(&Value::Null);
            match wanted {
                Value::Array(_) if MERGED_LISTS.contains(&field.as_str()) => among(live, wanted),
                Value::Array(_) => same(live, wanted),
                _ if ATOMIC_MAPS.contains(&field.as_str()) => same(live, wanted),
                _ => covers(live, wanted),
            }
        }),
        (live, wanted) => same(live, wanted),
    }
}

/// Whether each of the items of `wanted` is among those of `live`.
fn among(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Array(live), Value::Array(wanted)) => {
            wanted.iter().all(|wanted| live.iter().any(|live| covers(live, wanted)))
        }
        (_, wanted) => is_nothing(wanted),
    }
}

/// Whether the two are equal, but for what is nothing.
fn same(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            let known = |(field, live): (&String, &Value)| wanted.contains_key(field) || is_nothing(live);
            let held = |(field, wanted): (&String, &Value)| same(live.get(field).unwrap_or(&Value::Null), wanted);
            live.iter().all(known) && wanted.iter().all(held)
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| same(live, wanted))
        }
        (live, wanted) => live == wanted || is_nothing(live) && is_nothing(wanted),
    }
}

/// What the API server drops rather than stores.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_we_want_has_to_be_there_and_more_may_be() {
        for (live, wanted, expected) in [
            (json!({"a": 1, "b": 2}), json!({"a": 1}), true),
            (json!({"a": 1}), json!({"a": 2}), false),
            (json!({"a": {"b": 1, "default": true}}), json!({"a": {"b": 1}}), true),
            (json!({}), json!({"a": {}}), true),
            (json!({}), json!({"a": {"b": 1}}), false),
            (json!({}), json!({"a": [], "volumes": []}), true),
            (json!({"env": [x(0), y(1)]}), json!({"env": [y(1)]}), true),
            (
                json!({"env": [{"name": "x", "v": 1, "default": 2}]}),
                json!({"env": [x(1)]}),
                true,
            ),
            (json!({"env": [x(1)]}), json!({"env": [y(1)]}), false),
            (json!({"env": null}), json!({"env": [y(1)]}), false),
        ] {
            assert_eq!(covers(&live, &wanted), expected, "{live} covers {wanted}");
        }
    }

    fn x(v: i32) -> Value {
        json!({"name": "x", "v": v})
    }

    fn y(v: i32) -> Value {
        json!({"name": "y", "v": v})
    }

    #[test]
    fn what_has_one_owner_has_to_be_as_we_want_it() {
        for (live, wanted, expected) in [
            (json!({"args": ["a", "b"]}), json!({"args": ["a", "b"]}), true),
            (json!({"args": ["b", "a"]}), json!({"args": ["a", "b"]}), false),
            (json!({"args": ["a"]}), json!({"args": ["a", "b"]}), false),
            (json!({"args": ["a", "b"]}), json!({"args": ["a"]}), false),
            (json!({"ingress": [{}]}), json!({"ingress": []}), false),
            (
                json!({"ingress": [{"from": [], "ports": [1]}]}),
                json!({"ingress": [{"ports": [1]}]}),
                true,
            ),
            (
                json!({"ingress": [{"from": [2], "ports": [1]}]}),
                json!({"ingress": [{"ports": [1]}]}),
                false,
            ),
            (
                json!({"selector": {"app": "x"}}),
                json!({"selector": {"app": "x"}}),
                true,
            ),
            (
                json!({"selector": {"app": "x", "b": "y"}}),
                json!({"selector": {"app": "x"}}),
                false,
            ),
            (
                json!({"podSelector": {"matchLabels": {"b": "y"}}}),
                json!({"podSelector": {}}),
                false,
            ),
            (
                json!({"podSelector": {}}),
                json!({"podSelector": {"matchLabels": {}}}),
                true,
            ),
        ] {
            assert_eq!(covers(&live, &wanted), expected, "{live} covers {wanted}");
        }
    }

    fn stored(mut body: Value) -> DynamicObject {
        body["spec"]["defaulted"] = json!(true);
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn a_field_we_no_longer_set_is_noticed() {
        let before = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "spec": {"a": 1, "b": 2}});
        let after = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "spec": {"a": 1}});
        let live = stored(stamped(&before));
        assert!(is_current(&live, &before));
        assert!(!is_current(&live, &after));
    }

    #[test]
    fn what_others_change_is_noticed() {
        let body = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "spec": {"a": 1}});
        let mut changed = stamped(&body);
        changed["spec"]["a"] = json!(7);
        assert!(!is_current(&stored(changed), &body));
    }
}
