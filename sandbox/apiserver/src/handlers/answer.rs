//! Answers.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use crate::body::ApiBody;
use crate::registry::ResourceDef;
use crate::store::object::Stored;

/// A JSON answer.
pub(crate) fn json_bytes(status: StatusCode, body: Bytes) -> Response<ApiBody> {
    let mut response = Response::new(ApiBody::full(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A JSON answer, 200.
pub(crate) fn json(value: &Value) -> Response<ApiBody> {
    json_bytes(StatusCode::OK, serde_json::to_vec(value).unwrap_or_default().into())
}

/// No content, 204.
pub(crate) fn nothing() -> Response<ApiBody> {
    let mut response = Response::new(ApiBody::full(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Plain text, 200.
pub(crate) fn text(body: impl Into<Bytes>) -> Response<ApiBody> {
    let mut response = Response::new(ApiBody::full(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// A stored object as the version asked for.
pub(crate) fn object_json(def: &ResourceDef, object: &Stored) -> Bytes {
    if def.converts() {
        serde_json::to_vec(&def.served(&object.value))
            .unwrap_or_default()
            .into()
    } else {
        object.json()
    }
}

/// Adds warnings.
pub(crate) fn warn(mut response: Response<ApiBody>, warnings: &[String]) -> Response<ApiBody> {
    for warning in warnings {
        let text = format!("299 - \"{}\"", warning.replace('\\', "\\\\").replace('"', "\\\""));
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}
