//! JSON Patch (RFC 6902), with Kubernetes' reading of `test` for null.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::error::{ApiError, ApiResult};

/// Most operations one patch may hold.
const MAX_OPERATIONS: usize = 10_000;

/// Applies a patch document. A `test` for null succeeds where the path is missing.
pub(crate) fn apply(target: &Value, patch: &Value) -> ApiResult<Value> {
    let Patch(operations) = serde_json::from_value(patch.clone())
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
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
        if let PatchOperation::Test(test) = &operation
            && test.value.is_null()
            && out.pointer(test.path.as_str()).is_none_or(Value::is_null)
        {
            continue;
        }
        json_patch::patch(&mut out, std::slice::from_ref(&operation)).map_err(|error| ApiError {
            code: 422,
            reason: "Invalid",
            message: format!("the server rejected our request due to an error in our request: {error}"),
            details: None,
        })?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

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
}
