//! Taking everything away from clusters of regions' own: the platform goes, or a region does. Time is virtual.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler, core::v1::ServiceAccount};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::json;
use support::fleet::{Fleet, kubeconfig, platform};
use tokio::time::sleep;

/// Tells whether the platform is gone.
async fn gone(fleet: &Fleet) -> bool {
    fleet.home.platforms().get_opt("cinema").await.unwrap().is_none()
}

#[tokio::test(start_paused = true)]
async fn deletion_takes_everything_away_everywhere() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    fleet
        .home
        .platforms()
        .delete("cinema", &DeleteParams::default())
        .await
        .unwrap();
    fleet.look().await;
    assert!(gone(&fleet).await);
    for cluster in fleet.clusters() {
        let left = cluster.everything().await;
        // The signing key at home is the garbage collector's.
        let left: Vec<_> = left.iter().filter(|name| !name.starts_with("Secret")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let south = fleet.cluster("south").everything().await;
    assert!(south.is_empty(), "{south:?}");
}

/// A dead cluster holds the platform, and says so; nothing else waits. A person may give it up.
#[tokio::test(start_paused = true)]
async fn a_dead_cluster_holds_deletion_until_it_is_given_up() {
    for given_up in [false, true] {
        let fleet = Fleet::start().await;
        fleet.settle().await;
        fleet.hang("south");
        fleet
            .home
            .platforms()
            .delete("cinema", &DeleteParams::default())
            .await
            .unwrap();
        for _ in 0..3 {
            let (took, _) = fleet.look().await;
            assert!(took < Duration::from_secs(3), "{took:?}");
            sleep(Duration::from_secs(30)).await;
        }
        assert!(fleet.home.names::<Deployment>().await.is_empty());
        assert!(fleet.cluster("west").everything().await.is_empty());
        let (reason, message) = fleet.degraded().await.unwrap();
        assert_eq!(reason, "ClusterHoldsDeletion");
        assert!(message.contains("does not answer"), "{message}");
        assert!(message.contains("showrunner.dev/abandon-clusters=south"), "{message}");
        let before = fleet.home.server.revision();
        fleet.look().await;
        assert_eq!(fleet.home.server.revision(), before, "it says so once");
        if given_up {
            let annotation = json!({ "metadata": { "annotations": { "showrunner.dev/abandon-clusters": "south" } } });
            fleet.home.change(annotation).await;
        } else {
            fleet.wake("south");
        }
        fleet.look().await;
        assert!(gone(&fleet).await, "given up: {given_up}");
        assert_eq!(fleet.cluster("south").everything().await.is_empty(), !given_up);
    }
}

/// What was cleared is not asked for again, not even where its kubeconfig is gone since: nothing was sent there any more.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_was_cleared_holds_nothing_back() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    fleet.hang("south");
    let platforms = fleet.home.platforms();
    platforms.delete("cinema", &DeleteParams::default()).await.unwrap();
    fleet.look().await;
    assert_eq!(fleet.recorded().await, ["south"]);
    fleet.home.delete_secret("west").await;
    fleet.wake("south");
    fleet.look().await;
    assert!(gone(&fleet).await, "{:?}", fleet.degraded().await);
    assert!(fleet.cluster("south").everything().await.is_empty());
}

/// A deletion gets on where an API server answers for one kind at a time; and what was applied before what is still there stays.
#[tokio::test(start_paused = true)]
async fn a_deletion_gets_on_bit_by_bit() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    let platforms = fleet.home.platforms();
    platforms.delete("cinema", &DeleteParams::default()).await.unwrap();
    let only = |plural: &'static str| {
        let hanging = &fleet.away["south"].hanging;
        hanging.set(move |line| !line.split('/').any(|part| part == plural));
    };
    only("serviceaccounts");
    fleet.look().await;
    let accounts = fleet.cluster("south").names::<ServiceAccount>().await;
    assert!(!accounts.is_empty(), "pods still need them");
    // What was sent before the deletion may still arrive: for a minute nothing counts as empty for good.
    only("poddisruptionbudgets");
    fleet.look().await;
    only("horizontalpodautoscalers");
    fleet.look().await;
    let scalers = fleet.cluster("south").names::<HorizontalPodAutoscaler>().await;
    assert!(!scalers.is_empty(), "an empty kind was remembered too early");
    sleep(Duration::from_mins(1)).await;
    for plural in [
        "poddisruptionbudgets",
        "horizontalpodautoscalers",
        "deployments",
        "statefulsets",
        "services",
        "networkpolicies",
        "configmaps",
        "serviceaccounts",
    ] {
        only(plural);
        fleet.look().await;
        assert!(!gone(&fleet).await, "after {plural}");
    }
    only("secrets");
    fleet.look().await;
    assert!(gone(&fleet).await, "{:?}", fleet.degraded().await);
    assert!(fleet.cluster("south").everything().await.is_empty());
}

/// The west is left while its cluster hangs, and the south comes home.
async fn west_is_left() -> Fleet {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    fleet.hang("west");
    let regions = json!([{ "name": "north" }, { "name": "south" }]);
    fleet.home.change(json!({ "spec": { "regions": regions } })).await;
    fleet.settle().await;
    assert_eq!(fleet.degraded().await.unwrap().0, "ClusterNotCleared");
    fleet
}

/// A cluster that no region is in any more is cleared, and forgotten; the finalizer goes with the last one.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_left_is_cleared() {
    let fleet = west_is_left().await;
    let (_, message) = fleet.degraded().await.unwrap();
    assert!(message.contains("Secret west"), "{message}");
    // The south came home: there first, and then away from where it was.
    assert!(
        fleet
            .home
            .names::<Deployment>()
            .await
            .contains(&"cinema-south-edge".to_owned())
    );
    assert!(fleet.cluster("south").everything().await.is_empty());
    fleet.wake("west");
    sleep(Duration::from_mins(2)).await;
    for _ in 0..4 {
        fleet.look().await;
        sleep(Duration::from_secs(1)).await;
    }
    assert!(fleet.cluster("west").everything().await.is_empty());
    let platform = fleet.home.platform().await;
    assert!(platform.finalizers().is_empty());
    assert!(platform.status.unwrap().clusters.is_empty());
    assert_eq!(fleet.degraded().await, None);
    let before = fleet.revisions();
    sleep(Duration::from_secs(20)).await;
    fleet.look().await;
    assert_eq!(fleet.revisions(), before);
}

/// UIDs of what runs in the south.
async fn running(fleet: &Fleet) -> Vec<Option<String>> {
    let deployments = fleet
        .cluster("south")
        .api::<Deployment>()
        .list(&ListParams::default())
        .await
        .unwrap();
    deployments.iter().map(ResourceExt::uid).collect()
}

/// The same cluster by another Secret: everything is taken over as it is, the signing key too; and back again at once.
#[tokio::test(start_paused = true)]
async fn a_secret_may_be_renamed() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    let (before, objects) = (running(&fleet).await, fleet.cluster("south").everything().await);
    assert!(objects.contains(&"Secret cinema-signing-key".to_owned()), "{objects:?}");
    fleet.home.create_secret(&kubeconfig("south-2", "south")).await;
    for (secret, recorded) in [("south-2", ["south-2", "west"]), ("south", ["south", "west"])] {
        fleet.move_to("south", Some(secret)).await;
        for _ in 0..4 {
            fleet.look().await;
            sleep(Duration::from_secs(1)).await;
            assert_eq!(fleet.cluster("south").everything().await, objects, "by {secret}");
        }
        assert_eq!(running(&fleet).await, before);
        assert_eq!(fleet.degraded().await, None);
        assert_eq!(fleet.recorded().await, recorded);
    }
}

/// One cluster by two Secrets at a time: said, and nothing of the one is taken away by the other.
#[tokio::test(start_paused = true)]
async fn one_cluster_by_two_secrets_is_refused() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    let before = running(&fleet).await;
    fleet.home.create_secret(&kubeconfig("also-south", "south")).await;
    fleet.move_to("west", Some("also-south")).await;
    for _ in 0..4 {
        fleet.look().await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(running(&fleet).await, before);
    let message = fleet.region("west").await.message.unwrap();
    assert!(message.contains("name the same Secret and key"), "{message}");
    assert_eq!(fleet.region("south").await.message, None);
}

/// A cluster that the spec has left may be given up like any other.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_was_left_may_be_given_up() {
    let fleet = west_is_left().await;
    assert_eq!(fleet.recorded().await, ["west"]);
    let annotation = json!({ "metadata": { "annotations": { "showrunner.dev/abandon-clusters": "east, west" } } });
    fleet.home.change(annotation).await;
    let before = fleet.cluster("west").everything().await;
    fleet.look().await;
    assert!(fleet.recorded().await.is_empty());
    assert_eq!(fleet.degraded().await, None);
    assert!(fleet.home.platform().await.finalizers().is_empty());
    assert_eq!(fleet.cluster("west").everything().await, before);
}

/// Place of the first and of the last request that has all of these words.
fn places(requests: &[String], words: &[&str]) -> (usize, usize) {
    let mut places = requests
        .iter()
        .enumerate()
        .filter(|(_, request)| words.iter().all(|word| request.contains(word)))
        .map(|(place, _)| place);
    let first = places.next().unwrap_or_else(|| panic!("no {words:?} in {requests:?}"));
    (first, places.next_back().unwrap_or(first))
}

/// Until the last pod of a platform is on its way out, its policies say who may talk to it.
#[tokio::test(start_paused = true)]
async fn policies_go_after_what_they_protect() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    // A cluster loses roles, then its region; then the platform goes.
    let mut regions = serde_json::to_value(fleet.home.platform().await.spec.regions).unwrap();
    regions[1]["roles"] = json!(["edge", "steering"]);
    fleet.home.change(json!({ "spec": { "regions": regions } })).await;
    let written = async || {
        fleet.away["south"].hanging.requests();
        fleet.settle().await;
        fleet.away["south"].hanging.writes()
    };
    let roles = written().await;
    fleet.move_to("south", None).await;
    let left = written().await;
    fleet.at_home.requests();
    let params = DeleteParams::default();
    fleet.home.platforms().delete("cinema", &params).await.unwrap();
    fleet.look().await;
    let gone = fleet.at_home.writes();
    for (writes, workload) in [
        (&roles, "/statefulsets/"),
        (&roles, "/deployments/"),
        (&left, "/deployments/"),
        (&gone, "/statefulsets/"),
        (&gone, "/deployments/"),
    ] {
        let (_, last) = places(writes, &["DELETE", workload]);
        let (policy, _) = places(writes, &["DELETE", "/networkpolicies/"]);
        assert!(last < policy, "{writes:#?}");
    }
    // What would start pods anew goes before them.
    for writes in [left, gone] {
        let (_, scaler) = places(&writes, &["DELETE", "/horizontalpodautoscalers/"]);
        let (workload, _) = places(&writes, &["DELETE", "/deployments/"]);
        assert!(scaler < workload, "{writes:#?}");
    }
}

/// `kubectl delete --cascade=orphan`: until the garbage collector has let go of what is at home, it is not ours to remove.
#[tokio::test(start_paused = true)]
async fn what_is_to_be_left_at_home_is_left() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    let before = fleet.home.everything().await;
    let params = DeleteParams::default();
    fleet.home.platforms().delete("cinema", &params).await.unwrap();
    fleet.hang("south");
    let mut platform = fleet.home.platform().await;
    platform.finalizers_mut().push("orphan".to_owned());
    fleet.look_at(platform).await.unwrap();
    assert_eq!(fleet.home.everything().await, before);
    assert!(fleet.cluster("west").everything().await.is_empty());
    fleet.look().await;
    assert!(fleet.home.names::<Deployment>().await.is_empty(), "otherwise they go");
}

/// A cluster that can be read, and from which nothing can be taken away.
#[tokio::test(start_paused = true)]
async fn deletions_that_hang_delay_by_a_deadline() {
    let fleet = Fleet::start().await;
    fleet.settle().await;
    fleet.away["west"].hanging.set(|request| request.starts_with("DELETE"));
    let regions = json!([{ "name": "north" }, platform().spec.regions[1]]);
    fleet.home.change(json!({ "spec": { "regions": regions } })).await;
    let deadline = fleet.options.cluster_deadline;
    let (mut spent, mut longest) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..60 {
        let (took, _) = fleet.look().await;
        spent += took;
        longest = longest.max(took);
        for cluster in [&fleet.home, fleet.cluster("south")] {
            cluster.give_addresses().await;
            cluster.everything_runs().await;
        }
        sleep(Duration::from_millis(2500)).await;
    }
    assert!(
        (deadline..deadline + Duration::from_millis(100)).contains(&longest),
        "{longest:?}"
    );
    // Ever more rarely.
    assert!(spent <= 14 * deadline, "{spent:?}");
    let (reason, message) = fleet.degraded().await.unwrap();
    assert_eq!(reason, "ClusterNotCleared");
    assert!(message.contains("Secret west"), "{message}");
    fleet.wake("west");
    for _ in 0..40 {
        fleet.look().await;
        sleep(Duration::from_millis(2500)).await;
    }
    assert!(fleet.cluster("west").everything().await.is_empty());
    assert_eq!(fleet.degraded().await, None);
    // The same where the platform goes.
    fleet.away["south"].hanging.set(|request| request.starts_with("DELETE"));
    let params = DeleteParams::default();
    fleet.home.platforms().delete("cinema", &params).await.unwrap();
    let (took, _) = fleet.look().await;
    assert!(took < deadline + Duration::from_millis(100), "{took:?}");
    fleet.wake("south");
    fleet.look().await;
    assert!(gone(&fleet).await);
}
