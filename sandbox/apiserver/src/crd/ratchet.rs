//! Violations that were there before: an update that leaves a value as it was is not refused for it.
//!
//! So a definition can become stricter without making the objects that exist immutable.

use serde_json::Value;

use crate::error::Cause;
use crate::schema::{ListKind, Schema};

/// Whether what `cause` complains of is the same in both objects. Items of lists are compared where the list tells them
/// apart by keys; other lists only as a whole.
pub(crate) fn tolerated(schema: &Schema, old: &Value, new: &Value, cause: &Cause) -> bool {
    let mut steps = steps(&cause.field);
    if matches!(cause.reason, "FieldValueRequired" | "FieldValueDuplicate") {
        // Whoever lacks the field, or has an item twice, is what has to be unchanged.
        steps.pop();
    }
    let (mut schema, mut old, mut new) = (schema, old, new);
    for step in steps {
        if old == new {
            return true;
        }
        let (Some(before), Some(after), Some(inner)) = (match step {
            Step::Field(name) => (old.get(&name), new.get(&name), schema.known_field(&name)),
            Step::Item(index) => {
                let after = new.get(index);
                let before = after.and_then(|item| same_item(schema, old, item));
                (before, after, schema.items.as_ref())
            }
        }) else {
            return false;
        };
        (schema, old, new) = (inner.as_ref(), before, after);
    }
    old == new
}

/// The item of the old list that has the same keys.
fn same_item<'a>(schema: &Schema, old: &'a Value, item: &Value) -> Option<&'a Value> {
    let ListKind::Map(keys) = &schema.list else { return None };
    let mut items = old.as_array()?.iter();
    items.find(|candidate| keys.iter().all(|key| candidate.get(key) == item.get(key)))
}

enum Step {
    Field(String),
    Item(usize),
}

/// A path such as `spec.items[2].name`, taken apart.
fn steps(path: &str) -> Vec<Step> {
    let parts = path
        .split(['.', '['])
        .filter(|part| !part.is_empty() && *part != "<nil>");
    parts
        .map(|part| match part.strip_suffix(']').map(str::parse) {
            Some(Ok(index)) => Step::Item(index),
            _ => Step::Field(part.trim_end_matches(']').to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::schema::parse::parse;
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "called with literals")]
    fn tolerates(field: &str, old: Value, new: Value) -> bool {
        let item = json!({"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}});
        let schema = parse(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "size": {"type": "integer"},
            "plain": {"type": "array", "items": item.clone()},
            "parts": {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}}}}}))
        .unwrap();
        let cause = Cause::invalid(field, &Value::Null, "");
        tolerated(&schema, &json!({"spec": old}), &json!({"spec": new}), &cause)
    }

    #[test]
    fn a_value_that_did_not_change_is_tolerated() {
        assert!(tolerates(
            "spec.size",
            json!({"size": 9}),
            json!({"size": 9, "plain": []})
        ));
        assert!(!tolerates("spec.size", json!({"size": 9}), json!({"size": 10})));
        assert!(!tolerates("spec.size", json!({}), json!({"size": 10})));
        assert!(!tolerates("spec", json!({"size": 9}), json!({"size": 9, "plain": []})));
    }

    #[test]
    fn items_are_found_again_by_their_keys_alone() {
        let (a, b) = (json!({"name": "a", "n": 1}), json!({"name": "b", "n": 2}));
        assert!(tolerates(
            "spec.parts[0].n",
            json!({"parts": [a, b]}),
            json!({"parts": [b, a]})
        ));
        assert!(!tolerates(
            "spec.plain[0].n",
            json!({"plain": [a, b]}),
            json!({"plain": [b, a]})
        ));
        assert!(tolerates(
            "spec.plain[0].n",
            json!({"plain": [a, b]}),
            json!({"plain": [a, b], "size": 1})
        ));
    }

    #[test]
    fn what_is_missing_is_the_parents_matter() {
        let cause = Cause::required("spec.size", "");
        let schema = parse(&json!({"type": "object", "properties": {"spec": {"type": "object"}}})).unwrap();
        let old = json!({"spec": {}, "metadata": {}});
        assert!(tolerated(
            &schema,
            &old,
            &json!({"spec": {}, "metadata": {"labels": {}}}),
            &cause
        ));
        assert!(!tolerated(&schema, &old, &json!({"spec": {"x": 1}}), &cause));
    }
}
