//! Writes, watch events and lists in every order.
#![allow(clippy::unwrap_used)]
use super::*;
use k8s_openapi::api::core::v1::Pod;
use std::sync::atomic::{AtomicUsize, Ordering};

fn pod(name: &str, uid: &str, version: u64) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.namespace = Some("ns".into());
    pod.metadata.name = Some(name.into());
    pod.metadata.uid = Some(uid.into());
    pod.metadata.resource_version = Some(version.to_string());
    pod
}

fn filled(objects: &[Pod]) -> Cache<Pod> {
    let cache = Cache::new();
    cache.event(watcher::Event::Init);
    for object in objects {
        cache.event(watcher::Event::InitApply(object.clone()));
    }
    cache.event(watcher::Event::InitDone);
    cache
}

#[test]
fn a_write_is_seen_before_the_watch_delivers_it() {
    let cache = filled(&[pod("a", "1", 5)]);
    cache.wrote(&pod("b", "2", 7));
    assert_eq!(cache.in_namespace("ns").len(), 2);
    assert_eq!(cache.in_namespace("n").len(), 0, "a namespace is not a prefix");
}

#[test]
fn a_write_that_the_watch_has_passed_does_not_come_back() {
    let cache = filled(&[]);
    cache.event(watcher::Event::Apply(pod("b", "2", 7)));
    cache.event(watcher::Event::Delete(pod("b", "2", 9)));
    cache.wrote(&pod("b", "2", 7));
    assert!(cache.all().is_empty());
}

#[test]
fn a_late_watch_event_does_not_undo_our_write() {
    let cache = filled(&[pod("a", "1", 5)]);
    cache.wrote(&pod("a", "1", 8));
    cache.event(watcher::Event::Apply(pod("a", "1", 6)));
    assert_eq!(cache.all()[0].resource_version().as_deref(), Some("8"));
    cache.event(watcher::Event::Apply(pod("a", "1", 8)));
    cache.event(watcher::Event::Apply(pod("a", "1", 9)));
    assert_eq!(cache.all()[0].resource_version().as_deref(), Some("9"));
}

#[test]
fn a_removed_object_stays_removed() {
    let cache = filled(&[pod("a", "1", 5)]);
    cache.removed(&pod("a", "1", 5));
    cache.event(watcher::Event::Apply(pod("a", "1", 6)));
    assert!(cache.all().is_empty());
    cache.event(watcher::Event::Apply(pod("a", "2", 7)));
    assert_eq!(cache.all().len(), 1, "its successor of the same name is another object");
}

fn names(cache: &Cache<Pod>) -> Vec<String> {
    cache.all().iter().map(|pod| pod.name_any()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_relist_keeps_what_was_written_meanwhile_and_drops_the_rest() {
    let cache = filled(&[pod("a", "1", 5), pod("b", "2", 6)]);
    cache.wrote(&pod("before", "3", 8));
    tokio::time::advance(Duration::from_millis(1)).await;
    cache.event(watcher::Event::Init);
    cache.wrote(&pod("meanwhile", "4", 9));
    cache.event(watcher::Event::InitApply(pod("a", "1", 5)));
    cache.event(watcher::Event::InitDone);
    assert_eq!(names(&cache), ["a", "meanwhile"]);
    // The watch is beyond it, and had nothing to tell of it.
    cache.event(watcher::Event::Delete(pod("b", "2", 10)));
    assert_eq!(names(&cache), ["a"]);
}

/// A list that hid the end of what was written just after it was answered: whatever the watch tells next shows that.
#[test]
fn a_write_whose_deletion_a_relist_hid_does_not_stay() {
    for next in [
        watcher::Event::Apply(pod("b", "3", 9)),
        watcher::Event::Delete(pod("b", "3", 9)),
    ] {
        let cache = filled(&[pod("a", "1", 5), pod("b", "3", 6)]);
        cache.wrote(&pod("ghost", "2", 7));
        assert_eq!(names(&cache), ["a", "b", "ghost"]);
        cache.event(next);
        assert!(!names(&cache).contains(&"ghost".to_owned()));
        assert!(names(&cache).contains(&"a".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_confirmed_is_asked_for_again_and_stays_until_then() {
    let cache = filled(&[pod("a", "1", 5)]);
    cache.wrote(&pod("b", "2", 7));
    assert!(!cache.sweep(Instant::now()));
    tokio::time::advance(UNCONFIRMED).await;
    assert!(cache.sweep(Instant::now()));
    assert_eq!(
        names(&cache),
        ["a", "b"],
        "an API server that does not answer takes nothing away"
    );
    cache.event(watcher::Event::Init);
    tokio::time::advance(UNCONFIRMED * 2).await;
    assert!(!cache.sweep(Instant::now()), "a list takes its time");
    tokio::time::advance(LIST).await;
    assert!(cache.sweep(Instant::now()));
    cache.event(watcher::Event::Apply(pod("b", "2", 7)));
    assert!(!cache.sweep(Instant::now()));
}

#[test]
fn handlers_see_each_change_once() {
    let cache = Cache::new();
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    cache.on_change(move |_: Option<&Pod>, _| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    cache.wrote(&pod("a", "1", 5));
    cache.event(watcher::Event::Apply(pod("a", "1", 5)));
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    cache.event(watcher::Event::Delete(pod("a", "1", 6)));
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

/// A watch that stays silent is begun anew, with a list.
#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_given_up_for_a_list() {
    let lists = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&lists);
    let server = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let watches = request.uri().query().is_some_and(|query| query.contains("watch="));
        let asked = Arc::clone(&asked);
        async move {
            if watches {
                return std::future::pending().await;
            }
            asked.fetch_add(1, Ordering::SeqCst);
            let list = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[]}"#;
            Ok::<_, tower::BoxError>(http::Response::new(kube::client::Body::from(list.as_bytes().to_vec())))
        }
    });
    let cache = Arc::new(Cache::<Pod>::new());
    let (gone, mut goes) = tokio::sync::mpsc::unbounded_channel();
    cache.on_change(move |_, new: Option<&Pod>| {
        if new.is_none() {
            gone.send(Instant::now()).unwrap();
        }
    });
    let followed = Arc::clone(&cache);
    let pods: Api<Pod> = Api::all(kube::Client::new(server, "ns"));
    let follow = tokio::spawn(async move { followed.follow(pods, watcher::Config::default()).await });
    cache.synced().await;
    let written = Instant::now();
    cache.wrote(&pod("ghost", "1", 7));
    let gone = tokio::time::timeout(UNCONFIRMED * 2, goes.recv()).await.unwrap();
    assert!(gone.unwrap() - written >= UNCONFIRMED, "it has its time");
    assert_eq!((lists.load(Ordering::SeqCst), cache.all().len()), (2, 0));
    follow.abort();
}
