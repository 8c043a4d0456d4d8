//! An origin behind a real socket, used and abused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Method, StatusCode};
use showrunner_crds::config::OriginChannel;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{bmff::synth, client::Client, server};

const DEADLINE: Duration = Duration::from_secs(10);

struct Running {
    address: SocketAddr,
    origin: Arc<Origin>,
    client: Client,
    shutdown: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn config() -> OriginConfig {
    let renditions = vec!["hi".into(), "audio".into()];
    let channel = OriginChannel {
        name: "main".into(),
        renditions,
        segment_seconds: 2,
        dvr_seconds: 20,
    };
    OriginConfig {
        region: "north".into(),
        channels: vec![channel],
        freshness_enabled: true,
        max_age_percent: 175,
        max_object_bytes: 100_000,
    }
}

async fn start(limits: Limits) -> Running {
    let origin = Arc::new(Origin::new(config(), limits).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    tokio::spawn(server::serve(
        listener,
        router(Arc::clone(&origin)),
        limits,
        shutdown.clone(),
    ));
    Running {
        address,
        origin,
        client: Client::new(),
        shutdown,
    }
}

impl Running {
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> (StatusCode, Bytes) {
        self.client
            .send(
                method,
                &format!("http://{}{path}", self.address),
                headers,
                body,
                DEADLINE,
            )
            .await
            .unwrap()
    }

    async fn get(&self, path: &str) -> (StatusCode, Bytes) {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    async fn put(&self, path: &str, body: Bytes) -> StatusCode {
        self.send(Method::PUT, path, &[], body).await.0
    }

    async fn put_inits(&self) {
        for rendition in ["hi", "audio"] {
            assert_eq!(
                self.put(&format!("/ingest/main/{rendition}/init.mp4"), synth::init())
                    .await,
                StatusCode::CREATED
            );
        }
    }

    /// Writes `request` as it is and returns what comes back until the connection closes.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn current() -> u64 {
    epoch::now().as_secs() / 2
}

fn path(rendition: &str, number: u64) -> String {
    format!("/ingest/main/{rendition}/seg_{number}.m4s")
}

#[tokio::test]
async fn the_first_of_two_encoders_wins() {
    let running = start(Limits::default()).await;
    assert_eq!(running.get("/healthz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let number = current();
    let (first, second) = (
        synth::segment(number * 2, 2, b"first"),
        synth::segment(number * 2, 2, b"second"),
    );
    assert_eq!(
        running.put(&path("hi", number), first.clone()).await,
        StatusCode::PRECONDITION_FAILED
    );
    running.put_inits().await;
    assert_eq!(
        running.put(&path("hi", number), first.clone()).await,
        StatusCode::CREATED
    );
    assert_eq!(
        running.get("/healthz").await.0,
        StatusCode::SERVICE_UNAVAILABLE,
        "audio is still missing"
    );
    assert_eq!(
        running.put(&path("audio", number), first.clone()).await,
        StatusCode::CREATED
    );
    assert_eq!(running.put(&path("hi", number), second).await, StatusCode::OK);
    assert_eq!(
        running.get(&format!("/live/main/hi/seg_{number}.m4s")).await,
        (StatusCode::OK, first)
    );
    assert_eq!(running.get("/healthz").await.0, StatusCode::OK);
    let stats = running.origin.report(0);
    assert_eq!((stats.published, stats.duplicates), (2, 1));
}

#[tokio::test]
async fn two_origins_render_the_same_bytes() {
    let (one, two) = (start(Limits::default()).await, start(Limits::default()).await);
    let last = current();
    for running in [&one, &two] {
        running.put_inits().await;
        for number in [last - 3, last - 2, last] {
            assert_eq!(
                running
                    .put(&path("hi", number), synth::segment(number * 2, 2, b"x"))
                    .await,
                StatusCode::CREATED
            );
        }
    }
    let (status, playlist) = one.get("/live/main/hi/index.m3u8").await;
    assert_eq!(
        (status, &playlist),
        (StatusCode::OK, &two.get("/live/main/hi/index.m3u8").await.1)
    );
    let gap = format!("#EXT-X-GAP\n#EXTINF:2.000,\nseg_{}.m4s", last - 1);
    assert!(String::from_utf8_lossy(&playlist).contains(&gap));
}

#[tokio::test]
async fn conditions_ranges_head_and_counts() {
    let running = start(Limits::default()).await;
    running.put_inits().await;
    let number = current();
    let body = synth::segment(number * 2, 2, &vec![7; 90_000]);
    running.put(&path("hi", number), body.clone()).await;
    let object = format!("/live/main/hi/seg_{number}.m4s");
    let shield = [("x-showrunner-shield", "shield-0")];
    let head = running
        .raw(format!("HEAD {object} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .to_lowercase();
    assert!(
        head.starts_with("http/1.1 200") && head.contains(&format!("content-length: {}", body.len())),
        "{head}"
    );
    assert!(
        head.contains("immutable") && head.contains("access-control-allow-origin: *") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    let etag = head
        .split("etag: ")
        .nth(1)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap()
        .to_owned();
    let (status, whole) = running
        .send(Method::GET, &object, &[("if-none-match", &etag)], Bytes::new())
        .await;
    assert_eq!((status, whole.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(
        running.origin.report(0).shields.len(),
        0,
        "nothing has been fetched in full"
    );
    let (status, part) = running
        .send(Method::GET, &object, &[("range", "bytes=4-7"), shield[0]], Bytes::new())
        .await;
    assert_eq!((status, &part[..]), (StatusCode::PARTIAL_CONTENT, &b"styp"[..]));
    assert_eq!(
        running
            .send(Method::GET, &object, &[("range", "bytes=999999-")], Bytes::new())
            .await
            .0,
        StatusCode::RANGE_NOT_SATISFIABLE
    );
    let whole = running
        .raw(
            format!("GET {object} HTTP/1.1\r\nhost: x\r\nx-showrunner-shield: shield-0\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        )
        .await;
    assert!(whole.starts_with("HTTP/1.1 200"));
    let (_, stats) = running.get("/stats").await;
    let stats: showrunner_crds::wire::OriginStats = serde_json::from_slice(&stats).unwrap();
    let fetched = &stats.shields["shield-0"];
    assert_eq!((fetched.objects, fetched.fetches, fetched.max_per_object), (1, 2, 2));
    assert_eq!(fetched.segments[0].segment, format!("main/hi/{number}"));
    let retry = format!(
        "GET {object} HTTP/1.1\r\nhost: x\r\nx-showrunner-shield: shield-0\r\nx-showrunner-try: 1\r\nconnection: close\r\n\r\n"
    );
    assert!(running.raw(retry.as_bytes()).await.starts_with("HTTP/1.1 200"));
    let (_, later) = running.get(&format!("/stats?since={}", stats.cursor)).await;
    let later: showrunner_crds::wire::OriginStats = serde_json::from_slice(&later).unwrap();
    assert_eq!(later.instance, stats.instance);
    assert_eq!(later.shields["shield-0"].segments[0].tries, [2, 1]);
    let (_, nothing) = running.get(&format!("/stats?since={}", later.cursor)).await;
    let nothing: showrunner_crds::wire::OriginStats = serde_json::from_slice(&nothing).unwrap();
    assert!(nothing.shields["shield-0"].segments.is_empty());
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_and_what_is_not_allowed_is_refused() {
    let running = start(Limits::default()).await;
    running.put_inits().await;
    let number = current();
    for target in [
        "/live/main/hi/../../../etc/passwd",
        "/live/main/hi/..%2f..%2f..%2fetc%2fpasswd",
        "/live/main/%2e%2e/init.mp4",
        "/live/main/lo/init.mp4",
        "/live/other/hi/init.mp4",
        "/live/main/hi/seg_00.m4s",
        "/live/main/hi/index.m3u8",
        "/live/main/hi/init.mp4%00",
    ] {
        let answer = running
            .raw(format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{target}: {answer}");
    }
    assert_eq!(
        running.put("/ingest/main/hi/..%2finit.mp4", synth::init()).await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        running.put("/ingest/main/lo/init.mp4", synth::init()).await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        running
            .put("/ingest/main/hi/index.m3u8", Bytes::from_static(b"#EXTM3U"))
            .await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        running.put(&path("hi", number), Bytes::from_static(b"<html>")).await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        running
            .put(&path("hi", number + 100), synth::segment((number + 100) * 2, 2, b"x"))
            .await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        running
            .put(&path("hi", number), synth::segment(number * 2 + 2, 2, b"x"))
            .await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    for (method, target) in [
        (Method::POST, "/live/main/hi/init.mp4"),
        (Method::GET, "/ingest/main/hi/init.mp4"),
        (Method::PUT, "/healthz"),
    ] {
        assert_eq!(
            running.send(method, target, &[], Bytes::new()).await.0,
            StatusCode::METHOD_NOT_ALLOWED,
            "{target}"
        );
    }
    assert_eq!(
        running.get(&format!("/live/main/hi/seg_{number}.m4s")).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn oversized_bodies_are_refused_declared_or_not() {
    let running = start(Limits::default()).await;
    running.put_inits().await;
    let target = path("hi", current());
    let declared = format!("PUT {target} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n");
    assert!(running.raw(declared.as_bytes()).await.starts_with("HTTP/1.1 413"));
    let mut chunked = format!("PUT {target} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..3 {
        chunked.extend_from_slice(b"c350\r\n");
        chunked.extend(vec![0; 50_000]);
        chunked.extend_from_slice(b"\r\n");
    }
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&chunked).await.unwrap();
    let mut answer = [0; 12];
    timeout(DEADLINE, stream.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_truncated_put_is_never_published() {
    let running = start(Limits::default()).await;
    running.put_inits().await;
    let number = current();
    let body = synth::segment(number * 2, 2, b"picture");
    let head = format!("PUT {} HTTP/1.1\r\nhost: x\r\n", path("hi", number));
    let short = [
        format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes(),
        &body[..body.len() - 1],
    ]
    .concat();
    running.raw(&short).await;
    // All the bytes, but the chunked coding is not closed: the sender died before it knew that it was done.
    let open = [
        format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len()).as_bytes(),
        &body,
        b"\r\n",
    ]
    .concat();
    running.raw(&open).await;
    assert_eq!(
        running.get(&format!("/live/main/hi/seg_{number}.m4s")).await.0,
        StatusCode::NOT_FOUND
    );
    let closed = [
        format!(
            "{head}transfer-encoding: chunked\r\nconnection: close\r\n\r\n{:x}\r\n",
            body.len()
        )
        .as_bytes(),
        &body,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&closed).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let brief = Duration::from_millis(200);
    let running = start(Limits {
        header: brief,
        stall: brief,
        body: brief,
        ..Limits::default()
    })
    .await;
    running.put_inits().await;
    let target = path("hi", current());
    // Half a head, and half a body.
    for begun in [
        "GET /livez HTTP/1.1\r\nhost".to_owned(),
        format!("PUT {target} HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\nstyp"),
    ] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let started = Instant::now();
        let mut answer = Vec::new();
        let _ = timeout(DEADLINE, stream.read_to_end(&mut answer))
            .await
            .expect("the server closes the connection");
        assert!(started.elapsed() >= brief / 2);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    assert_eq!(running.get("/livez").await.0, StatusCode::OK);
}

#[tokio::test]
async fn connections_are_bounded() {
    let running = start(Limits {
        connections: 2,
        ..Limits::default()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut byte = [0];
        timeout(DEADLINE, stream.read_exact(&mut byte)).await.unwrap().unwrap();
        held.push(stream);
    }
    let mut third = TcpStream::connect(running.address).await.unwrap();
    let mut byte = [0];
    let closed = timeout(DEADLINE, third.read(&mut byte)).await.expect("closed at once");
    assert!(matches!(closed, Ok(0) | Err(_)));
    drop(held);
    let freed = async {
        while running
            .client
            .send(
                Method::GET,
                &format!("http://{}/livez", running.address),
                &[],
                Bytes::new(),
                DEADLINE,
            )
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, freed)
        .await
        .expect("a closed connection frees its slot");
}

#[tokio::test]
async fn deletes_only_what_is_there() {
    let running = start(Limits::default()).await;
    running.put_inits().await;
    let number = current();
    running
        .put(&path("hi", number), synth::segment(number * 2, 2, b"x"))
        .await;
    assert_eq!(
        running
            .send(Method::DELETE, &path("hi", number), &[], Bytes::new())
            .await
            .0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        running
            .send(Method::DELETE, &path("hi", number), &[], Bytes::new())
            .await
            .0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        running
            .send(Method::DELETE, "/ingest/main/hi/init.mp4", &[], Bytes::new())
            .await
            .0,
        StatusCode::NOT_FOUND
    );
}

#[test]
fn broken_configurations_are_refused() {
    let refused = |change: fn(&mut OriginConfig)| {
        let mut config = config();
        change(&mut config);
        Origin::new(config, Limits::default()).unwrap_err()
    };
    assert_eq!(refused(|config| config.channels.clear()), OriginError::NoChannels);
    assert_eq!(
        refused(|config| config.channels[0].name = "../x".into()),
        OriginError::Name("../x".into())
    );
    assert_eq!(
        refused(|config| config.channels[0].renditions.clear()),
        OriginError::NoRenditions("main".into())
    );
    assert_eq!(
        refused(|config| config.channels.push(config.channels[0].clone())),
        OriginError::Twice("main".into())
    );
}
