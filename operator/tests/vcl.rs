//! The rendered rules, run by the real cache in front of origins that misbehave on command.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use showrunner_operator::build::vcl::CacheTier;
use support::varnish::{Cache, FakeOrigin, until};

const PLAYLIST: &str = "/live/main/hi/index.m3u8";
const SEGMENT: &str = "/live/main/hi/seg_42.m4s";

#[tokio::test(flavor = "multi_thread")]
async fn the_second_viewer_is_served_from_memory() {
    let origin = FakeOrigin::start().await;
    let cache = Cache::start(CacheTier::Edge, &[&origin]).await;
    let first = cache.get(SEGMENT).await;
    assert_eq!((first.status, first.header("x-cache")), (200, Some("MISS")));
    let second = cache.get(&format!("{SEGMENT}?session=1234")).await;
    assert_eq!(
        (second.status, second.header("x-cache")),
        (200, Some("HIT")),
        "the query string is no part of the object"
    );
    assert_eq!(second.header("x-served-by"), Some("pod-under-test"));
    assert_eq!(second.header("access-control-allow-origin"), Some("*"));
    assert_eq!(first.body, second.body);
    assert_eq!(origin.hits(SEGMENT), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn low_latency_requests_are_objects_of_their_own() {
    let origin = FakeOrigin::start().await;
    let cache = Cache::start(CacheTier::Edge, &[&origin]).await;
    for query in [
        "?_HLS_msn=7&_HLS_part=2",
        "?x=1&_HLS_part=2&_HLS_msn=7&y=2",
        "?_HLS_msn=8",
    ] {
        assert_eq!(cache.get(&format!("{PLAYLIST}{query}")).await.status, 200, "{query}");
    }
    assert_eq!(origin.hits(&format!("{PLAYLIST}?_HLS_msn=7&_HLS_part=2")), 1);
    assert_eq!(origin.hits(&format!("{PLAYLIST}?_HLS_msn=8")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_makes_one_request() {
    let origin = FakeOrigin::start().await;
    origin.delay(Duration::from_millis(300));
    let cache = Cache::start(CacheTier::Edge, &[&origin]).await;
    let viewers = (0..60).map(|_| cache.get(SEGMENT));
    let answers = futures::future::join_all(viewers).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(origin.hits(SEGMENT), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_origin_answers_for_one_that_fails() {
    let (near, far) = (FakeOrigin::start().await, FakeOrigin::start().await);
    let cache = Cache::start(CacheTier::Shield, &[&near, &far]).await;
    for (n, status) in [500, 503, 404].into_iter().enumerate() {
        near.answer(status);
        let path = format!("/live/main/hi/seg_{n}.m4s");
        let answer = cache.get(&path).await;
        assert_eq!(
            (answer.status, near.hits(&path), far.hits(&path)),
            (200, 1, 1),
            "near answers {status}"
        );
    }
    // Nobody has it: that is what the viewer is told.
    far.answer(404);
    assert_eq!(cache.get("/live/main/hi/seg_99.m4s").await.status, 404);
    // Refused connections, before the probe has noticed.
    far.answer(200);
    near.kill();
    assert_eq!(cache.get("/live/main/hi/seg_100.m4s").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_origin_costs_a_deadline_not_a_session() {
    let (near, far) = (FakeOrigin::start().await, FakeOrigin::start().await);
    let cache = Cache::start(CacheTier::Shield, &[&near, &far]).await;
    near.delay(Duration::from_mins(1));
    let begun = std::time::Instant::now();
    assert_eq!(cache.get(SEGMENT).await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_is_better_than_an_error() {
    let (near, far) = (FakeOrigin::start().await, FakeOrigin::start().await);
    let cache = Cache::start(CacheTier::Shield, &[&near, &far]).await;
    assert_eq!(cache.get(PLAYLIST).await.status, 200);
    near.kill();
    far.kill();
    // Through the time in which the probes still believe in them, and beyond it.
    until("the cache calls itself sick", async || {
        let answer = cache.get(PLAYLIST).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        cache.get("/healthz").await.status == 503
    })
    .await;
    assert_eq!(cache.get(PLAYLIST).await.status, 200);
    // What was never fetched cannot be served.
    assert_eq!(cache.get(SEGMENT).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playlist_is_not_served_older_than_its_time() {
    let origin = FakeOrigin::start().await;
    let cache = Cache::start(CacheTier::Edge, &[&origin]).await;
    let first = cache.get(PLAYLIST).await.body;
    until("a fresh playlist", async || cache.get(PLAYLIST).await.body != first).await;
    // A viewer who comes after a pause gets a fresh one at once, not the stale one while it is fetched.
    let seen = cache.get(PLAYLIST).await.body;
    // The pause is what is tested: longer than the time to live and the grace that is given while all is well.
    tokio::time::sleep(Duration::from_millis(1700)).await;
    assert_ne!(cache.get(PLAYLIST).await.body, seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_the_origins() {
    let origin = FakeOrigin::start().await;
    let cache = Cache::start(CacheTier::Edge, &[&origin]).await;
    origin.healthy(false);
    until("sick", async || cache.get("/healthz").await.status == 503).await;
    assert_eq!(
        cache.get("/livez").await.status,
        200,
        "a cache without origins is alive"
    );
    origin.healthy(true);
    until("healthy", async || cache.get("/healthz").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_cache_says_so_and_still_serves() {
    let origin = FakeOrigin::start().await;
    let cache = Cache::start(CacheTier::Edge, &[&origin]).await;
    assert_eq!(cache.get(SEGMENT).await.header("connection"), Some("keep-alive"));
    std::fs::write(cache.drain_marker(), "").unwrap();
    assert_eq!(cache.get("/healthz").await.status, 503);
    let answer = cache.get(SEGMENT).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    std::fs::remove_file(cache.drain_marker()).unwrap();
    assert_eq!(cache.get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_admin_listener_flushes() {
    let origin = FakeOrigin::start().await;
    let cache = Cache::start(CacheTier::Edge, &[&origin]).await;
    cache.get(SEGMENT).await;
    assert_eq!(cache.request("POST", "/flush", &[]).await.status, 405);
    assert_eq!(cache.get("/flush").await.status, 404);
    assert_eq!(cache.get(SEGMENT).await.header("x-cache"), Some("HIT"));
    assert_eq!(cache.admin("GET", "/flush").await.status, 404);
    assert_eq!(
        cache.admin("GET", SEGMENT).await.status,
        404,
        "media is not served there"
    );
    assert_eq!(cache.admin("POST", "/flush").await.status, 200);
    assert_eq!(cache.get(SEGMENT).await.header("x-cache"), Some("MISS"));
    assert_eq!(origin.hits(SEGMENT), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_media_does_not_reach_the_origin() {
    let origin = FakeOrigin::start().await;
    let cache = Cache::start(CacheTier::Edge, &[&origin]).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = cache.request(method, SEGMENT, &[]).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD")),
            "{method}"
        );
    }
    for path in [
        "/",
        "/metrics",
        "/stats",
        "/ingest/main/hi/seg_1.m4s",
        "/live/main/hi/../../stats",
        "/live/main/hi/x.txt",
    ] {
        assert_eq!(cache.get(path).await.status, 404, "{path}");
    }
    assert_eq!(origin.total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shield_names_itself_and_nobody_else_does() {
    let origin = FakeOrigin::start().await;
    let shield = Cache::start(CacheTier::Shield, &[&origin]).await;
    let edge = Cache::start(CacheTier::Edge, &[&origin]).await;
    let forged = [("X-Showrunner-Shield", "someone-else")];
    shield.request("GET", SEGMENT, &forged).await;
    assert_eq!(origin.last_shield(), Some("pod-under-test".to_owned()));
    edge.request("GET", PLAYLIST, &forged).await;
    assert_eq!(origin.last_shield(), None);
}
