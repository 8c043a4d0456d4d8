//! Watches: resuming, expiring, selecting, bookmarks, slow readers.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::json;
use showrunner_apiserver::ApiServerConfig;

use crate::common::{DEADLINE, connect, connect_with, create_config_map};

type Events = std::pin::Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<ConfigMap>>> + Send>>;

async fn watch(client: &kube::Client, params: &WatchParams, version: &str) -> Events {
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    api.watch(params, version).await.unwrap().boxed()
}

async fn next(events: &mut Events) -> Option<WatchEvent<ConfigMap>> {
    let event = tokio::time::timeout(DEADLINE, events.next())
        .await
        .expect("no event within the deadline");
    event.map(|event| event.unwrap())
}

async fn short(events: &mut Events) -> String {
    let name = |c: &ConfigMap| c.metadata.name.clone().unwrap();
    match next(events).await {
        Some(WatchEvent::Added(c)) => format!("+{}", name(&c)),
        Some(WatchEvent::Modified(c)) => format!("~{}", name(&c)),
        Some(WatchEvent::Deleted(c)) => format!("-{}", name(&c)),
        Some(WatchEvent::Bookmark(b)) => format!("@{}", b.metadata.resource_version),
        Some(WatchEvent::Error(error)) => format!("!{}", error.code),
        None => "end".to_owned(),
    }
}

async fn set(client: &kube::Client, name: &str, patch: serde_json::Value) -> ConfigMap {
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_watch_resumes_where_it_stopped() {
    let cluster = connect().await;
    let first = create_config_map(&cluster.client, "a").await;
    create_config_map(&cluster.client, "b").await;
    set(&cluster.client, "a", json!({"data": {"k": "2"}})).await;
    let version = first.metadata.resource_version.unwrap();
    let mut events = watch(&cluster.client, &WatchParams::default(), &version).await;
    assert_eq!(short(&mut events).await, "+b");
    assert_eq!(short(&mut events).await, "~a");
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    api.delete("b", &DeleteParams::default()).await.unwrap();
    assert_eq!(short(&mut events).await, "-b");
}

#[tokio::test]
async fn version_zero_starts_with_what_there_is() {
    let cluster = connect().await;
    create_config_map(&cluster.client, "a").await;
    let mut events = watch(&cluster.client, &WatchParams::default(), "0").await;
    assert_eq!(short(&mut events).await, "+a");
    create_config_map(&cluster.client, "b").await;
    assert_eq!(short(&mut events).await, "+b");
}

#[tokio::test]
async fn a_version_that_is_too_old_is_an_error_in_the_stream() {
    let cluster = connect_with(ApiServerConfig {
        history: 2,
        ..ApiServerConfig::default()
    })
    .await;
    let first = create_config_map(&cluster.client, "a").await;
    for name in ["b", "c", "d"] {
        create_config_map(&cluster.client, name).await;
    }
    let version = first.metadata.resource_version.unwrap();
    let mut events = watch(&cluster.client, &WatchParams::default(), &version).await;
    assert_eq!(short(&mut events).await, "!410");
    assert_eq!(short(&mut events).await, "end");
    // One that is young enough works.
    let recent = cluster.server.revision() - 1;
    let mut events = watch(&cluster.client, &WatchParams::default(), &recent.to_string()).await;
    assert_eq!(short(&mut events).await, "+d");
}

#[tokio::test]
async fn entering_and_leaving_a_selector_adds_and_deletes() {
    let cluster = connect().await;
    let version = cluster.server.revision().to_string();
    let mut events = watch(&cluster.client, &WatchParams::default().labels("tier=edge"), &version).await;
    create_config_map(&cluster.client, "a").await;
    set(&cluster.client, "a", json!({"metadata": {"labels": {"tier": "edge"}}})).await;
    set(&cluster.client, "a", json!({"data": {"k": "2"}})).await;
    set(&cluster.client, "a", json!({"metadata": {"labels": {"tier": "core"}}})).await;
    set(&cluster.client, "a", json!({"data": {"k": "3"}})).await;
    set(&cluster.client, "a", json!({"metadata": {"labels": {"tier": "edge"}}})).await;
    for wanted in ["+a", "~a", "-a", "+a"] {
        assert_eq!(short(&mut events).await, wanted);
    }
}

#[tokio::test]
async fn bookmarks_carry_the_version_of_the_whole_store() {
    let config = ApiServerConfig {
        bookmark_interval: Duration::from_millis(20),
        ..ApiServerConfig::default()
    };
    let cluster = connect_with(config).await;
    let version = cluster.server.revision().to_string();
    // Nothing that this watch selects happens, and still its version moves on.
    let mut events = watch(&cluster.client, &WatchParams::default().labels("none=none"), &version).await;
    create_config_map(&cluster.client, "a").await;
    let wanted = format!("@{}", cluster.server.revision());
    let reached = async { while short(&mut events).await != wanted {} };
    tokio::time::timeout(DEADLINE, reached)
        .await
        .expect("no bookmark of the last version");
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_up() {
    let cluster = connect().await;
    let version = cluster.server.revision().to_string();
    let mut events = watch(&cluster.client, &WatchParams::default().timeout(1), &version).await;
    loop {
        match short(&mut events).await.as_str() {
            "end" => break,
            bookmark => assert!(bookmark.starts_with('@'), "{bookmark}"),
        }
    }
}

#[tokio::test]
async fn a_slow_watcher_is_cut_off() {
    let cluster = connect_with(ApiServerConfig {
        watch_queue: 2,
        ..ApiServerConfig::default()
    })
    .await;
    if cluster.over_tcp() {
        println!("skipped: the socket's buffers would hold every event");
        return;
    }
    let version = cluster.server.revision().to_string();
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let mut events = api.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    for index in 0..2000 {
        create_config_map(&cluster.client, &format!("c{index}")).await;
    }
    let mut last = String::new();
    loop {
        match short(&mut events).await.as_str() {
            "end" => break,
            event => event.clone_into(&mut last),
        }
    }
    assert_eq!(last, "!410");
}

#[tokio::test]
async fn kube_runtime_watchers_follow_a_store_through_compaction() {
    use kube::runtime::{WatchStreamExt as _, reflector, watcher};
    let cluster = connect().await;
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let (reader, writer) = reflector::store();
    let stream = watcher(api, watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .applied_objects();
    let task = tokio::spawn(stream.for_each(|_| std::future::ready(())));
    create_config_map(&cluster.client, "a").await;
    crate::common::eventually("a is in the cache", || async { (reader.len() == 1).then_some(()) }).await;
    cluster.server.compact();
    create_config_map(&cluster.client, "b").await;
    crate::common::eventually("b is in the cache", || async { (reader.len() == 2).then_some(()) }).await;
    task.abort();
}
