//! A region that hangs costs the others nothing, is reported, and recovers by itself. Time is virtual.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Pod, Service},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    runtime::controller::Action,
};
use serde_json::json;
use showrunner_crds::{platform::RegionStatus, premiere::Premiere};
use showrunner_operator::{
    Clock, OperatorOptions,
    reconcile::{Context, ReconcileError, reconcile},
};
use support::{cluster::Cluster, flaky::Hanging};
use tokio::time::{Instant, sleep};

/// A platform of three regions, and an operator over a client that can hang.
struct Stage {
    cluster: Cluster,
    hanging: Hanging,
    operator: Arc<Context>,
}

impl Stage {
    async fn set() -> Self {
        let cluster = Cluster::with_cinema().await;
        let hanging = Hanging::default();
        let options = OperatorOptions {
            clock: Clock::runtime(Timestamp::from_second(1_800_000_000).unwrap()),
            ..OperatorOptions::default()
        };
        let operator = Arc::new(Context::new(hanging.client(&cluster.server), options));
        Self {
            cluster,
            hanging,
            operator,
        }
    }

    /// One look; tells how long it took, and when the next is due.
    async fn look(&self) -> (Duration, Action) {
        let platform = Arc::new(self.cluster.platform().await);
        let begun = Instant::now();
        let action = reconcile(platform, self.operator.clone()).await.unwrap();
        (begun.elapsed(), action)
    }

    async fn steering_pods(&self, region: &str, count: usize) {
        for n in 0..count {
            let name = format!("{region}-{n}");
            let pod = serde_json::from_value(json!({
                "metadata": { "name": name, "labels": {
                    "showrunner.dev/platform": "cinema", "showrunner.dev/role": "steering",
                    "showrunner.dev/region": region,
                } },
                "spec": { "containers": [{ "name": "steering", "image": "x" }] },
            }))
            .unwrap();
            self.cluster
                .api::<Pod>()
                .create(&PostParams::default(), &pod)
                .await
                .unwrap();
            let ready = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
            self.cluster.patch_status::<Pod>(&name, ready).await;
        }
    }

    /// Everything has an address and runs.
    async fn everything_runs(&self) {
        self.cluster.give_addresses().await;
        self.cluster.everything_runs().await;
    }

    async fn floor(&self, region: &str) -> Option<i32> {
        let name = format!("cinema-{region}-edge");
        let autoscalers = self.cluster.api::<HorizontalPodAutoscaler>();
        autoscalers.get(&name).await.unwrap().spec.min_replicas
    }

    async fn region(&self, name: &str) -> RegionStatus {
        let regions = self.cluster.platform().await.status.unwrap().regions;
        regions.into_iter().find(|region| region.name == name).unwrap()
    }

    /// Reason of `Degraded` where it is true.
    async fn degraded(&self) -> Option<String> {
        let conditions = self.cluster.platform().await.status.unwrap().conditions;
        let degraded = conditions
            .into_iter()
            .find(|condition| condition.type_ == "Degraded")
            .unwrap();
        (degraded.status == "True").then_some(degraded.reason)
    }

    /// The storage that the edges of a region are told to use.
    async fn cache(&self, region: &str) -> String {
        let edge = self
            .cluster
            .api::<Deployment>()
            .get(&format!("cinema-{region}-edge"))
            .await;
        let containers = edge.unwrap().spec.unwrap().template.spec.unwrap().containers;
        containers[0].args.clone().unwrap().join(" ")
    }
}

/// Forty steering servers in the south hang; the north tells its audience all the same.
#[tokio::test(start_paused = true)]
async fn steering_servers_that_hang() {
    let stage = Stage::set().await;
    stage.look().await;
    stage.everything_runs().await;
    stage.steering_pods("south", 40).await;
    stage.steering_pods("north", 2).await;
    sleep(Duration::from_secs(10)).await;
    stage.hanging.set(|request| request.contains("/pods/south-"));

    let (first, _) = stage.look().await;
    assert!(
        (Duration::from_millis(900)..Duration::from_millis(1200)).contains(&first),
        "nobody hangs, or everybody waits: {first:?}"
    );
    // 200 viewers, a quarter more, 50 an edge.
    assert_eq!(stage.floor("north").await, Some(5));
    for _ in 0..9 {
        sleep(Duration::from_millis(2500)).await;
        let (next, _) = stage.look().await;
        assert!(next < Duration::from_millis(400), "{next:?}");
    }
    assert_eq!(stage.cluster.platform().await.status.unwrap().audience, 200);
    assert_eq!(stage.degraded().await.as_deref(), Some("AudienceUnknown"));
    assert!(stage.region("south").await.message.unwrap().contains("audience"));
    assert_eq!(stage.region("north").await.message, None);

    stage.hanging.clear();
    sleep(Duration::from_millis(2500)).await;
    stage.look().await;
    assert_eq!(
        (stage.degraded().await, stage.region("south").await.message),
        (None, None)
    );
    assert_eq!(stage.cluster.platform().await.status.unwrap().audience, 42 * 100);
}

/// Nothing can be written in the south.
#[tokio::test(start_paused = true)]
async fn writes_that_hang() {
    let stage = Arc::new(Stage::set().await);
    stage.look().await;
    stage.everything_runs().await;
    stage.look().await;
    stage
        .hanging
        .set(|request| request.starts_with("PATCH") && request.contains("-south-"));
    stage
        .cluster
        .change(json!({ "spec": { "edge": { "cacheMib": 333 } } }))
        .await;

    let begun = Instant::now();
    let looking = tokio::spawn({
        let stage = stage.clone();
        async move { stage.look().await }
    });
    while !(stage.cache("north").await.contains("333m") && stage.cache("west").await.contains("333m")) {
        sleep(Duration::from_millis(5)).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "the others wait");
    }
    let (first, action) = looking.await.unwrap();
    assert!(first > Duration::from_secs(10), "or nothing hung: {first:?}");
    assert_eq!(stage.degraded().await.as_deref(), Some("ApplyFailed"));
    assert!(stage.region("south").await.message.unwrap().contains("does not answer"));
    assert_eq!(stage.region("north").await.message, None);
    // The next look comes as if nothing had happened.
    assert_eq!(action, Action::requeue(Duration::from_secs(10)));

    // From now on the south costs a look a little every now and then, ever more rarely.
    stage.steering_pods("north", 3).await;
    let (mut most, mut spent, mut looks) = (Duration::ZERO, Duration::ZERO, 0);
    let until = Instant::now() + Duration::from_mins(5);
    while Instant::now() < until {
        sleep(Duration::from_millis(2500)).await;
        let (took, _) = stage.look().await;
        (most, spent, looks) = (most.max(took), spent + took, looks + 1);
        assert_eq!(stage.degraded().await.as_deref(), Some("ApplyFailed"));
    }
    assert_eq!(stage.floor("north").await, Some(8));
    assert!(
        most < Duration::from_millis(3500) && spent < Duration::from_secs(50),
        "{most:?} {spent:?} in {looks}"
    );
    assert!(!stage.cache("south").await.contains("333m"));

    stage.hanging.clear();
    let back = Instant::now();
    while stage.degraded().await.is_some() {
        sleep(Duration::from_millis(2500)).await;
        stage.look().await;
        assert!(back.elapsed() < Duration::from_secs(65), "it does not recover");
    }
    assert!(stage.cache("south").await.contains("333m"));
    assert_eq!(stage.region("south").await.message, None);
}

/// A status of a premiere that cannot be written ends a look with an error: what is never answered would end all looks. That
/// the south failed is remembered all the same.
#[tokio::test(start_paused = true)]
async fn a_premiere_whose_status_hangs() {
    let stage = Stage::set().await;
    stage.look().await;
    stage.everything_runs().await;
    let premiere: Premiere = serde_json::from_value(json!({
        "metadata": { "name": "opening", "namespace": support::cluster::NAMESPACE },
        "spec": { "platform": "cinema", "start": "2027-03-05T19:00:00Z", "duration": "1h", "expectedViewers": 100 },
    }))
    .unwrap();
    stage
        .cluster
        .api::<Premiere>()
        .create(&PostParams::default(), &premiere)
        .await
        .unwrap();
    stage.hanging.set(|request| {
        request.starts_with("PATCH") && (request.contains("/premieres/") || request.contains("-south-"))
    });
    stage
        .cluster
        .change(json!({ "spec": { "edge": { "cacheMib": 333 } } }))
        .await;
    let mut took = Vec::new();
    for _ in 0..2 {
        let platform = Arc::new(stage.cluster.platform().await);
        let begun = Instant::now();
        let error = reconcile(platform, stage.operator.clone()).await.unwrap_err();
        assert!(matches!(error, ReconcileError::StatusDeadline(_)), "{error}");
        took.push(begun.elapsed());
        sleep(Duration::from_secs(2)).await;
    }
    let status = OperatorOptions::default().request_deadline;
    assert!(
        took[0] > took[1] + Duration::from_secs(5),
        "a fifth of the time the second time: {took:?}"
    );
    assert!(took[1] < status + Duration::from_secs(5), "{took:?}");
}

/// At first, workloads wait for the Services of every region: their rules name them. But not for ever.
#[tokio::test(start_paused = true)]
async fn a_region_that_hangs_from_the_beginning() {
    let stage = Stage::set().await;
    stage.hanging.set(|request| request.contains("/services/cinema-south-"));
    let (first, _) = stage.look().await;
    assert!(
        (Duration::from_secs(15)..Duration::from_secs(20)).contains(&first),
        "{first:?}"
    );
    let deployments = stage.cluster.names::<Deployment>().await;
    assert!(
        deployments.contains(&"cinema-north-edge".to_owned()) && deployments.contains(&"cinema-west-edge".to_owned())
    );
    assert!(!deployments.contains(&"cinema-south-edge".to_owned()));
    stage.hanging.clear();
    sleep(Duration::from_secs(1)).await;
    stage.look().await;
    assert!(
        stage
            .cluster
            .names::<Deployment>()
            .await
            .contains(&"cinema-south-edge".to_owned())
    );
}

/// What is left of a region that was taken out of the platform cannot be removed; the others do not wait.
#[tokio::test(start_paused = true)]
async fn left_overs_that_hang() {
    let stage = Stage::set().await;
    stage.look().await;
    stage
        .hanging
        .set(|request| request.starts_with("DELETE") && request.contains("-south-"));
    let without =
        json!({ "spec": { "regions": [{ "name": "north" }, { "name": "west", "roles": ["edge", "steering"] }] } });
    stage.cluster.change(without).await;
    stage.look().await;
    assert_eq!(stage.degraded().await.as_deref(), Some("ApplyFailed"));
    stage
        .cluster
        .change(json!({ "spec": { "edge": { "cacheMib": 444 } } }))
        .await;
    let (next, _) = stage.look().await;
    assert!(
        stage.cache("north").await.contains("444m") && next < Duration::from_secs(4),
        "{next:?}"
    );
    stage.hanging.clear();
    sleep(Duration::from_mins(1)).await;
    stage.look().await;
    assert_eq!(stage.degraded().await, None);
    let services = stage
        .cluster
        .api::<Service>()
        .list(&ListParams::default())
        .await
        .unwrap();
    assert!(services.iter().all(|service| !service.name_any().contains("south")));
    // Nothing of it comes back.
    stage
        .cluster
        .api::<Service>()
        .delete("cinema-north-edge", &DeleteParams::default())
        .await
        .unwrap();
    stage.look().await;
    assert!(
        !stage
            .cluster
            .names::<Deployment>()
            .await
            .contains(&"cinema-south-edge".to_owned())
    );
}
