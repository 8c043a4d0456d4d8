//! Regions that move between clusters, and what is written down before anything is sent to one. Several API servers in this
//! process; time is virtual.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Service},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use showrunner_crds::platform::StreamingPlatform;
use showrunner_operator::remote::record::FINALIZER;
use support::fleet::{Fleet, platform};
use tokio::time::sleep;

/// Whether the south's edges are in a cluster.
async fn has_south(fleet: &Fleet, cluster: &str) -> bool {
    let deployments = fleet.cluster(cluster).names::<Deployment>().await;
    deployments.contains(&"cinema-south-edge".to_owned())
}

/// Everything in a cluster has an address, and runs.
async fn runs(fleet: &Fleet, cluster: &str) {
    fleet.cluster(cluster).give_addresses().await;
    fleet.cluster(cluster).everything_runs().await;
}

/// A region that moves is judged by its new place, and its old one serves on until the new one does.
#[tokio::test(start_paused = true)]
async fn a_region_that_moves_is_where_it_goes() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    fleet.move_to("south", Some("west")).await;
    for _ in 0..3 {
        fleet.look().await;
        runs(&fleet, "north").await;
        fleet.cluster("west").give_addresses().await;
        sleep(Duration::from_secs(10)).await;
        let south = fleet.region("south").await;
        assert_ne!(format!("{:?}", south.state), "Ready", "its new place does not serve");
        assert!(has_south(&fleet, "west").await);
        assert!(has_south(&fleet, "south").await, "cleared before its new place serves");
        assert_eq!(fleet.recorded().await, ["west", "south"]);
    }
    let clusters = fleet.home.platform().await.status.unwrap().clusters;
    let why = clusters[1].message.clone().unwrap();
    assert!(why.contains("waits until south serves"), "{why}");
    assert_eq!(fleet.degraded().await, None, "that is no fault");
    runs(&fleet, "west").await;
    for _ in 0..3 {
        fleet.look().await;
    }
    assert_eq!(format!("{:?}", fleet.region("south").await.state), "Ready");
    assert!(fleet.cluster("south").everything().await.is_empty());
    assert_eq!(fleet.recorded().await, ["west"]);
}

/// A new place that never serves does not keep the old one for ever.
#[tokio::test(start_paused = true)]
async fn an_old_place_is_not_kept_for_ever() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    fleet.move_to("south", Some("west")).await;
    for minute in 0..15 {
        fleet.look().await;
        assert_eq!(has_south(&fleet, "south").await, minute < 10, "after {minute} min");
        sleep(Duration::from_secs(59)).await;
        fleet.look().await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(fleet.recorded().await, ["west"]);
}

/// An operator that starts while a cluster is dead takes the floors there as they stand, once it sees them.
#[tokio::test(start_paused = true)]
async fn a_new_operator_does_not_drop_the_floors_of_a_dead_cluster() {
    let mut fleet = Fleet::start().await;
    let window = json!({ "spec": { "edge": { "autoscaling": { "scaleDownStabilisation": "10m" } } } });
    fleet.home.change(window).await;
    fleet.settle().await;
    let scalers = fleet.cluster("south").api::<HorizontalPodAutoscaler>();
    let raised = Patch::Merge(json!({ "spec": { "minReplicas": 7 } }));
    let floor = async || {
        let scaler = scalers.get("cinema-south-edge").await.unwrap();
        scaler.spec.min_replicas.unwrap()
    };
    scalers
        .patch("cinema-south-edge", &PatchParams::default(), &raised)
        .await
        .unwrap();
    fleet.hang("south");
    fleet.restart_operator();
    for _ in 0..10 {
        fleet.look().await;
        sleep(Duration::from_secs(10)).await;
    }
    fleet.wake("south");
    for _ in 0..10 {
        fleet.look().await;
        sleep(Duration::from_secs(10)).await;
        assert_eq!(floor().await, 7);
    }
    assert_eq!(fleet.degraded().await, None);
    sleep(Duration::from_mins(10)).await;
    fleet.look().await;
    assert_eq!(floor().await, 2, "the window is over");
}

/// Nothing is sent to a cluster that is not in the status of a platform that our finalizer holds.
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_it_is_written_down() {
    for hangs in ["streamingplatforms/cinema", "streamingplatforms/cinema/status"] {
        let fleet = Fleet::start().await;
        fleet
            .at_home
            .set(move |request| request.starts_with("PATCH") && request.ends_with(hangs));
        let platform = fleet.home.platform().await;
        assert!(fleet.look_at(platform).await.is_err(), "nothing hung");
        let clusters = || fleet.away.values();
        for away in clusters() {
            assert_eq!(away.hanging.writes(), Vec::<String>::new());
        }
        fleet.at_home.clear();
        fleet.look().await;
        assert_eq!(fleet.home.platform().await.finalizers(), [FINALIZER]);
        assert_eq!(fleet.recorded().await, ["south", "west"]);
        assert!(clusters().all(|away| !away.hanging.writes().is_empty()), "then it is");
    }
}

/// The same where the old place has other regions: it is not left, and still not swept of what is needed.
#[tokio::test(start_paused = true)]
async fn a_region_that_moves_out_of_company_serves_on() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    let north = async |cluster: &str| {
        let names = fleet.cluster(cluster).names::<Deployment>().await;
        names.contains(&"cinema-north-edge".to_owned())
    };
    // From home, where steering and services stay, to the cluster of the west.
    fleet.move_to("north", Some("west")).await;
    for _ in 0..3 {
        fleet.look().await;
        runs(&fleet, "home").await;
        fleet.cluster("west").give_addresses().await;
        sleep(Duration::from_secs(10)).await;
        assert!(north("west").await, "it is there");
        assert!(north("home").await, "swept before its new place serves");
    }
    runs(&fleet, "west").await;
    for _ in 0..3 {
        fleet.look().await;
    }
    assert!(north("west").await && !north("home").await);
}

/// The operator sees what the platform was a moment ago. What it wrote meanwhile is not lost by that.
#[tokio::test(start_paused = true)]
async fn a_cluster_is_not_forgotten_by_a_stale_look() {
    let fleet = Fleet::start().await;
    let before = fleet.home.platform().await;
    let regions = json!([{ "name": "north" }, platform().spec.regions[1]]);
    fleet.home.change(json!({ "spec": { "regions": regions } })).await;
    let stale = fleet.home.platform().await;
    west_is_found_and_cleared(&fleet, before, stale).await;
}

/// A look that sees the west, and one that is too old to know that it was looked at, but no longer has it.
async fn west_is_found_and_cleared(fleet: &Fleet, first: StreamingPlatform, stale: StreamingPlatform) {
    fleet.look_at(first).await.unwrap();
    assert!(!fleet.cluster("west").everything().await.is_empty());
    fleet.look_at(stale).await.unwrap();
    let mut recorded = fleet.recorded().await;
    recorded.sort();
    assert_eq!(recorded, ["south", "west"]);
    fleet.settle().await;
    fleet.settle().await;
    assert!(fleet.cluster("west").everything().await.is_empty());
    assert_eq!(fleet.recorded().await, ["south"]);
}

/// The same where the clusters had been written down before.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_was_added_meanwhile_is_not_forgotten() {
    let fleet = Fleet::start().await;
    let south = json!([{ "name": "north" }, platform().spec.regions[1]]);
    fleet.home.change(json!({ "spec": { "regions": south } })).await;
    fleet.settle().await;
    fleet
        .home
        .change(json!({ "spec": { "regions": platform().spec.regions } }))
        .await;
    let added = fleet.home.platform().await;
    fleet.home.change(json!({ "spec": { "regions": south } })).await;
    let stale = fleet.home.platform().await;
    west_is_found_and_cleared(&fleet, added, stale).await;
}

/// A platform that was made anew under its name is not the one that was looked at.
#[tokio::test(start_paused = true)]
async fn a_platform_of_before_sends_nothing() {
    let fleet = Fleet::start().await;
    let before = fleet.home.platform().await;
    let platforms = fleet.home.platforms();
    platforms.delete("cinema", &DeleteParams::default()).await.unwrap();
    platforms.create(&PostParams::default(), &platform()).await.unwrap();
    let outcome = fleet.look_at(before).await;
    assert!(outcome.is_err(), "{outcome:?}");
    for away in fleet.away.values() {
        assert_eq!(away.hanging.writes(), Vec::<String>::new());
    }
    let platform = fleet.home.platform().await;
    assert!(platform.finalizers().is_empty() && platform.status.is_none());
}

/// Addresses come from others' clusters, and go into rules: what is none is not taken.
#[tokio::test(start_paused = true)]
async fn addresses_cannot_be_rules() {
    let fleet = Fleet::start().await;
    fleet.look().await;
    for cluster in fleet.clusters() {
        cluster.give_addresses().await;
    }
    let hostile = "x\"; } sub vcl_recv { return (synth(200)); } backend b { .host = \"y";
    let status = json!({ "loadBalancer": { "ingress": [{ "hostname": hostile }] } });
    let south = fleet.cluster("south");
    for service in ["cinema-south-shield", "cinema-south-edge", "cinema-south-origin-0"] {
        south.patch_status::<Service>(service, status.clone()).await;
    }
    // And from a status that was written before addresses were looked at so closely.
    let addresses = json!([{ "service": "cinema-south-shield", "address": hostile }]);
    let cluster = json!({ "secretName": "south", "key": "kubeconfig", "namespace": "stage", "addresses": addresses });
    fleet
        .home
        .patch_status::<StreamingPlatform>("cinema", json!({ "clusters": [cluster] }))
        .await;
    for _ in 0..3 {
        fleet.look().await;
    }
    let status = serde_json::to_string(&fleet.home.platform().await.status).unwrap();
    assert!(!status.contains("vcl_recv"), "{status}");
    for cluster in fleet.clusters() {
        for map in cluster.names::<ConfigMap>().await {
            let map = cluster.api::<ConfigMap>().get(&map).await.unwrap();
            let text = serde_json::to_string(&map.data).unwrap();
            assert!(!text.contains("return (synth(200)); } backend"), "{text}");
        }
    }
    let message = fleet.degraded().await;
    assert_eq!(message, None);
}
