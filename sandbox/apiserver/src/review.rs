//! Reviews: who may do what. Everybody may do everything here.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::json;

use crate::body::ApiBody;
use crate::engine::decode;
use crate::error::{ApiError, ApiResult};
use crate::handlers::answer;
use crate::request::ResourcePath;

/// Answers the reviews of authorization.k8s.io and authentication.k8s.io.
pub(crate) fn serve(path: &ResourcePath, parts: &Parts, body: &Bytes) -> ApiResult<Option<Response<ApiBody>>> {
    let status = match (path.group.as_str(), path.version.as_str(), path.resource.as_str()) {
        (
            "authorization.k8s.io",
            "v1",
            "selfsubjectaccessreviews" | "subjectaccessreviews" | "localsubjectaccessreviews",
        ) => json!({"allowed": true}),
        ("authorization.k8s.io", "v1", "selfsubjectrulesreviews") => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        ("authentication.k8s.io", "v1", "selfsubjectreviews") => {
            json!({"userInfo": {"username": "system:admin", "groups": ["system:masters", "system:authenticated"]}})
        }
        _ => return Ok(None),
    };
    if parts.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let content_type = parts
        .headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let mut review = if content_type.is_some_and(|found| found.starts_with(crate::protobuf::CONTENT_TYPE)) {
        decode::protobuf(body)?
    } else {
        decode::parse(body, false)?
    };
    if !review.is_object() {
        return Err(ApiError::bad_request(
            "the object provided is unrecognized (must be of type Object)",
        ));
    }
    review["status"] = status;
    Ok(Some(answer::json_bytes(
        StatusCode::CREATED,
        Bytes::from(review.to_string()),
    )))
}
