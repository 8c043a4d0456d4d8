//! Regions in clusters of their own: each gets what is its own, and one that is dead costs the others nothing. Several API
//! servers in this process; time is virtual.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Secret, Service},
    networking::v1::NetworkPolicy,
};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;
use showrunner_crds::platform::StreamingPlatform;
use showrunner_operator::{OperatorOptions, remote::record::FINALIZER};
use support::fleet::{Fleet, kubeconfig, secret_of};
use tokio::time::{Instant, sleep, timeout};

/// Text of a file in a ConfigMap.
async fn file(fleet: &Fleet, cluster: &str, map: &str) -> String {
    let map = fleet.cluster(cluster).api::<ConfigMap>().get(map).await.unwrap();
    map.data.unwrap().into_values().collect()
}

async fn address(fleet: &Fleet, cluster: &str, service: &str) -> String {
    let service = fleet.cluster(cluster).api::<Service>().get(service).await.unwrap();
    let ingress = service.status.unwrap().load_balancer.unwrap().ingress.unwrap();
    ingress[0].ip.clone().unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_region_is_in_its_own_cluster() {
    let fleet = Fleet::start().await;
    fleet.look().await;
    // Known before anything is there, so that nothing can be forgotten.
    let platform = fleet.home.platform().await;
    assert_eq!(platform.finalizers(), [FINALIZER]);
    assert_eq!(platform.status.unwrap().clusters.len(), 2);
    // West has edges alone, and no upstream has an address yet: its rules could not be loaded.
    let west = fleet.cluster("west").names::<Deployment>().await;
    assert_eq!(west, ["cinema-west-steering"]);
    let west = fleet.cluster("west").everything().await;
    for waits in [
        "HorizontalPodAutoscaler cinema-west-edge",
        "PodDisruptionBudget cinema-west-edge",
    ] {
        assert!(
            !west.contains(&waits.to_owned()),
            "what it watches over is not there: {west:?}"
        );
    }

    fleet.settle().await;
    assert_eq!(fleet.degraded().await, None);
    for (cluster, region) in [("north", "north"), ("south", "south"), ("west", "west")] {
        let objects = fleet.cluster(cluster).everything().await;
        for other in ["north", "south", "west"].iter().filter(|other| **other != region) {
            let strangers: Vec<&String> = objects
                .iter()
                .filter(|name| name.contains(&format!("-{other}-")))
                .collect();
            assert!(strangers.is_empty(), "in {cluster}: {strangers:?}");
        }
        assert!(
            objects.contains(&format!("Deployment cinema-{region}-edge")),
            "{objects:?}"
        );
    }
    let edge = fleet
        .cluster("south")
        .api::<Deployment>()
        .get("cinema-south-edge")
        .await
        .unwrap();
    assert!(edge.owner_references().is_empty(), "it would be collected as garbage");
    assert_eq!(edge.annotations()["showrunner.dev/cluster"], "south/kubeconfig");
    assert_eq!(
        edge.labels()["showrunner.dev/owner"],
        fleet.home.platform().await.uid().unwrap()
    );

    // What one signs another takes; west has no services and no key.
    let key = async |cluster: &str| {
        fleet
            .cluster(cluster)
            .api::<Secret>()
            .get_opt("cinema-signing-key")
            .await
            .unwrap()
    };
    let (north, south) = (key("north").await.unwrap(), key("south").await.unwrap());
    assert!(north.data.is_some() && north.data == south.data);
    assert_eq!(key("west").await.map(|secret| secret.name_any()), None);

    // Each reaches the others by their load balancers, and its own by name.
    let encoder = file(&fleet, "north", "cinema-north-encoder-main").await;
    assert!(
        encoder.contains("http://cinema-north-origin-0.stage.svc:8080"),
        "{encoder}"
    );
    let south = address(&fleet, "south", "cinema-south-origin-0").await;
    assert!(encoder.contains(&format!("http://{south}:8080")), "{encoder}");
    assert!(!encoder.contains("cinema-south-origin"), "{encoder}");
    let rules = file(&fleet, "west", "cinema-west-edge").await;
    for (cluster, shield) in [("north", "cinema-north-shield"), ("south", "cinema-south-shield")] {
        let address = address(&fleet, cluster, shield).await;
        assert!(rules.contains(&format!(".host = \"{address}\"")), "{shield}: {rules}");
    }
    let steering = file(&fleet, "west", "cinema-steering").await;
    let north = address(&fleet, "north", "cinema-north-edge").await;
    assert!(steering.contains(&format!("http://{north}:8080/healthz")), "{steering}");
    assert!(
        steering.contains("http://cinema-west-edge.stage.svc:8080/healthz"),
        "{steering}"
    );
    let policy = fleet
        .cluster("south")
        .api::<NetworkPolicy>()
        .get("cinema-origin")
        .await
        .unwrap();
    let policy = serde_json::to_string(&policy.spec).unwrap();
    assert!(policy.contains("198.51.100.0/24"), "{policy}");
    let service = fleet
        .cluster("south")
        .api::<Service>()
        .get("cinema-south-shield")
        .await
        .unwrap();
    let spec = service.spec.unwrap();
    assert_eq!(
        spec.load_balancer_source_ranges.as_deref(),
        Some(&["198.51.100.0/24".to_owned()][..])
    );
    assert_eq!(spec.external_traffic_policy.as_deref(), Some("Local"));

    // Nothing changes any more, so nothing is written, in no cluster.
    let before = fleet.revisions();
    for _ in 0..3 {
        sleep(Duration::from_secs(10)).await;
        fleet.look().await;
    }
    assert_eq!(fleet.revisions(), before);
    // The audience is asked for in every cluster; what others change is put right.
    fleet
        .cluster("west")
        .api::<Deployment>()
        .delete("cinema-west-edge", &DeleteParams::default())
        .await
        .unwrap();
    fleet.look().await;
    assert!(
        fleet
            .cluster("west")
            .names::<Deployment>()
            .await
            .contains(&"cinema-west-edge".to_owned())
    );
}

/// The API server in the south hangs.
#[tokio::test(start_paused = true)]
async fn a_dead_cluster_delays_no_other() {
    let fleet = Arc::new(Fleet::start().await);
    fleet.settle().await;
    let encoders = file(&fleet, "north", "cinema-north-encoder-main").await;
    fleet.hang("south");
    fleet
        .home
        .change(json!({ "spec": { "edge": { "cacheMib": 300 } } }))
        .await;
    let deadline = OperatorOptions::default().cluster_deadline;
    let (first, _) = fleet.look().await;
    assert!(
        (deadline..deadline + Duration::from_millis(100)).contains(&first),
        "nothing hung, or somebody waited: {first:?}"
    );
    assert!(fleet.cache("north").await.contains("300m") && fleet.cache("west").await.contains("300m"));
    let (reason, message) = fleet.degraded().await.unwrap();
    assert_eq!(reason, "ClusterUnreachable");
    assert!(
        message.contains("the cluster of Secret south: its API server does not answer"),
        "{message}"
    );
    assert!(fleet.region("south").await.message.unwrap().contains("does not answer"));
    assert_eq!(
        (fleet.region("north").await.message, fleet.region("west").await.message),
        (None, None)
    );

    // From now on nothing of the others waits at all: not even while the south is asked again.
    let (mut spent, mut asked, begun) = (Duration::ZERO, 0, Instant::now());
    for round in 0..60 {
        sleep(Duration::from_millis(2500)).await;
        let cache = format!("{}m", 400 + round);
        fleet
            .home
            .change(json!({ "spec": { "edge": { "cacheMib": 400 + round } } }))
            .await;
        let changed = Instant::now();
        let looking = tokio::spawn({
            let fleet = fleet.clone();
            async move { fleet.look().await.0 }
        });
        while !(fleet.cache("north").await.contains(&cache) && fleet.cache("west").await.contains(&cache)) {
            sleep(Duration::from_millis(5)).await;
            assert!(
                changed.elapsed() < Duration::from_millis(100),
                "the others wait in round {round}"
            );
        }
        let took = looking.await.unwrap();
        assert!(took < deadline + Duration::from_millis(100), "{took:?}");
        asked += u32::from(took >= deadline);
        spent += took;
        assert_eq!(fleet.degraded().await.unwrap().0, "ClusterUnreachable");
    }
    // Ever more rarely: 1 s, 2 s, … a minute.
    assert!(
        (4..=9).contains(&asked),
        "asked again {asked} times in {:?}",
        begun.elapsed()
    );
    assert!(spent < Duration::from_secs(20), "{spent:?}");
    // What is known of it by then is nothing; where it is stays known.
    assert_eq!(format!("{:?}", fleet.region("south").await.state), "Unknown");
    assert_eq!(file(&fleet, "north", "cinema-north-encoder-main").await, encoders);

    fleet.wake("south");
    let back = Instant::now();
    while fleet.degraded().await.is_some() {
        sleep(Duration::from_millis(2500)).await;
        fleet.look().await;
        assert!(back.elapsed() < Duration::from_secs(65), "it does not recover");
    }
    assert!(fleet.cache("south").await.contains("459m"));
    assert_eq!(fleet.region("south").await.message, None);
    assert_eq!(format!("{:?}", fleet.region("south").await.state), "Ready");
}

/// Without the deadline everybody would wait for the south.
#[tokio::test(start_paused = true)]
async fn without_a_deadline_all_would_wait() {
    let settled = Fleet::start().await;
    settled.settle().await;
    let options = OperatorOptions {
        cluster_deadline: Duration::from_hours(24),
        ..settled.options.clone()
    };
    let mut fleet = Fleet { options, ..settled };
    fleet.restart_operator();
    fleet.hang("south");
    fleet
        .home
        .change(json!({ "spec": { "edge": { "cacheMib": 300 } } }))
        .await;
    assert!(timeout(Duration::from_hours(1), fleet.look()).await.is_err());
    assert!(!fleet.cache("north").await.contains("300m"));
}

/// An operator that starts while a cluster is dead knows from the status where it is: nobody's rules change.
#[tokio::test(start_paused = true)]
async fn a_new_operator_knows_where_a_dead_cluster_is() {
    let mut fleet = Fleet::start().await;
    fleet.settle().await;
    let before = (
        file(&fleet, "north", "cinema-north-encoder-main").await,
        file(&fleet, "west", "cinema-west-edge").await,
        file(&fleet, "north", "cinema-steering").await,
    );
    fleet.hang("south");
    fleet.restart_operator();
    for _ in 0..10 {
        fleet.look().await;
        sleep(Duration::from_secs(5)).await;
    }
    let after = (
        file(&fleet, "north", "cinema-north-encoder-main").await,
        file(&fleet, "west", "cinema-west-edge").await,
        file(&fleet, "north", "cinema-steering").await,
    );
    assert_eq!(after, before);
    assert_eq!(fleet.degraded().await.unwrap().0, "ClusterUnreachable");
}

/// A cluster that can be read and not written to.
#[tokio::test(start_paused = true)]
async fn writes_that_hang_elsewhere() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    fleet.away["south"].hanging.set(|request| request.starts_with("PATCH"));
    fleet
        .home
        .change(json!({ "spec": { "edge": { "cacheMib": 300 } } }))
        .await;
    let (took, _) = fleet.look().await;
    let deadline = OperatorOptions::default().apply_deadline;
    let most = Duration::from_millis(100);
    assert!((deadline..deadline + most).contains(&took), "{took:?}");
    assert!(fleet.cache("north").await.contains("300m") && fleet.cache("west").await.contains("300m"));
    assert_eq!(fleet.degraded().await.unwrap().0, "ApplyFailed");
    assert!(fleet.region("south").await.message.is_some());
    // From then on a fifth of it, ever more rarely.
    let mut spent = Duration::ZERO;
    for _ in 0..60 {
        sleep(Duration::from_millis(2500)).await;
        let (took, _) = fleet.look().await;
        assert!(took < deadline / 5 + most, "{took:?}");
        spent += took;
    }
    assert!(spent < Duration::from_secs(30), "{spent:?}");
    fleet.wake("south");
    sleep(Duration::from_mins(1)).await;
    fleet.look().await;
    assert_eq!(fleet.degraded().await, None);
    assert!(fleet.cache("south").await.contains("300m"));
}

/// What is wrong with a kubeconfig is the business of its regions alone, is said, and is not repeated.
#[tokio::test(start_paused = true)]
async fn kubeconfigs_that_are_of_no_use() {
    let fleet = Fleet::start().await;
    let exec = "apiVersion: v1\nkind: Config\ncurrent-context: c\nusers: [{name: u, user: {exec: {command: hunter2, apiVersion: v1}}}]\n";
    for (secret, said) in [
        (None, "there is no such Secret"),
        (
            Some(secret_of("south", &json!({ "other": "x" }))),
            "the Secret has no key kubeconfig",
        ),
        (
            Some(secret_of("south", &json!({ "kubeconfig": "- hunter2" }))),
            "it is not a kubeconfig",
        ),
        (
            Some(secret_of("south", &json!({ "kubeconfig": exec }))),
            "it uses `exec`",
        ),
    ] {
        fleet.home.delete_secret("south").await;
        if let Some(secret) = &secret {
            fleet.home.create_secret(secret).await;
        }
        sleep(Duration::from_mins(2)).await;
        fleet.look().await;
        let message = fleet.region("south").await.message.unwrap();
        assert!(message.contains(said) && !message.contains("hunter2"), "{message}");
        assert!(
            fleet
                .home
                .names::<Deployment>()
                .await
                .contains(&"cinema-north-edge".to_owned())
        );
        if secret.is_none() {
            fleet.home.create_secret(&secret_of("south", &json!({}))).await;
        }
    }
    leads_to(&fleet, "south").await;
    sleep(Duration::from_mins(2)).await;
    fleet.look().await;
    fleet.settle().await;
    assert_eq!(fleet.degraded().await, None);
}

/// What watches over a cache that runs is made again, also while the cache's own rules could not be loaded.
#[tokio::test(start_paused = true)]
async fn what_runs_is_watched_over_where_its_rules_wait() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    let edge = "cinema-west-edge";
    let autoscalers = fleet.cluster("west").api::<HorizontalPodAutoscaler>();
    let before = fleet.cache("west").await;
    // No upstream has an address any more, and none is on record.
    for cluster in fleet.clusters() {
        for service in cluster.names::<Service>().await {
            let nothing = json!({ "loadBalancer": { "ingress": null } });
            cluster.patch_status::<Service>(&service, nothing).await;
        }
    }
    let mut clusters = serde_json::to_value(fleet.home.platform().await.status.unwrap().clusters).unwrap();
    for cluster in clusters.as_array_mut().unwrap() {
        cluster["addresses"] = json!([]);
    }
    let recorded = json!({ "clusters": clusters });
    fleet.home.patch_status::<StreamingPlatform>("cinema", recorded).await;
    autoscalers.delete(edge, &DeleteParams::default()).await.unwrap();
    fleet
        .home
        .change(json!({ "spec": { "edge": { "cacheMib": 300 } } }))
        .await;
    fleet.look().await;
    assert_eq!(fleet.cache("west").await, before, "its rules wait");
    assert!(autoscalers.get_opt(edge).await.unwrap().is_some());
}

/// Has the south's Secret lead to a cluster.
async fn leads_to(fleet: &Fleet, cluster: &str) {
    fleet.home.delete_secret("south").await;
    fleet.home.create_secret(&kubeconfig("south", cluster)).await;
}

/// A kubeconfig that is changed leads elsewhere from the next look on; one that is not needs no new client.
#[tokio::test(start_paused = true)]
async fn a_changed_kubeconfig_gives_a_new_client() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    let made = fleet.connections();
    assert_eq!(made, ["south", "west"]);
    for (cluster, said) in [("west", Some("name the same Secret and key")), ("south", None)] {
        leads_to(&fleet, cluster).await;
        fleet.away["south"].hanging.requests();
        fleet.look().await;
        assert_eq!(fleet.connections(), [cluster]);
        assert_eq!(fleet.away["south"].hanging.requests().is_empty(), cluster == "west");
        let message = fleet.region("south").await.message;
        match said {
            Some(said) => assert!(
                message.as_ref().is_some_and(|message| message.contains(said)),
                "{message:?}"
            ),
            None => assert_eq!(fleet.connections().len(), 0),
        }
        sleep(Duration::from_mins(2)).await;
    }
    fleet.look().await;
    assert_eq!(fleet.degraded().await, None);
}

/// What another cluster says is told in one line of bounded length.
#[tokio::test(start_paused = true)]
async fn what_a_cluster_says_is_told_briefly() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    let shouted = format!("no\r\n\u{1b}[31mReady: True\u{202e}{}", "!".repeat(100_000));
    fleet.away["south"].hanging.refuse(&shouted);
    fleet.look().await;
    let (_, message) = fleet.degraded().await.unwrap();
    let status = fleet.home.platform().await.status.unwrap();
    let recorded = status.clusters[0].message.clone().unwrap();
    for told in [message, fleet.region("south").await.message.unwrap(), recorded] {
        assert!(
            told.contains("the cluster of Secret south") && told.contains("Ready: True"),
            "{told}"
        );
        assert!(told.len() < 600, "{}", told.len());
        assert!(!told.contains(|c: char| c.is_control() || c == '\u{202e}'), "{told:?}");
    }
}

/// Nothing is asked of anybody for a platform that is refused.
#[tokio::test(start_paused = true)]
async fn a_platform_that_is_refused_asks_no_cluster() {
    let fleet = Fleet::start().await;
    let mut platform = fleet.home.platform().await;
    // As if it had been stored before the rule.
    platform.spec.regions[0].name = "North".into();
    fleet.look_at(platform).await.unwrap();
    assert_eq!(fleet.degraded().await.unwrap().0, "InvalidSpec");
    for away in fleet.away.values() {
        assert!(away.hanging.requests().is_empty());
    }
}
