//! Equality as the API server sees it.

use serde::Serialize;
use serde_json::Value;

/// Whether two objects mean the same. Zero, false, empty and absent are the same thing: a Go server drops such fields
/// and would make every status look changed, and every look at it a write.
pub(crate) fn same<T: Serialize>(a: &T, b: &T) -> bool {
    match (serde_json::to_value(a), serde_json::to_value(b)) {
        (Ok(a), Ok(b)) => pruned(a) == pruned(b),
        _ => false,
    }
}

/// As [`same`], for a value that may not be there yet: no status and a status of zeros are *not* the same.
pub(crate) fn same_status<T: Serialize>(old: Option<&T>, new: &T) -> bool {
    old.is_some_and(|old| same(old, new))
}

fn pruned(value: Value) -> Option<Value> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Number(number) if number.as_f64() == Some(0.0) => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => Some(Value::Array(
            items.into_iter().map(|item| pruned(item).unwrap_or_default()).collect(),
        )),
        Value::Object(map) => {
            let map: serde_json::Map<String, Value> = map
                .into_iter()
                .filter_map(|(key, value)| Some((key, pruned(value)?)))
                .collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_and_zero_are_the_same_but_values_are_not() {
        assert!(same(&json!({"a": 0, "b": [], "c": {"d": null}}), &json!({})));
        assert!(!same(&json!({"a": 1}), &json!({"a": 2})));
        assert!(!same(&json!([0, 1]), &json!([1])));
        assert!(!same_status(None, &json!({"a": 0})));
    }
}
