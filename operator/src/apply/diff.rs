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
                _ => live.data.get(field).is_some_and(|live| covers(live, wanted)) || is_nothing(wanted),
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
            "ownerReferences" => serde_json::to_value(&live.owner_references).is_ok_and(|live| covers(&live, wanted)),
            _ => is_nothing(wanted),
        })
    })
}

/// Whether everything in `wanted` is in `live`; defaults and fields of others may be there besides. Elements of a list are
/// found by `name` where they have one, by position otherwise.
#[must_use]
pub(super) fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| live.get(key).is_some_and(|live| covers(live, wanted)) || is_nothing(wanted)),
        (Value::Array(live), Value::Array(wanted)) => wanted.iter().enumerate().all(|(index, wanted)| {
            let named = wanted.get("name").filter(|name| name.is_string());
            let found = match named {
                Some(name) => live.iter().find(|live| live.get("name") == Some(name)),
                None => live.get(index),
            };
            found.is_some_and(|live| covers(live, wanted))
        }),
        (live, wanted) => live == wanted,
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
            (
                json!([{"name": "x", "v": 0}, {"name": "y", "v": 1}]),
                json!([{"name": "y", "v": 1}]),
                true,
            ),
            (json!([{"name": "x", "v": 1}]), json!([{"name": "y", "v": 1}]), false),
            (json!(["a", "b"]), json!(["a", "b"]), true),
            (json!(["b", "a"]), json!(["a", "b"]), false),
            (json!(["a"]), json!(["a", "b"]), false),
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
