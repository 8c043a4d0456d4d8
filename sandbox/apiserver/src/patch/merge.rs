//! JSON Merge Patch (RFC 7386).

use serde_json::{Map, Value};

/// Merges `patch` into `target`; null removes.
pub(crate) fn apply(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            apply(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_removes_and_lists_are_replaced() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        apply(
            &mut object,
            &json!({"a": {"b": null, "d": {"e": null, "f": 3}}, "l": [3]}),
        );
        assert_eq!(object, json!({"a": {"c": 2, "d": {"f": 3}}, "l": [3]}));
    }
}
