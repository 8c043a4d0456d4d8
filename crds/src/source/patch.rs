//! A scenario's `platformPatch`: what it makes of a platform, held to all that a platform's file is held to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    diagnostics::{Finding, Place},
    documents::{said, touches},
    metadata,
    schema::{self, Checked},
    tree::{Entry, Kind, Node},
};
use crate::{platform::StreamingPlatformSpec, rules::validate};

/// A scenario's field.
pub(super) const PATH: &str = "spec.platformPatch";
/// What a scenario refers to.
const REFERRED: [&str; 3] = ["spec.channels", "spec.regions", "spec.services"];

/// A platform as a scenario patches it.
pub(super) struct Patched {
    /// The platform; `None` where what a scenario refers to could not be read.
    pub(super) platform: Option<StreamingPlatformSpec>,
    /// Everything that is wrong with it, at its place in the patch.
    pub(super) findings: Vec<Finding>,
    /// How many more mistakes there are.
    pub(super) unsaid: usize,
}

/// The platform that a document's patch gives (RFC 7386). `schema` is that of a platform's `spec`.
pub(super) fn patched(platform: &StreamingPlatformSpec, scenario: &Node, schema: &Value) -> Patched {
    let whole = |platform| Patched {
        platform,
        findings: vec![],
        unsaid: 0,
    };
    let patch = scenario.get("spec").and_then(|spec| spec.value.get("platformPatch"));
    let Some(patch) = patch.filter(|patch| matches!(patch.value.kind, Kind::Map(_))) else {
        return whole(Some(platform.clone()));
    };
    let Ok(base) = serde_json::to_value(platform) else {
        return whole(None);
    };
    // What comes from the platform stands nowhere in this file but where it is patched.
    let mut spec = merge(Some(from_json(base, patch.place)), &patch.value);
    spec.place = patch.place;
    let mut findings = vec![];
    let Checked { value, mended, unsaid } = schema::check(&spec, schema, "spec", &mut findings);
    let platform = serde_json::from_value(value).ok();
    let merged = document(spec, patch.place);
    let refused: BTreeSet<String> = findings.iter().map(|found| found.path.clone()).collect();
    for violation in said(platform.iter().flat_map(validate), &refused, &mended) {
        let place = merged.locate(&violation.path);
        findings.push(Finding::new(place, violation.path, violation.message));
    }
    findings.extend(metadata::mistakes(&merged));
    let stated = document(patch.value.clone(), patch.place);
    Patched {
        platform: platform.filter(|_| !REFERRED.iter().any(|part| touches(&mended, part))),
        findings: findings
            .into_iter()
            .map(|found| in_patch(found, patch, &stated))
            .collect(),
        unsaid,
    }
}

/// What is wrong with the patched platform, as a mistake of the scenario: at the field of the patch where the patch has it.
fn in_patch(found: Finding, patch: &Entry, stated: &Node) -> Finding {
    let (place, whole) = stated.follow(&found.path);
    if found.place == patch.place && !whole {
        let message = format!("gives {}: {}", found.path, found.message);
        return Finding::new(patch.place, PATH, message);
    }
    let place = if found.place == patch.place { place } else { found.place };
    let rest = found.path.strip_prefix("spec").unwrap_or_default();
    Finding::new(place, format!("{PATH}{rest}"), found.message)
}

/// A document of which nothing is known but its `spec`.
fn document(spec: Node, place: Place) -> Node {
    let key = "spec".to_owned();
    let kind = Kind::Map(vec![Entry {
        key,
        place,
        value: spec,
    }]);
    Node { place, kind }
}

/// RFC 7386, section 2, on trees that remember where each value stands: what `json_patch::merge` does on values.
fn merge(target: Option<Node>, patch: &Node) -> Node {
    let Kind::Map(changes) = &patch.kind else {
        return patch.clone();
    };
    let before = match target.map(|target| target.kind) {
        Some(Kind::Map(entries)) => entries,
        _ => vec![],
    };
    let mut entries: BTreeMap<String, Entry> = before.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
    for change in changes {
        let before = entries.remove(&change.key);
        if matches!(change.value.kind, Kind::Null) {
            continue;
        }
        let value = merge(before.map(|entry| entry.value), &change.value);
        let (key, place) = (change.key.clone(), change.place);
        entries.insert(key.clone(), Entry { key, place, value });
    }
    Node {
        place: patch.place,
        kind: Kind::Map(entries.into_values().collect()),
    }
}

/// A value of which every part stands at one place.
fn from_json(value: Value, place: Place) -> Node {
    let kind = match value {
        Value::Null => Kind::Null,
        Value::Bool(value) => Kind::Bool(value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Kind::Integer(value.into()),
            (_, Some(value)) => Kind::Integer(value.into()),
            _ => Kind::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Kind::Text(text),
        Value::Array(items) => Kind::List(items.into_iter().map(|item| from_json(item, place)).collect()),
        Value::Object(fields) => {
            let entry = |(key, value)| Entry {
                key,
                place,
                value: from_json(value, place),
            };
            Kind::Map(fields.into_iter().map(entry).collect())
        }
    };
    Node { place, kind }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_merge_as_they_do_on_values() {
        let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        for (target, patch) in [
            (json!({ "a": "b" }), json!({ "a": "c" })),
            (json!({ "a": "b" }), json!({ "b": 7, "c": -1.5 })),
            (json!({ "a": "b", "b": true }), json!({ "a": null })),
            (json!({ "a": ["b", { "c": 1 }] }), json!({ "a": [1, null] })),
            (json!({ "a": "b" }), json!({ "a": ["c"] })),
            (
                json!({ "a": { "b": "c", "d": "e" } }),
                json!({ "a": { "b": "f", "d": null } }),
            ),
            (json!({ "a": [1, 2] }), json!({ "a": { "b": { "c": null } } })),
            (json!({}), json!({ "a": { "b": { "c": null, "d": 1 } } })),
            (json!({ "a": 1 }), json!({})),
        ] {
            let place = Place::default();
            let merged = merge(Some(from_json(target.clone(), place)), &from_json(patch.clone(), place));
            let mut findings = vec![];
            let checked = schema::check(&merged, &anything, "", &mut findings);
            let mut expected = target.clone();
            json_patch::merge(&mut expected, &patch);
            assert_eq!(checked.value, expected, "{target} with {patch}");
            assert!(findings.is_empty());
        }
    }
}
