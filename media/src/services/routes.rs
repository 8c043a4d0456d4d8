//! The HTTP surface of a service: each kind serves its own endpoint and no other.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    middleware,
    response::Response,
    routing::{get, post},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, de::DeserializeOwned};
use showrunner_crds::platform::ServiceKind;

use super::{
    AnswerLabels, Services, licence,
    token::{Claims, TokenError},
};
use crate::{epoch, server::reply};

/// Largest request body.
const MOST_BYTES: usize = 8 * 1024;
/// Time for a request body.
const BODY_DEADLINE: Duration = Duration::from_secs(5);
/// Longest name of a viewer.
const LONGEST_VIEWER: usize = 256;

/// A refusal: status and message.
type Refusal = (StatusCode, String);

/// Routes of a service.
pub fn router(services: Arc<Services>) -> Router {
    let own = match services.config.kind {
        ServiceKind::Entitlement => Router::new().route("/entitlement", post(entitlement)),
        ServiceKind::Licence => Router::new().route("/licence", post(give_licence)),
        ServiceKind::Session => Router::new().route("/heartbeat", post(heartbeat)),
        ServiceKind::Other => Router::new().route("/", get(other).post(other)),
    };
    Router::new()
        .merge(own.layer(middleware::from_fn(reply::cors)))
        .route("/healthz", get(async || reply::plain(StatusCode::OK, "ready\n")))
        .route("/livez", get(async || reply::plain(StatusCode::OK, "alive\n")))
        .route(
            "/metrics",
            get(async |State(services): State<Arc<Services>>| reply::metrics(&services.registry)),
        )
        .layer(middleware::from_fn(reply::span))
        .with_state(services)
}

#[derive(Deserialize)]
struct EntitlementRequest {
    viewer: String,
    channel: String,
}

async fn entitlement(State(services): State<Arc<Services>>, request: Request) -> Response {
    let answer = async {
        let asked: EntitlementRequest = parse(&body_of(request).await?)?;
        if asked.viewer.is_empty() || asked.viewer.len() > LONGEST_VIEWER {
            return Err((StatusCode::BAD_REQUEST, "viewer must have 1 to 256 bytes".to_owned()));
        }
        if !services.config.channels.contains(&asked.channel) {
            return Err((StatusCode::FORBIDDEN, "not entitled to this channel".to_owned()));
        }
        let seconds = u64::from(services.config.token_seconds);
        let claims = Claims {
            sub: asked.viewer,
            channel: asked.channel,
            exp: epoch::now().as_secs() + seconds,
        };
        let signed = services.signer.as_ref().and_then(|signer| signer.sign(&claims).ok());
        let token = signed.ok_or_else(internal)?;
        Ok(serde_json::json!({ "token": token, "expiresIn": seconds }))
    };
    finish(&services, "entitlement", answer.await)
}

async fn give_licence(State(services): State<Arc<Services>>, request: Request) -> Response {
    let answer = async {
        let signer = services.signer.as_ref().ok_or_else(internal)?;
        let unauthorised = |error: TokenError| (StatusCode::UNAUTHORIZED, error.to_string());
        let token =
            bearer(request.headers()).ok_or((StatusCode::UNAUTHORIZED, "a bearer token is needed".to_owned()))?;
        let claims = signer.verify(&token, epoch::now().as_secs()).map_err(unauthorised)?;
        if !services.config.channels.contains(&claims.channel) {
            return Err((StatusCode::FORBIDDEN, "not entitled to this channel".to_owned()));
        }
        let asked: licence::Request = parse(&body_of(request).await?)?;
        let granted = licence::grant(signer, &claims.channel, &asked)
            .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
        serde_json::to_value(granted).map_err(|_| internal())
    };
    finish(&services, "licence", answer.await)
}

async fn heartbeat(State(services): State<Arc<Services>>, request: Request) -> Response {
    let answer = async {
        let _: serde_json::Map<String, serde_json::Value> = parse(&body_of(request).await?)?;
        Ok(serde_json::json!({ "ok": true }))
    };
    finish(&services, "heartbeat", answer.await)
}

async fn other(State(services): State<Arc<Services>>) -> Response {
    let answer = Ok(serde_json::json!({ "service": services.config.name }));
    finish(&services, "other", answer)
}

fn finish(services: &Services, endpoint: &'static str, answer: Result<serde_json::Value, Refusal>) -> Response {
    let mut response = match answer {
        Ok(value) => reply::json(StatusCode::OK, &value),
        Err((status, message)) => reply::problem(status, &message),
    };
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    services
        .answers
        .get_or_create(&AnswerLabels {
            endpoint,
            status: response.status().as_u16(),
        })
        .inc();
    response
}

async fn body_of(request: Request) -> Result<Bytes, Refusal> {
    if reply::declares_more_than(request.headers(), MOST_BYTES as u64) {
        return Err((StatusCode::PAYLOAD_TOO_LARGE, "the body is too large".to_owned()));
    }
    let body = reply::read_body(request.into_body(), MOST_BYTES, BODY_DEADLINE).await;
    body.map_err(|(status, message)| (status, message.to_owned()))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, format!("bad JSON: {error}")))
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn internal() -> Refusal {
    (StatusCode::INTERNAL_SERVER_ERROR, "internal error".to_owned())
}
