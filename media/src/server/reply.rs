//! Answers that every role gives.

use std::time::Duration;

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tracing::Instrument;

/// `application/json` with a status.
pub fn json<T: serde::Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// `{"error": …}` with a status.
pub fn problem(status: StatusCode, message: &str) -> Response {
    json(status, &serde_json::json!({ "error": message }))
}

/// Plain text, not to be cached: health, metrics.
pub fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, text.into()).into_response()
}

/// Renders a Prometheus registry.
pub fn metrics(registry: &prometheus_client::registry::Registry) -> Response {
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (
        [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, "no-store"),
        ],
        text,
    )
        .into_response()
}

/// Reads a whole body of at most `most` bytes within `deadline`; else the answer to give: 413, 408, or 400 when the peer
/// broke off.
pub async fn read_body(body: Body, most: usize, deadline: Duration) -> Result<Bytes, (StatusCode, &'static str)> {
    match tokio::time::timeout(deadline, Limited::new(body, most).collect()).await {
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body took too long")),
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))
        }
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "the body ended early")),
    }
}

/// Whether the request says that its body is larger than `most`, so that it can be refused unread.
pub fn declares_more_than(headers: &http::HeaderMap, most: u64) -> bool {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    length.is_some_and(|length| length > most)
}

/// Runs each request in a span of its own.
pub async fn span(request: Request, next: Next) -> Response {
    let span = tracing::debug_span!("request", method = %request.method(), path = request.uri().path());
    next.run(request).instrument(span).await
}

/// Lets players on any site read the answer.
pub async fn cors(request: Request, next: Next) -> Response {
    let preflight = request.method() == http::Method::OPTIONS;
    let mut response = if preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if preflight {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, HEAD, POST, OPTIONS"),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Authorization, Content-Type, Range"),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    } else {
        let exposed = HeaderValue::from_static("Content-Length, Content-Range, ETag, X-Cache, X-Served-By");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response
}
