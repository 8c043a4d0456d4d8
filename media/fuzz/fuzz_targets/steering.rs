//! Parameters that players send to a steering server.
#![no_main]

use std::{cell::RefCell, path::Path, sync::Arc};

use axum::{Router, body::Body};
use http::{Request, StatusCode, Uri};
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use showrunner_media::steering::{self, Steering, settings};
use tokio::runtime::Runtime;
use tower::ServiceExt;

const BASE: &str = "http://steer.test:8080";

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime"),
    );
    static APP: Router = steering::router(Arc::new(Steering::new(config())));
}

fn config() -> showrunner_crds::config::SteeringConfig {
    let pathway = |id: &str, weight: u32| json!({"id": id, "publicUrl": format!("http://{id}.test:8080"), "probeUrl": format!("http://{id}.test:8080/healthz"), "weight": weight});
    let config = json!({
        "publicUrl": BASE,
        "channels": [{
            "name": "main",
            "ladder": [{"name": "hi", "width": 640, "height": 360, "bitrateKbps": 600}],
            "audio": {"bitrateKbps": 48, "language": "en"},
            "frameRate": 25,
        }],
        "pathways": [pathway("eu", 3), pathway("us", 2), pathway("apac", 0)],
        "ttlSeconds": 10,
        "failover": true,
        "probe": {"intervalMs": 1000, "timeoutMs": 800, "failures": 2, "successes": 2},
    });
    settings::parse(Path::new("steering.json"), config.to_string().as_bytes()).expect("a configuration")
}

fn get(uri: Uri) -> (StatusCode, Vec<u8>) {
    let request = Request::get(uri).body(Body::empty()).expect("a request");
    let app = APP.with(Router::clone);
    RUNTIME.with_borrow(|runtime| {
        runtime.block_on(async {
            let response = app.oneshot(request).await.expect("a router does not fail");
            let status = response.status();
            let body = response.into_body().collect().await.expect("a body in memory");
            (status, body.to_bytes().to_vec())
        })
    })
}

fuzz_target!(|data: &[u8]| {
    let uri = |prefix: &[u8]| Uri::try_from([prefix, data].concat()).ok();
    // The parameters, then the path.
    if let Some(uri) = uri(b"/steer/main?") {
        manifest(uri);
    }
    if let Some(uri) = uri(b"/play/main/multivariant.m3u8?") {
        playlist(uri);
    }
    if let Some(uri) = uri(b"/steer/") {
        let (status, body) = get(uri);
        assert!(status.is_success() || status.is_client_error(), "{status}");
        assert!(body.len() < 4096);
    }
});

fn priority(body: &[u8]) -> (Value, String) {
    let manifest: Value = serde_json::from_slice(body).expect("a manifest is JSON");
    let reload = manifest["RELOAD-URI"].as_str().expect("a reload URI").to_owned();
    (manifest, reload)
}

fn manifest(uri: Uri) {
    let (status, body) = get(uri);
    if status == StatusCode::BAD_REQUEST {
        return assert!(body.len() < 4096, "a refusal is short");
    }
    assert_eq!(status, StatusCode::OK);
    assert!(body.len() < 1024, "what is echoed is bounded: {} bytes", body.len());
    let (manifest, reload) = priority(&body);
    assert_eq!((&manifest["VERSION"], &manifest["TTL"]), (&json!(1), &json!(10)));
    let mut names: Vec<&str> = manifest["PATHWAY-PRIORITY"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["apac", "eu", "us"], "every pathway once");
    // Whoever comes back by the reload URI is told the same: no player is moved by asking again.
    let path = reload.strip_prefix(BASE).expect("it leads back here");
    let (status, body) = get(path.parse().expect("a URI"));
    assert_eq!(
        (status, priority(&body)),
        (StatusCode::OK, (manifest.clone(), reload.clone()))
    );
}

fn playlist(uri: Uri) {
    let (status, body) = get(uri);
    if status == StatusCode::BAD_REQUEST {
        return;
    }
    assert_eq!(status, StatusCode::OK);
    assert!(body.len() < 8192);
    let text = std::str::from_utf8(&body).expect("a playlist is UTF-8");
    // Nothing of the request may add a line or end an attribute.
    assert_eq!(text.lines().count(), 4 + 3 * 3, "{text}");
    let steering: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("#EXT-X-CONTENT-STEERING:"))
        .collect();
    assert_eq!(steering.len(), 1);
    assert_eq!(steering[0].matches('"').count(), 4, "{}", steering[0]);
    let parsed = m3u8_rs::parse_master_playlist_res(&body).expect("a multivariant playlist");
    assert_eq!(parsed.variants.len(), 3);
}
