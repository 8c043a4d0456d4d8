//! The goose shell: alone in its process, because goose's state is global.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod viewer_support;

use std::sync::Arc;
use std::time::Duration;

use showrunner_loadtest::audience::{
    Arrivals, AudienceError, AudiencePlan, GooseRun, Network, PhaseTarget, RegionSlice, run_audience,
};
use showrunner_loadtest::player::PlayerSettings;
use showrunner_loadtest::telemetry::{NullSink, RequestClass};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;
use viewer_support::{Host, Stream};

#[tokio::test]
async fn goose_counts_what_the_server_counted() {
    let stream = Arc::new(Stream::new(Duration::from_secs(1), 20_000));
    let host = Host::start(Arc::clone(&stream)).await;
    stream.pathways.lock().unwrap().push(("east".into(), host.url.clone()));
    stream.priority.lock().unwrap().push("east".into());
    let region = |name: &str| RegionSlice {
        region: name.into(),
        share: 1,
    };
    let plan = AudiencePlan {
        playback_url: Url::parse(&format!("{}/play/one/multivariant.m3u8", host.url)).unwrap(),
        channel: "one".into(),
        phases: vec![
            PhaseTarget {
                duration: Duration::from_millis(500),
                viewers: 20,
            },
            PhaseTarget {
                duration: Duration::from_secs(4),
                viewers: 20,
            },
        ],
        regions: vec![region("east"), region("west")],
        networks: vec![Network {
            name: "lan".into(),
            share: 1,
            down_kbps: None,
            rtt: Duration::ZERO,
        }],
        arrivals: Arrivals::Poisson,
        seed: 3,
        player: PlayerSettings::default(),
    };
    let start = Instant::now() + Duration::from_millis(300);
    let second = plan.clone();
    let running = tokio::spawn(run_audience(plan, start, Arc::new(NullSink), CancellationToken::new()));
    tokio::time::sleep_until(start).await;
    let busy = run_audience(second, start, Arc::new(NullSink), CancellationToken::new()).await;
    assert!(matches!(busy, Err(AudienceError::Busy)), "{busy:?}");

    let report = running.await.unwrap().unwrap();
    assert_eq!(
        (report.sessions, report.started, report.fatal, report.unreported),
        (20, 20, 0, 0)
    );
    let GooseRun { metrics: goose, html } = report.goose.unwrap();
    for class in RequestClass::ALL {
        let ours = report.classes.get(&class).cloned().unwrap_or_default();
        assert_eq!(
            (ours.requests, ours.bytes),
            stream.counts.get(class.name()),
            "{class:?}"
        );
        let theirs: usize = goose
            .requests
            .values()
            .filter(|metric| &*metric.path == class.name())
            .map(|metric| metric.success_count + metric.fail_count)
            .sum();
        assert_eq!(theirs as u64, ours.requests, "{class:?} in goose");
    }
    let html = html.unwrap();
    assert!(
        html.contains("<html") && html.contains(RequestClass::Steering.name()),
        "goose's own report"
    );
    assert_eq!(goose.total_users, 2, "one user a region");
}
