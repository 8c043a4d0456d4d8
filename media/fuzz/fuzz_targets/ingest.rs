//! Bytes on a connection to an origin: request lines, paths, headers, chunked PUTs, pipelined.
#![no_main]

use std::{cell::RefCell, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use showrunner_crds::config::{OriginChannel, OriginConfig};
use showrunner_media::{
    bmff,
    origin::{self, Origin},
    server::{self, Limits},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Runtime,
};
use tower::ServiceExt;

/// More than any answer to a few kilobytes of requests.
const MOST: usize = 4 << 20;

thread_local! {
    // Time stands still while there is work and jumps when there is none: deadlines pass at once.
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"),
    );
}

fn origin() -> Arc<Origin> {
    let channel = OriginChannel {
        name: "main".into(),
        renditions: vec!["hi".into(), "audio".into()],
        segment_seconds: 2,
        dvr_seconds: 20,
    };
    let config = OriginConfig {
        region: "eu".into(),
        channels: vec![channel],
        freshness_enabled: true,
        max_age_percent: 175,
        max_object_bytes: 1024,
    };
    Arc::new(Origin::new(config, Limits::default()).expect("a configuration"))
}

fuzz_target!(|data: &[u8]| {
    // The first byte says how the rest is cut into writes.
    let Some((&piece, data)) = data.split_first() else {
        return;
    };
    let app = origin::router(origin());
    RUNTIME.with_borrow(|runtime| {
        runtime.block_on(async {
            let answer = converse(app.clone(), data, usize::from(piece).max(1)).await;
            judge(&answer);
            for rendition in ["hi", "audio"] {
                let (status, body) = get(app.clone(), &format!("/live/main/{rendition}/init.mp4")).await;
                match status {
                    StatusCode::OK => {
                        assert!(body.len() <= 1024, "more than an object may have");
                        assert!(bmff::inspect_init(&body).is_ok(), "only what is valid is served");
                    }
                    other => assert_eq!(other, StatusCode::NOT_FOUND),
                }
            }
            assert_eq!(get(app.clone(), "/livez").await.0, StatusCode::OK);
            let (_, metrics) = get(app, "/metrics").await;
            assert!(metrics.len() < 16 * 1024, "no request adds series without end");
        });
    });
});

async fn converse(app: axum::Router, data: &[u8], piece: usize) -> Vec<u8> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (mut reader, mut writer) = tokio::io::split(near);
    let limits = Limits {
        half_close: true,
        ..Limits::default()
    };
    let write = async {
        for piece in data.chunks(piece) {
            if writer.write_all(piece).await.is_err() {
                break;
            }
        }
        let _ = writer.shutdown().await;
    };
    let read = async {
        let mut answer = vec![];
        let _ = (&mut reader).take(MOST as u64).read_to_end(&mut answer).await;
        answer
    };
    let conversation = async {
        let ((), (), answer) = tokio::join!(server::serve_stream(far, app, limits), write, read);
        answer
    };
    tokio::time::timeout(Duration::from_secs(120), conversation)
        .await
        .expect("every wait has an end")
}

fn judge(answer: &[u8]) {
    assert!(answer.len() < MOST);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "an answer is HTTP");
    let status = |at: usize| std::str::from_utf8(answer.get(at..at + 3)?).ok()?.parse::<u16>().ok();
    if let Some(status) = status(9) {
        assert!(status < 500 || status == 503, "{status}");
    }
}

async fn get(app: axum::Router, path: &str) -> (StatusCode, Vec<u8>) {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let response = app.oneshot(request).await.expect("a router does not fail");
    let status = response.status();
    (
        status,
        response
            .into_body()
            .collect()
            .await
            .expect("a body in memory")
            .to_bytes()
            .to_vec(),
    )
}
