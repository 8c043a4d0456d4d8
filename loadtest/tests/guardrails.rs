//! Each guardrail ends a drill: with exit code 4, its faults taken back, and its name in the evidence.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod drill_support;

use std::{path::Path, sync::Arc, sync::atomic::Ordering, time::Duration};

use drill_support::{ONE_AT_A_TIME, Stub, WELL, drill, injected};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::DeleteParams};
use serde_json::json;
use showrunner_loadtest::{
    drill::{self, Drill, DrillError},
    evidence,
    guardrail::{Terms, lever},
    judge::{Verdict, exit, judge},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const DRILLS: &str = "/apis/showrunner.dev/v1alpha1/namespaces/cinema/drills";

async fn run(drill: Drill) -> Result<Verdict, DrillError> {
    let _turn = ONE_AT_A_TIME.lock().await;
    let running = drill::run(drill, CancellationToken::new());
    timeout(Duration::from_secs(60), running).await.unwrap()
}

/// Runs a drill that a guardrail is to stop: `said` is in the verdict, and in the one that the evidence gives again.
async fn stopped(drill: Drill, said: &str) -> Verdict {
    let dir = drill.dir.clone();
    let verdict = run(drill).await.unwrap();
    assert_eq!(verdict.exit_code(), exit::GUARDRAIL, "{verdict:?}");
    assert!(
        verdict.doubts.iter().any(|doubt| doubt.contains(said)),
        "{said:?}: {verdict:?}"
    );
    assert!(verdict.undone, "{verdict:?}");
    assert_eq!(judge(&evidence::read(&dir.join("evidence.jsonl")).unwrap()), verdict);
    verdict
}

fn on_cluster(stub: &Arc<Stub>, dir: &Path, environment: Option<&str>) -> Drill {
    Drill {
        terms: Terms::cluster(environment.map(str::to_owned)),
        ..drill(stub, dir)
    }
}

/// What is not agreed to writes nothing, asks no viewer's question, and names what is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_does_not_agree_is_left_alone() {
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    let (yes, staging) = (
        json!({"showrunner.dev/drills": "allowed"}),
        json!({"showrunner.dev/drills": "allowed", "showrunner.dev/environment": "staging"}),
    );
    stopped(
        on_cluster(&stub, dir.path(), Some("staging")),
        "opt-in: the namespace does not agree",
    )
    .await;
    stub.annotate(&yes, &json!({})).await;
    stopped(
        on_cluster(&stub, dir.path(), Some("staging")),
        "opt-in: the StreamingPlatform does not agree",
    )
    .await;
    stub.annotate(&yes, &staging).await;
    for (environment, said) in [
        (None, "environment: the platform is `staging`"),
        (
            Some("production"),
            "environment: --environment is `production`, the platform is `staging`",
        ),
    ] {
        stopped(on_cluster(&stub, dir.path(), environment), said).await;
    }
    assert!(stub.names(DRILLS).await.is_empty(), "nothing was written");
    assert_eq!(stub.web.requests.load(Ordering::Relaxed), 0, "nothing was asked");
    // What agrees to it all is drilled.
    let verdict = run(on_cluster(&stub, dir.path(), Some("staging"))).await.unwrap();
    assert!(verdict.undone && verdict.exit_code() != exit::GUARDRAIL, "{verdict:?}");
    assert_eq!(stub.names(DRILLS).await, ["lost-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engaged_lever_lets_no_drill_start() {
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    lever::set(&stub.client(), true, "ana", "cup final").await.unwrap();
    stopped(drill(&stub, dir.path()), "safety lever: engaged by ana: cup final").await;
    assert!(stub.names(DRILLS).await.is_empty());
    lever::set(&stub.client(), false, "ana", "").await.unwrap();
    let verdict = run(drill(&stub, dir.path())).await.unwrap();
    assert!(verdict.exit_code() != exit::GUARDRAIL, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engaging_the_lever_ends_a_drill_and_its_fault() {
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    let mut drill = drill(&stub, dir.path());
    drill.scenario.audience.phases[0].duration = "50s".parse().unwrap();
    drill.scenario.faults[0].duration = "45s".parse().unwrap();
    let engage = async {
        injected(dir.path()).await;
        lever::set(&stub.client(), true, "ana", "").await.unwrap();
    };
    let (verdict, ()) = tokio::join!(stopped(drill, "safety lever: engaged by ana"), engage);
    assert!(
        stub.deleted.load(Ordering::Relaxed),
        "the fault was taken back: {verdict:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_goes_to_allowed_hosts_only() {
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    stub.web.names_another_host.store(true, Ordering::Relaxed);
    let said = "allow-host: load may not go to `edge.elsewhere.test`";
    stopped(drill(&stub, dir.path()), said).await;
    assert_eq!(stub.web.viewers.load(Ordering::Relaxed), 0, "no viewer asked");
    let before = stub.web.requests.load(Ordering::Relaxed);
    stub.play_at("http://edge.elsewhere.test/main.m3u8").await;
    stopped(drill(&stub, dir.path()), said).await;
    assert_eq!(stub.web.requests.load(Ordering::Relaxed), before, "nothing was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_beyond_a_limit_is_invalid() {
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    let mut drill = drill(&stub, dir.path());
    drill.terms.requests_per_second = Some(1);
    let refused = run(drill).await.unwrap_err();
    assert_eq!(refused.exit_code(), exit::INVALID, "{refused}");
    assert!(
        refused.to_string().contains("--max-requests-per-second is 1"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_a_share_of_a_role_is_not_touched() {
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    let with = |percent| {
        let mut drill = drill(&stub, dir.path());
        drill.scenario.guardrails.max_pod_percent = percent;
        drill.run = format!("lost-{percent}");
        drill
    };
    stopped(
        with(49),
        "guardrail at fault `lose-eu`: maxPodPercent: 1 of 2 running edge pods",
    )
    .await;
    assert!(!stub.deleted.load(Ordering::Relaxed), "nothing was injected");
    let verdict = run(with(50)).await.unwrap();
    assert!(verdict.exit_code() != exit::GUARDRAIL, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_shrinks_ends_a_fault_that_holds_too_much_of_it() {
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    let mut drill = drill(&stub, dir.path());
    drill.scenario.guardrails.max_pod_percent = 50;
    drill.scenario.audience.phases[0].duration = "50s".parse().unwrap();
    drill.scenario.faults[0].duration = "45s".parse().unwrap();
    let pods: Api<Pod> = Api::namespaced(stub.client(), "cinema");
    let shrinks = async {
        injected(dir.path()).await;
        pods.delete("cinema-us-edge-0", &DeleteParams::default().grace_period(0))
            .await
            .unwrap();
    };
    let said = "maxPodPercent: 1 of 1 running edge pods would be touched at a time, at most 50 % may";
    let (_, ()) = tokio::join!(stopped(drill, said), shrinks);
    assert!(stub.deleted.load(Ordering::Relaxed), "the fault was taken back");
}

/// By number, and far below what the autoscaler may add: only a look at the pods shows that it is all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_region_is_not_killed_edge_by_edge_either() {
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    let with = |run: &str| {
        let mut drill = drill(&stub, dir.path());
        let some = json!({"podKill": {"role": "edge", "region": "eu", "count": 1}});
        drill.scenario.faults[0].action = serde_json::from_value(some).unwrap();
        drill.run = run.to_owned();
        drill
    };
    stub.ready("us", 0).await;
    stopped(
        with("lost-1"),
        "guardrail at fault `lose-eu`: no region but eu has a ready edge",
    )
    .await;
    assert!(!stub.deleted.load(Ordering::Relaxed), "nothing was injected");
    stub.ready("us", 1).await;
    let verdict = run(with("lost-2")).await.unwrap();
    assert!(verdict.undone && verdict.exit_code() != exit::GUARDRAIL, "{verdict:?}");
    assert!(stub.deleted.load(Ordering::Relaxed), "it was injected, and taken back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_regions_are_touched_than_may_be() {
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    let mut drill = drill(&stub, dir.path());
    drill.scenario.guardrails.max_regions = Some(1);
    let both = json!({"podKill": {"role": "edge", "count": 2}});
    drill.scenario.faults[0].action = serde_json::from_value(both).unwrap();
    stopped(
        drill,
        "maxRegions: 2 regions would be touched at a time (eu, us), at most 1 may",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_that_fare_badly_end_the_run() {
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    stub.web.refuses_viewers.store(true, Ordering::Relaxed);
    let mut drill = drill(&stub, dir.path());
    drill.scenario.audience.phases[0].duration = "50s".parse().unwrap();
    drill.scenario.audience.phases[0].viewers = 50;
    let stop = json!({"metric": "requestErrors", "window": "10s", "above": 0.5, "minSamples": 3});
    drill.scenario.guardrails.stop_when = vec![serde_json::from_value(stop).unwrap()];
    stopped(drill, "stopWhen: requestErrors was 1.000 over the last 10s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_takes_too_long_ends() {
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    let mut drill = drill(&stub, dir.path());
    // The timeline fits; what comes before it does not any more.
    drill.scenario.guardrails.max_duration = "123s".parse().unwrap();
    stopped(drill, "maxDuration: of 2m3s, 2m are left").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_region_comes_back_when_no_other_serves() {
    let (dir, stub) = (tempfile::tempdir().unwrap(), Stub::start(WELL).await);
    let mut drill = drill(&stub, dir.path());
    drill.scenario.audience.phases[0].duration = "50s".parse().unwrap();
    drill.scenario.faults[0].duration = "45s".parse().unwrap();
    let fails = async {
        injected(dir.path()).await;
        stub.ready("us", 0).await;
    };
    let (_, ()) = tokio::join!(
        stopped(drill, "no region but those that are lost was seen to serve"),
        fails
    );
    assert!(stub.deleted.load(Ordering::Relaxed));
}
