//! The bodies of error answers, as an API server and the proxies before it write them.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{body::UnreliableBody, fault::Refusal};

/// The `metav1.Status` of a refusal.
pub(crate) fn status(refusal: Refusal) -> Value {
    let (code, reason, message) = match refusal {
        Refusal::Conflict => (
            409,
            "Conflict",
            "the object has been modified; please apply your changes to the latest version and try again",
        ),
        Refusal::Expired => (410, "Expired", "too old resource version"),
        Refusal::TooManyRequests { .. } => (429, "TooManyRequests", "too many requests, please try again later"),
        Refusal::Internal => (
            500,
            "InternalError",
            "Internal error occurred: etcdserver: leader changed",
        ),
        Refusal::Unavailable { .. } => (
            503,
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        Refusal::Timeout => (
            504,
            "Timeout",
            "Timeout: request did not complete within the allotted timeout",
        ),
    };
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {},
        "status": "Failure", "message": message, "reason": reason, "code": code,
    });
    if let Refusal::TooManyRequests { retry_after, .. } = refusal {
        status["details"] = json!({ "retryAfterSeconds": retry_after });
    }
    status
}

/// The answer of a refusal.
pub(crate) fn response(refusal: Refusal) -> Response<UnreliableBody> {
    let status = status(refusal);
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let (kind, body) = match refusal {
        Refusal::TooManyRequests { text: true, .. } => (
            "text/plain; charset=utf-8",
            "Too many requests, please try again later.\n".to_owned(),
        ),
        Refusal::Unavailable { text: true } => (
            "text/html",
            "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n"
                .to_owned(),
        ),
        _ => ("application/json", status.to_string()),
    };
    let mut response = Response::new(UnreliableBody::full(Bytes::from(body)));
    *response.status_mut() = code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    if let Refusal::TooManyRequests { retry_after, .. } = refusal {
        headers.insert(header::RETRY_AFTER, retry_after.into());
    }
    response
}

/// The last event of a watch that ends with an error.
pub(crate) fn error_event(refusal: Refusal) -> Bytes {
    Bytes::from(format!("{}\n", json!({ "type": "ERROR", "object": status(refusal) })))
}
