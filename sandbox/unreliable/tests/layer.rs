//! The layer between a client and an API server.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use showrunner_unreliable::{Call, Fault, Link, Rates, Refusal, Unreliable, Verb, seeds::paused, snapshot};
use tower::Layer as _;

fn config_map(name: &str, value: u32) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name }, "data": { "value": value.to_string() } })).unwrap()
}

fn linked(server: &ApiServer, link: &Link) -> Api<ConfigMap> {
    Api::default_namespaced(Client::new(link.layer(server.service()), "default"))
}

/// A network whose every create meets this fault.
fn creates_meet(fault: Fault) -> Unreliable {
    let network = Unreliable::new(1, Rates::none());
    network.rule(Some(Box::new(move |call: &Call| {
        (call.verb == Verb::Create).then_some(fault)
    })));
    network
}

#[test]
fn what_is_refused_was_not_done_and_what_is_lost_afterwards_was() {
    let patience = Duration::from_secs(30);
    let busy = |text| Refusal::TooManyRequests { retry_after: 2, text };
    for (fault, code, done) in [
        (Fault::Refused(busy(false)), Some(429), false),
        (Fault::Refused(busy(true)), Some(429), false),
        (Fault::Refused(Refusal::Internal), Some(500), false),
        (Fault::Refused(Refusal::Unavailable { text: true }), Some(503), false),
        (Fault::Unsure(Refusal::Timeout), Some(504), true),
        (Fault::Lost { carried_out: false }, None, false),
        (Fault::Lost { carried_out: true }, None, true),
        (
            Fault::Hung {
                carried_out: false,
                patience,
            },
            None,
            false,
        ),
        (
            Fault::Hung {
                carried_out: true,
                patience,
            },
            None,
            true,
        ),
    ] {
        paused(1, async {
            let server = ApiServer::new(ApiServerConfig::default());
            let network = creates_meet(fault);
            let maps = linked(&server, &network.link("c"));
            let created = maps.create(&PostParams::default(), &config_map("a", 1)).await;
            match (created.unwrap_err(), code) {
                (kube::Error::Api(status), Some(code)) => assert_eq!(status.code, code, "{fault:?}"),
                (kube::Error::Service(_), None) => {}
                (error, _) => panic!("{fault:?} gave {error:?}"),
            }
            assert_eq!(maps.get_opt("a").await.unwrap().is_some(), done, "{fault:?}");
            assert_eq!(network.writes(), usize::from(done), "{fault:?}");
            if let Fault::Hung { .. } = fault {
                assert!(network.elapsed() >= patience);
            }
        });
    }
}

#[test]
fn what_is_late_is_done_although_the_client_has_gone() {
    paused(1, async {
        let server = ApiServer::new(ApiServerConfig::default());
        let after = Duration::from_secs(2);
        let network = creates_meet(Fault::Late { after });
        let link = network.link("c");
        let maps = linked(&server, &link);
        let begun = network.elapsed();
        let created = maps.create(&PostParams::default(), &config_map("a", 1)).await;
        assert!(matches!(created, Err(kube::Error::Service(_))), "{created:?}");
        assert_eq!(network.elapsed(), begun);
        link.cut();
        let others = linked(&server, &network.link("d"));
        assert!(others.get_opt("a").await.unwrap().is_none());
        tokio::time::sleep(after * 2).await;
        assert!(others.get_opt("a").await.unwrap().is_some());
        assert_eq!(network.writes(), 1);
    });
}

#[test]
fn a_client_that_is_cut_off_leaves_what_it_had_done() {
    for (carried_out, names) in [(false, vec!["a"]), (true, vec!["a", "b"])] {
        paused(1, async {
            let server = ApiServer::new(ApiServerConfig::default());
            let network = Unreliable::new(1, Rates::none());
            let link = network.link("c");
            let maps = linked(&server, &link);
            let cut = link.cut_at(1, carried_out);
            let work = async {
                for name in ["a", "b", "c"] {
                    maps.create(&PostParams::default(), &config_map(name, 1)).await.unwrap();
                }
            };
            tokio::select! {
                () = work => panic!("it was not cut off"),
                () = cut.cancelled() => {}
            }
            let server = linked(&server, &network.link("d"));
            let left = server.list(&ListParams::default()).await.unwrap();
            let left: Vec<String> = left.iter().map(kube::ResourceExt::name_any).collect();
            assert_eq!(left, names);
        });
    }
}

/// An informer behind the network, a writer before it; tells what each has after a calm.
async fn informed(seed: u64, rates: Rates) -> (BTreeMap<String, String>, BTreeMap<String, String>, Unreliable) {
    let contents = |map: &ConfigMap| {
        let value = map.data.as_ref().and_then(|data| data.get("value")).cloned();
        (map.name_any(), value.unwrap_or_default())
    };
    let server = ApiServer::new(ApiServerConfig::default());
    let network = Unreliable::new(seed, rates);
    let writer: Api<ConfigMap> = Api::default_namespaced(server.client("default"));
    let seen = std::sync::Arc::new(std::sync::Mutex::new(BTreeMap::new()));
    let informer = {
        let (maps, seen) = (linked(&server, &network.link("informer")), seen.clone());
        tokio::spawn(async move {
            let mut events = watcher(maps, watcher::Config::default()).default_backoff().boxed();
            let mut listing = BTreeMap::new();
            while let Some(event) = events.next().await {
                let mut seen = seen.lock().unwrap();
                match event {
                    Ok(watcher::Event::Init) => listing = BTreeMap::new(),
                    Ok(watcher::Event::InitApply(map)) => drop(listing.insert(map.name_any(), contents(&map).1)),
                    Ok(watcher::Event::InitDone) => *seen = std::mem::take(&mut listing),
                    Ok(watcher::Event::Apply(map)) => drop(seen.insert(map.name_any(), contents(&map).1)),
                    Ok(watcher::Event::Delete(map)) => drop(seen.remove(&map.name_any())),
                    Err(_) => {}
                }
            }
        })
    };
    for step in 0..60_u32 {
        let name = format!("m{}", step % 7);
        if step % 5 == 4 {
            let _ = writer.delete(&name, &DeleteParams::default()).await;
        } else {
            let patch = serde_json::to_value(config_map(&name, step)).unwrap();
            let patch = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": patch["metadata"], "data": patch["data"] });
            let params = PatchParams::apply("writer");
            writer.patch(&name, &params, &Patch::Apply(patch)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    network.calm();
    // Longer than the longest silence, back-off and patience together.
    tokio::time::sleep(Duration::from_mins(3)).await;
    informer.abort();
    let there = writer.list(&ListParams::default()).await.unwrap();
    let there = there
        .iter()
        .map(contents)
        .filter(|(name, _)| name.starts_with('m'))
        .collect();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let seen = seen.into_iter().filter(|(name, _)| name.starts_with('m')).collect();
    (there, seen, network)
}

#[test]
fn an_informer_misses_nothing_in_the_end() {
    let mut met: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..40 {
        let (there, seen, network) = paused(seed, informed(seed, Rates::rough().times(2.0)));
        assert_eq!(there, seen, "seed {seed}\n{}", network.journal());
        assert!(!there.is_empty());
        for (name, count) in network.journal().summary() {
            *met.entry(name).or_default() += count;
        }
    }
    // The network was as bad as it says.
    for fault in [
        "410",
        "429",
        "500",
        "503",
        "watch closed",
        "watch expired",
        "watch failed",
        "watch broken",
        "watch torn",
        "event slow",
        "event repeated",
        "events withheld",
    ] {
        assert!(met.contains_key(fault), "no {fault} in {met:?}");
    }
}

/// Negative control: while events are withheld, the informer is behind.
#[test]
fn an_informer_is_behind_while_events_are_withheld() {
    paused(1, async {
        let server = ApiServer::new(ApiServerConfig::default());
        let mut rates = Rates::none();
        rates.watch.withheld = 1.0;
        rates.watch.silence = Duration::from_hours(1);
        let network = Unreliable::new(3, rates);
        let maps = linked(&server, &network.link("informer"));
        let list = maps.list(&ListParams::default()).await.unwrap();
        let version = list.metadata.resource_version.unwrap();
        let mut events = maps
            .watch(&kube::api::WatchParams::default(), &version)
            .await
            .unwrap()
            .boxed();
        let writer: Api<ConfigMap> = Api::default_namespaced(server.client("default"));
        writer
            .create(&PostParams::default(), &config_map("a", 1))
            .await
            .unwrap();
        let first = tokio::time::timeout(Duration::from_mins(1), events.next()).await;
        assert!(first.is_err(), "{first:?}");
        network.calm();
        let ended = tokio::time::timeout(Duration::from_mins(1), events.next())
            .await
            .unwrap();
        assert!(!matches!(ended, Some(Ok(kube::api::WatchEvent::Added(_)))), "{ended:?}");
    });
}

#[test]
fn a_seed_tells_everything() {
    let journal = |seed| paused(seed, informed(seed, Rates::rough())).2.journal().to_string();
    assert_eq!(journal(5), journal(5));
    assert_ne!(journal(5), journal(6));
}

#[test]
fn a_snapshot_shows_what_is_there() {
    paused(1, async {
        let server = ApiServer::new(ApiServerConfig::default());
        let maps: Api<ConfigMap> = Api::default_namespaced(server.client("default"));
        let take = async || snapshot::take(server.service(), &["/api/v1/configmaps"]).await.unwrap();
        maps.create(&PostParams::default(), &config_map("a", 1)).await.unwrap();
        let first = take().await;
        maps.delete("a", &DeleteParams::default()).await.unwrap();
        maps.create(&PostParams::default(), &config_map("a", 1)).await.unwrap();
        assert_eq!(snapshot::differences(&first, &take().await), "");
        maps.replace("a", &PostParams::default(), &config_map("a", 2))
            .await
            .unwrap();
        assert!(snapshot::differences(&first, &take().await).contains("/data/value is \"2\", expected \"1\""));
        assert!(snapshot::take(server.service(), &["/api/v1/nothing"]).await.is_err());
    });
}
