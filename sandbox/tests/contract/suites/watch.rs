//! Streams of changes.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};

use super::objects::{config_map, labelled, schema, version};
use crate::context::{Context, DEADLINE, MERGE_PATCH};
use crate::trace::Exchange;

crate::registry::suite!("watch":
    changes_arrive_in_order, a_watch_resumes_from_a_version, without_a_version_it_begins_with_what_is_there,
    entering_a_selector_is_an_addition, leaving_a_selector_is_a_deletion, a_change_within_a_selector_is_a_change,
    one_object_by_field, bookmarks_carry_a_version, the_initial_state_ends_with_a_bookmark,
    initial_events_need_a_version_match, a_watch_ends_at_its_timeout,
    the_last_state_of_what_was_deleted, writes_that_change_nothing_are_no_events, custom_resources_too,
    a_namespace_hears_only_its_own, several_watches_hear_the_same, deletion_with_a_finalizer_is_a_change_first,
    a_version_that_is_no_number, a_path_is_read_not_watched,
);

/// An open watch.
pub(crate) struct Watch {
    c: Context,
    path: String,
    chunks: BoxStream<'static, Bytes>,
    buffer: Vec<u8>,
}

impl Watch {
    pub(crate) async fn open(c: &Context, path: String) -> Self {
        let request = http::Request::get(&path)
            .header("accept", "application/json")
            .body(Body::empty())
            .unwrap();
        let response = tokio::time::timeout(DEADLINE, c.client.send(request))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        let chunks = response
            .into_body()
            .into_data_stream()
            .filter_map(async |chunk| chunk.ok())
            .boxed();
        Self {
            c: c.clone(),
            path,
            chunks,
            buffer: Vec::new(),
        }
    }

    /// The next event; `None` at the end of the watch.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let event = self.read().await?;
        self.c.trace.lock().unwrap().push(Exchange {
            method: "EVENT".into(),
            path: self.path.clone(),
            content_type: None,
            sent: None,
            code: 200,
            warnings: Vec::new(),
            body: event.clone(),
        });
        Some(event)
    }

    /// The next event, which is no part of the trace.
    pub(crate) async fn read(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk = tokio::time::timeout(DEADLINE, self.chunks.next()).await;
            self.buffer
                .extend(chunk.unwrap_or_else(|_| panic!("no event on {}", self.path))?);
        }
    }

    /// The next event, which must be of this type and about this object.
    pub(crate) async fn expect<'a>(&'a mut self, kind: &'a str, name: &'a str) -> Value {
        let event = self
            .next()
            .await
            .unwrap_or_else(|| panic!("the watch ended before {kind} of {name}"));
        let told = (event["type"].as_str(), event["object"]["metadata"]["name"].as_str());
        assert_eq!(told, (Some(kind), Some(name)), "{event}");
        event["object"].clone()
    }
}

/// A watch of this test's ConfigMaps from now on.
async fn maps(c: &Context, query: &str) -> Watch {
    let now = version(&c.get(c.maps()).await.ok());
    Watch::open(c, format!("{}?watch=true&resourceVersion={now}{query}", c.maps())).await
}

async fn changes_arrive_in_order(c: Context) {
    let mut watch = maps(&c, "").await;
    let path = format!("{}/one", c.maps());
    let made = c.post(c.maps(), &config_map("one", json!({"k": "1"}))).await.code(201);
    let changed = c
        .patch(&path, MERGE_PATCH, &json!({"data": {"k": "2"}}))
        .await
        .code(200);
    c.delete(&path).await.code(200);
    assert_eq!(watch.expect("ADDED", "one").await, made);
    assert_eq!(watch.expect("MODIFIED", "one").await, changed);
    let deleted = watch.expect("DELETED", "one").await;
    assert_eq!(deleted["data"]["k"], "2");
}

async fn a_watch_resumes_from_a_version(c: Context) {
    let first = c.post(c.maps(), &config_map("a", json!({}))).await.code(201);
    c.post(c.maps(), &config_map("b", json!({}))).await.code(201);
    c.post(c.maps(), &config_map("c", json!({}))).await.code(201);
    let mut watch = Watch::open(&c, format!("{}?watch=1&resourceVersion={}", c.maps(), version(&first))).await;
    watch.expect("ADDED", "b").await;
    watch.expect("ADDED", "c").await;
}

async fn without_a_version_it_begins_with_what_is_there(c: Context) {
    c.post(c.maps(), &config_map("a", json!({}))).await.code(201);
    c.post(c.maps(), &config_map("b", json!({}))).await.code(201);
    for query in ["", "&resourceVersion=0"] {
        let mut watch = Watch::open(&c, format!("{}?watch=true{query}", c.maps())).await;
        // In no order that is promised.
        let mut seen = Vec::new();
        for _ in 0..2 {
            let event = watch.read().await.unwrap();
            assert_eq!(event["type"], "ADDED");
            seen.push(event["object"]["metadata"]["name"].as_str().unwrap().to_owned());
        }
        seen.sort();
        assert_eq!(seen, ["a", "b"]);
    }
}

async fn entering_a_selector_is_an_addition(c: Context) {
    let mut watch = maps(&c, "&labelSelector=app%3Dx").await;
    c.post(c.maps(), &labelled("one", json!({"app": "y"}))).await.code(201);
    let label = json!({"metadata": {"labels": {"app": "x"}}});
    let entered = c
        .patch(format!("{}/one", c.maps()), MERGE_PATCH, &label)
        .await
        .code(200);
    assert_eq!(watch.expect("ADDED", "one").await, entered);
}

async fn leaving_a_selector_is_a_deletion(c: Context) {
    let path = format!("{}/one", c.maps());
    let mut watch = maps(&c, "&labelSelector=app%3Dx").await;
    c.post(c.maps(), &labelled("one", json!({"app": "x"}))).await.code(201);
    let left = c
        .patch(&path, MERGE_PATCH, &json!({"metadata": {"labels": {"app": "y"}}}))
        .await
        .code(200);
    watch.expect("ADDED", "one").await;
    let deleted = watch.expect("DELETED", "one").await;
    assert_eq!(deleted["metadata"]["labels"]["app"], "x", "as the watcher last knew it");
    assert_eq!(version(&deleted), version(&left), "at the version of the change");
}

async fn a_change_within_a_selector_is_a_change(c: Context) {
    let path = format!("{}/one", c.maps());
    let mut watch = maps(&c, "&labelSelector=app").await;
    c.post(c.maps(), &labelled("one", json!({"app": "x"}))).await.code(201);
    c.patch(&path, MERGE_PATCH, &json!({"metadata": {"labels": {"app": "y"}}}))
        .await
        .code(200);
    watch.expect("ADDED", "one").await;
    watch.expect("MODIFIED", "one").await;
}

async fn one_object_by_field(c: Context) {
    let mut watch = maps(&c, "&fieldSelector=metadata.name%3Dtwo").await;
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    c.post(c.maps(), &config_map("two", json!({}))).await.code(201);
    watch.expect("ADDED", "two").await;
}

async fn bookmarks_carry_a_version(c: Context) {
    let mut watch = maps(&c, "&allowWatchBookmarks=true&timeoutSeconds=5").await;
    let made = c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    // There may have been one before that, too.
    let mut added = false;
    let event = loop {
        let event = watch.read().await.expect("a bookmark before the watch ends");
        match event["type"].as_str() {
            Some("ADDED") => added = true,
            Some("BOOKMARK") if added => break event,
            Some("BOOKMARK") => {}
            _ => panic!("{event}"),
        }
    };
    let mark = &event["object"];
    assert_eq!(
        (mark["kind"].as_str(), mark["apiVersion"].as_str()),
        (Some("ConfigMap"), Some("v1"))
    );
    assert!(
        version(mark).parse::<u64>().unwrap() >= version(&made).parse().unwrap(),
        "{event}"
    );
    assert!(
        mark["metadata"].get("name").is_none() && mark["metadata"].get("uid").is_none(),
        "{event}"
    );
}

async fn the_initial_state_ends_with_a_bookmark(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::open(&c, format!("{}?{query}", c.maps())).await;
    watch.expect("ADDED", "one").await;
    let mark = watch.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    let annotations = &mark["object"]["metadata"]["annotations"];
    assert_eq!(annotations, &json!({"k8s.io/initial-events-end": "true"}));
    c.post(c.maps(), &config_map("two", json!({}))).await.code(201);
    loop {
        // Other bookmarks may lie between.
        let event = watch.read().await.unwrap();
        if event["type"] != "BOOKMARK" {
            assert_eq!(event["object"]["metadata"]["name"], "two");
            break;
        }
    }
}

async fn initial_events_need_a_version_match(c: Context) {
    c.get(format!("{}?watch=true&sendInitialEvents=true", c.maps()))
        .await
        .refused(422, "Invalid");
    c.get(format!(
        "{}?sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
        c.maps()
    ))
    .await
    .refused(422, "Invalid");
}

async fn a_watch_ends_at_its_timeout(c: Context) {
    let began = std::time::Instant::now();
    let mut watch = maps(&c, "&timeoutSeconds=1").await;
    assert_eq!(watch.read().await, None);
    assert!(began.elapsed() >= Duration::from_millis(900) && began.elapsed() < Duration::from_secs(10));
}

async fn the_last_state_of_what_was_deleted(c: Context) {
    let made = c.post(c.maps(), &config_map("one", json!({"k": "v"}))).await.code(201);
    let mut watch = maps(&c, "").await;
    c.delete(format!("{}/one", c.maps())).await.ok();
    let deleted = watch.expect("DELETED", "one").await;
    assert_eq!(deleted["data"], made["data"]);
    assert!(
        version(&deleted).parse::<u64>().unwrap() > version(&made).parse().unwrap(),
        "a deletion is a change"
    );
}

async fn writes_that_change_nothing_are_no_events(c: Context) {
    let made = c.post(c.maps(), &config_map("one", json!({"k": "v"}))).await.code(201);
    let mut watch = maps(&c, "").await;
    c.put(format!("{}/one", c.maps()), &made).await.ok();
    c.patch(format!("{}/one", c.maps()), MERGE_PATCH, &json!({"data": {"k": "v"}}))
        .await
        .ok();
    c.post(c.maps(), &config_map("two", json!({}))).await.code(201);
    watch.expect("ADDED", "two").await;
}

async fn custom_resources_too(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({"size": {"type": "integer"}}))).await;
    let now = version(&c.get(&gadgets).await.ok());
    let mut watch = Watch::open(&c, format!("{gadgets}?watch=true&resourceVersion={now}")).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"size": 1})))
        .await
        .code(201);
    c.delete(format!("{gadgets}/one")).await.ok();
    watch.expect("ADDED", "one").await;
    watch.expect("DELETED", "one").await;
}

async fn a_namespace_hears_only_its_own(c: Context) {
    let other = format!("{}-other", c.ns);
    c.post("/api/v1/namespaces", &json!({"metadata": {"name": other}}))
        .await
        .code(201);
    let mut watch = maps(&c, "").await;
    c.post(
        format!("/api/v1/namespaces/{other}/configmaps"),
        &config_map("theirs", json!({})),
    )
    .await
    .code(201);
    c.post(c.maps(), &config_map("ours", json!({}))).await.code(201);
    watch.expect("ADDED", "ours").await;
}

async fn several_watches_hear_the_same(c: Context) {
    let (mut one, mut two) = (maps(&c, "").await, maps(&c, "").await);
    for name in ["a", "b", "c"] {
        c.post(c.maps(), &config_map(name, json!({}))).await.code(201);
    }
    for name in ["a", "b", "c"] {
        assert_eq!(one.expect("ADDED", name).await, two.expect("ADDED", name).await);
    }
}

async fn deletion_with_a_finalizer_is_a_change_first(c: Context) {
    let path = format!("{}/one", c.maps());
    let mut map = config_map("one", json!({}));
    map["metadata"]["finalizers"] = json!(["contract.example/hold"]);
    c.post(c.maps(), &map).await.code(201);
    let mut watch = maps(&c, "").await;
    c.delete(&path).await.ok();
    c.patch(&path, MERGE_PATCH, &json!({"metadata": {"finalizers": null}}))
        .await
        .code(200);
    assert!(watch.expect("MODIFIED", "one").await["metadata"]["deletionTimestamp"].is_string());
    watch.expect("DELETED", "one").await;
}

async fn a_version_that_is_no_number(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let why = "resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax";
    for path in ["?watch=true&resourceVersion=abc", "/one?resourceVersion=abc"] {
        let status = c.get(format!("{}{path}", c.maps())).await.code(500);
        assert_eq!((&status["message"], status.get("reason")), (&json!(why), None));
    }
}

async fn a_path_is_read_not_watched(c: Context) {
    let path = format!("{}/one", c.maps());
    let made = c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    for query in [
        "watch=true",
        "watch=true&resourceVersion=1",
        "watch=true&resourceVersion=0",
    ] {
        assert_eq!(c.get(format!("{path}?{query}")).await.code(200), made, "{query}");
    }
    let status = c
        .get(format!("{path}?resourceVersion=99999999999"))
        .await
        .refused(504, "Timeout");
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}
