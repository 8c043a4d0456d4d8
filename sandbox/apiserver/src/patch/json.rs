//! JSON Patch (RFC 6902), as upstream's library reads it: `replace` adds a field that is not there, `copy` takes null from
//! one, and `test` for null succeeds on one. What names no place at all, such as a field of an object that is not there, is
//! refused, and with it the whole patch.

use serde_json::{Value, json};

use crate::error::{ApiError, ApiResult};

/// Most operations one patch may hold.
const MAX_OPERATIONS: usize = 10_000;

/// Applies a patch document.
pub(crate) fn apply(target: &Value, patch: &Value) -> ApiResult<Value> {
    let operations = patch.as_array().filter(|all| all.iter().all(Value::is_object));
    let operations =
        operations.ok_or_else(|| ApiError::bad_request("error decoding patch: not a list of operations"))?;
    for field in ["op", "path", "from"] {
        if operations
            .iter()
            .any(|operation| !matches!(operation[field], Value::Null | Value::String(_)))
        {
            return Err(ApiError::bad_request(format!(
                "error decoding patch: {field} is not a string"
            )));
        }
    }
    if operations.len() > MAX_OPERATIONS {
        let message = format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        );
        return Err(ApiError {
            code: 413,
            reason: "RequestEntityTooLarge",
            message,
            details: None,
        });
    }
    let mut out = target.clone();
    for operation in operations {
        step(&mut out, operation).ok_or_else(|| ApiError {
            code: 422,
            reason: "Invalid",
            message: "the server rejected our request due to an error in our request".to_owned(),
            details: Some(Box::new(json!({}))),
        })?;
    }
    Ok(out)
}

/// One operation; `None` where it cannot be done.
fn step(object: &mut Value, operation: &Value) -> Option<()> {
    let path = operation["path"].as_str()?;
    let from = operation["from"].as_str();
    let value = &operation["value"];
    match operation["op"].as_str()? {
        "add" => Place::of(object, path)?.add(value.clone()),
        "remove" => Place::of(object, path)?.remove().map(drop),
        "replace" if path.is_empty() => value.is_object().then(|| object.clone_from(value)),
        "replace" => Place::of(object, path)?.set(value.clone()),
        "move" => {
            let moved = Place::of(object, from?)?.remove()?;
            Place::of(object, path)?.add(moved)
        }
        "copy" => {
            let copied = Place::of(object, from?)?.get()?;
            Place::of(object, path)?.add(copied)
        }
        "test" if path.is_empty() => (object == value).then_some(()),
        "test" => (Place::of(object, path)?.get()? == *value).then_some(()),
        _ => None,
    }
}

/// A container, and a key in it that may be there or not.
struct Place<'a> {
    container: &'a mut Value,
    key: String,
}

impl<'a> Place<'a> {
    fn of(object: &'a mut Value, path: &str) -> Option<Self> {
        let (parents, key) = path
            .strip_prefix('/')
            .map(|path| path.rsplit_once('/').unwrap_or(("", path)))?;
        let parents = parents.split('/').filter(|_| !parents.is_empty());
        let mut container = object;
        for part in parents {
            let part = decode(part);
            container = match container {
                Value::Array(items) => items.get_mut(part.parse::<usize>().ok()?)?,
                other => other.get_mut(part)?,
            };
        }
        let key = decode(key);
        (container.is_object() || container.is_array()).then_some(Self { container, key })
    }

    /// The position that the key names in a list of so many; negative ones count from its end.
    fn index(&self, length: usize) -> Option<usize> {
        let index: isize = self.key.parse().ok()?;
        if index < 0 {
            length.checked_sub(index.unsigned_abs())
        } else {
            Some(index.unsigned_abs())
        }
    }

    fn get(self) -> Option<Value> {
        match &*self.container {
            Value::Object(fields) => Some(fields.get(&self.key).cloned().unwrap_or_default()),
            Value::Array(items) => items.get(self.index(items.len())?).cloned(),
            _ => None,
        }
    }

    fn set(self, value: Value) -> Option<()> {
        let index = self.container.as_array().map(|items| self.index(items.len()));
        match (self.container, index) {
            (Value::Array(items), Some(index)) => *items.get_mut(index?)? = value,
            (container, _) => drop(container.as_object_mut()?.insert(self.key, value)),
        }
        Some(())
    }

    fn add(self, value: Value) -> Option<()> {
        // The new item counts.
        let index = self.container.as_array().map(|items| match self.key.as_str() {
            "-" => Some(items.len()),
            _ => self.index(items.len() + 1).filter(|index| *index <= items.len()),
        });
        match (self.container, index) {
            (Value::Array(items), Some(index)) => items.insert(index?, value),
            (container, _) => drop(container.as_object_mut()?.insert(self.key, value)),
        }
        Some(())
    }

    fn remove(self) -> Option<Value> {
        let index = self
            .container
            .as_array()
            .map(|items| self.index(items.len()).filter(|index| *index < items.len()));
        match (self.container, index) {
            (Value::Array(items), Some(index)) => Some(items.remove(index?)),
            (container, _) => container.as_object_mut()?.remove(&self.key),
        }
    }
}

fn decode(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_test_for_null_accepts_a_missing_path() {
        let object = json!({"metadata": {"name": "a"}});
        let patch = json!([
            {"op": "test", "path": "/metadata/finalizers", "value": null},
            {"op": "add", "path": "/metadata/finalizers", "value": ["x/y"]},
        ]);
        let patched = apply(&object, &patch).unwrap();
        assert_eq!(patched["metadata"]["finalizers"], json!(["x/y"]));
        assert_eq!(apply(&patched, &patch).unwrap_err().code, 422);
    }

    #[test]
    fn a_failing_operation_fails_the_whole_patch() {
        let object = json!({"a": 1});
        let patch = json!([{"op": "replace", "path": "/a", "value": 2}, {"op": "remove", "path": "/b"}]);
        assert!(apply(&object, &patch).is_err());
        assert_eq!(object, json!({"a": 1}));
    }

    #[test]
    fn lists_are_changed_by_position() {
        let list = |patch: Value| apply(&json!({"l": [1, 2, 3]}), &json!([patch])).map(|object| object["l"].clone());
        assert_eq!(
            list(json!({"op": "add", "path": "/l/1", "value": 9})).unwrap(),
            json!([1, 9, 2, 3])
        );
        assert_eq!(
            list(json!({"op": "add", "path": "/l/3", "value": 9})).unwrap(),
            json!([1, 2, 3, 9])
        );
        assert_eq!(
            list(json!({"op": "add", "path": "/l/-", "value": 9})).unwrap(),
            json!([1, 2, 3, 9])
        );
        assert_eq!(list(json!({"op": "remove", "path": "/l/-1"})).unwrap(), json!([1, 2]));
        assert_eq!(
            list(json!({"op": "move", "from": "/l/0", "path": "/l/1"})).unwrap(),
            json!([2, 1, 3])
        );
        for path in ["/l/4", "/l/x", "/l/0/a"] {
            assert!(list(json!({"op": "add", "path": path, "value": 9})).is_err(), "{path}");
        }
        assert!(list(json!({"op": "replace", "path": "/l/3", "value": 9})).is_err());
    }

    #[test]
    fn a_field_that_is_not_there_can_be_replaced_but_has_no_fields() {
        let put = |path: &str| apply(&json!({"a": {}}), &json!([{"op": "replace", "path": path, "value": 1}]));
        assert_eq!(put("/a/b~1c").unwrap(), json!({"a": {"b/c": 1}}));
        assert!(put("/b/c").is_err());
    }
}
