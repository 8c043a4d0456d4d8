#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{io::Write, sync::Arc};

use axum::{body::Body, extract::Request};
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{epoch, services::token::Claims};

fn services(kind: ServiceKind) -> Arc<Services> {
    let mut key = tempfile::NamedTempFile::new().unwrap();
    key.write_all(b"0123456789abcdef\n").unwrap();
    let key_file = key.path().display().to_string();
    let config = ServicesConfig {
        name: "svc".into(),
        kind,
        channels: vec!["main".into()],
        token_seconds: 60,
        key_file,
    };
    Arc::new(Services::new(config).unwrap())
}

async fn post(services: &Arc<Services>, uri: &str, token: Option<&str>, body: impl Into<Body>) -> (StatusCode, Value) {
    let mut request = Request::post(uri);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = router(Arc::clone(services))
        .oneshot(request.body(body.into()).unwrap())
        .await
        .unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_token_opens_the_licence() {
    let (entitlement, licence) = (services(ServiceKind::Entitlement), services(ServiceKind::Licence));
    let (status, answer) = post(
        &entitlement,
        "/entitlement",
        None,
        json!({"viewer": "ann", "channel": "main"}).to_string(),
    )
    .await;
    assert_eq!((status, &answer["expiresIn"]), (StatusCode::OK, &json!(60)));
    let asked = json!({"kids": ["LwVHf8JLtPrv2GUXFW2v_A"], "type": "temporary"}).to_string();
    let (status, answer) = post(&licence, "/licence", answer["token"].as_str(), asked).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&answer["type"], &answer["keys"][0]["kty"]),
        (&json!("temporary"), &json!("oct"))
    );
    assert_eq!(answer["keys"][0]["k"].as_str().unwrap().len(), 22);
}

#[tokio::test]
async fn refusals() {
    let (entitlement, licence, session) = (
        services(ServiceKind::Entitlement),
        services(ServiceKind::Licence),
        services(ServiceKind::Session),
    );
    let (status, answer) = post(&entitlement, "/entitlement", None, "{").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"].as_str().unwrap().contains("JSON"));
    let body = |viewer: &str, channel: &str| json!({"viewer": viewer, "channel": channel}).to_string();
    assert_eq!(
        post(&entitlement, "/entitlement", None, body("ann", "other")).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        post(&entitlement, "/entitlement", None, body("", "main")).await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        post(&entitlement, "/entitlement", None, vec![b' '; 100_000]).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(
        post(&entitlement, "/licence", None, "{}").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(post(&licence, "/licence", None, "{}").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(
        post(&licence, "/licence", Some("a.b"), "{}").await,
        (StatusCode::UNAUTHORIZED, json!({"error": "invalid token"}))
    );
    let claims = Claims {
        sub: "ann".into(),
        channel: "main".into(),
        exp: epoch::now().as_secs() - 1,
    };
    let expired = licence.signer.as_ref().unwrap().sign(&claims).unwrap();
    assert_eq!(
        post(&licence, "/licence", Some(&expired), "{}").await,
        (StatusCode::UNAUTHORIZED, json!({"error": "expired token"}))
    );
    assert_eq!(
        post(&session, "/heartbeat", None, "[]").await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        post(&session, "/heartbeat", None, r#"{"session":"s"}"#).await.0,
        StatusCode::OK
    );
}

#[test]
fn a_missing_or_short_key_stops_the_start() {
    let config = |key_file: String| ServicesConfig {
        name: "svc".into(),
        kind: ServiceKind::Licence,
        channels: vec![],
        token_seconds: 60,
        key_file,
    };
    assert!(matches!(
        Services::new(config("/nonexistent/key".into())),
        Err(ServicesError::KeyFile { .. })
    ));
    let mut key = tempfile::NamedTempFile::new().unwrap();
    key.write_all(b"short").unwrap();
    assert!(matches!(
        Services::new(config(key.path().display().to_string())),
        Err(ServicesError::ShortKey(_))
    ));
}
