//! Viewers on a live stream that fails in various ways.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod viewer_support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use showrunner_loadtest::audience::{
    Arrivals, AudiencePlan, AudienceReport, Network, PhaseTarget, RegionSlice, drive_audience,
};
use showrunner_loadtest::http::Deadlines;
use showrunner_loadtest::player::{LoadPolicy, MediaPolicy, PlayerSettings, RetryPolicy, ServiceEndpoint, Services};
use showrunner_loadtest::telemetry::{EventBody, MemorySink, RequestClass, SessionEnd, SessionEvent};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;
use viewer_support::{Host, Mode, Stream, eventually};

const SEGMENT: Duration = Duration::from_secs(1);

struct Setup {
    stream: Arc<Stream>,
    control: Host,
    edges: Vec<Host>,
    sink: Arc<MemorySink>,
}

async fn setup(edges: &[&str], steering: bool) -> Setup {
    let stream = Arc::new(Stream::new(SEGMENT, 20_000));
    let control = Host::start(Arc::clone(&stream)).await;
    let mut hosts = Vec::new();
    for id in edges {
        let host = Host::start(Arc::clone(&stream)).await;
        stream
            .pathways
            .lock()
            .unwrap()
            .push(((*id).to_owned(), host.url.clone()));
        if steering {
            stream.priority.lock().unwrap().push((*id).to_owned());
        }
        hosts.push(host);
    }
    Setup {
        stream,
        control,
        edges: hosts,
        sink: Arc::default(),
    }
}

impl Setup {
    fn plan(&self, viewers: u32, seconds: u64) -> AudiencePlan {
        let media = MediaPolicy::of(LoadPolicy {
            deadlines: Deadlines {
                connect: Duration::from_secs(1),
                first_byte: Duration::from_secs(1),
                stall: Duration::from_secs(1),
                total: Duration::from_secs(5),
            },
            retry: RetryPolicy::default(),
        });
        AudiencePlan {
            playback_url: Url::parse(&format!("{}/play/one/multivariant.m3u8", self.control.url)).unwrap(),
            channel: "one".into(),
            phases: vec![
                PhaseTarget {
                    duration: Duration::from_millis(200),
                    viewers,
                },
                PhaseTarget {
                    duration: Duration::from_secs(seconds),
                    viewers,
                },
            ],
            regions: vec![RegionSlice {
                region: "east".into(),
                share: 1,
            }],
            networks: vec![Network {
                name: "lan".into(),
                share: 1,
                down_kbps: None,
                rtt: Duration::ZERO,
            }],
            arrivals: Arrivals::Even,
            seed: 1,
            player: PlayerSettings {
                media,
                alone: media,
                fatal_after: Duration::from_secs(3),
                ..PlayerSettings::default()
            },
        }
    }

    fn run(&self, plan: AudiencePlan) -> tokio::task::JoinHandle<AudienceReport> {
        let sink = Arc::clone(&self.sink);
        tokio::spawn(async move {
            drive_audience(plan, Instant::now(), sink, CancellationToken::new())
                .await
                .unwrap()
        })
    }

    fn sessions(&self) -> Vec<(u64, u32, SessionEvent)> {
        let viewer = |event: showrunner_loadtest::telemetry::TelemetryEvent| match event.body {
            EventBody::Viewer { viewer, event: session } => Some((event.at_ms, viewer, session)),
            _ => None,
        };
        self.sink.events().into_iter().filter_map(viewer).collect()
    }

    fn count(&self, wanted: impl Fn(&SessionEvent) -> bool) -> usize {
        self.sessions().iter().filter(|(_, _, event)| wanted(event)).count()
    }

    fn ends(&self) -> Vec<SessionEnd> {
        self.sessions()
            .into_iter()
            .filter_map(|(_, _, event)| match event {
                SessionEvent::Ended(end) => Some(end),
                _ => None,
            })
            .collect()
    }

    async fn all_playing(&self, viewers: usize) {
        eventually("every viewer starts", Duration::from_secs(5), || {
            self.count(|event| matches!(event, SessionEvent::Startup { .. })) == viewers
        })
        .await;
    }
}

#[tokio::test]
async fn viewers_start_and_play() {
    let setup = setup(&["east"], true).await;
    let mut plan = setup.plan(4, 5);
    plan.player = PlayerSettings::default();
    let report = setup.run(plan).await.unwrap();
    assert_eq!(setup.count(|event| matches!(event, SessionEvent::Error { .. })), 0);
    assert_eq!(
        (report.sessions, report.started, report.fatal, report.stalled_ms),
        (4, 4, 0, 0)
    );
    for end in setup.ends() {
        assert!(end.startup_ms < 1000, "{end:?}");
        let length = end.startup_ms + end.played_ms + end.stalled_ms;
        assert!((4500..6000).contains(&length), "{end:?}");
        assert!(end.gap_max_ms < 2500, "{end:?}");
        assert_eq!(&*end.pathway, "east");
    }
    // Five seconds of one-second segments, three of them from before.
    let segments = report.classes[&RequestClass::Segment].requests;
    assert!((4 * 6..=4 * 9).contains(&segments), "{segments}");
    assert!(report.classes[&RequestClass::Steering].requests >= 4 * 3);
    assert!(
        setup
            .sink
            .events()
            .iter()
            .any(|event| matches!(event.body, EventBody::Generator(_)))
    );
    let playing =
        |event: &EventBody| matches!(event, EventBody::Second(second) if second.playing == 4 && second.hit_bytes > 0);
    assert!(setup.sink.events().iter().any(|event| playing(&event.body)));
}

#[tokio::test]
async fn connections_are_kept() {
    let setup = setup(&["east"], true).await;
    let mut plan = setup.plan(2, 3);
    plan.player.connections_per_host = 1;
    let report = setup.run(plan).await.unwrap();
    let requests: u64 = report.classes.values().map(|class| class.requests).sum();
    assert!(requests > 30, "{requests}");
    // One to the edge and one to the control host, each.
    assert_eq!(setup.stream.counts.connections.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_frozen_stream_stalls_and_the_gap_is_seen() {
    let setup = setup(&["east"], true).await;
    let running = setup.run(setup.plan(2, 8));
    setup.all_playing(2).await;
    setup.stream.freeze();
    eventually("both stall", Duration::from_secs(6), || {
        setup.count(|event| matches!(event, SessionEvent::StallStarted { .. })) == 2
    })
    .await;
    setup.stream.frozen_at.store(0, Ordering::Relaxed);
    eventually("both play again", Duration::from_secs(3), || {
        setup.count(|event| matches!(event, SessionEvent::StallEnded { .. })) == 2
    })
    .await;
    let report = running.await.unwrap();
    assert!(report.stalled_ms > 0);
    assert!(
        setup.ends().iter().all(|end| end.gap_max_ms > 2000),
        "{:?}",
        setup.ends()
    );
    assert_eq!(report.fatal, 0, "a frozen stream answers every request");
}

#[tokio::test]
async fn a_dead_edge_sends_viewers_to_another_pathway() {
    let setup = setup(&["east", "west"], false).await;
    let running = setup.run(setup.plan(4, 9));
    setup.all_playing(4).await;
    let before = Instant::now();
    setup.edges[0].kill();
    eventually("all play from west", Duration::from_secs(5), || {
        setup
            .count(|event| matches!(event, SessionEvent::FirstSegmentOnPathway { pathway, .. } if &**pathway == "west"))
            == 4
    })
    .await;
    assert!(before.elapsed() < Duration::from_secs(5));
    let report = running.await.unwrap();
    assert_eq!(report.fatal, 0);
    assert!(
        setup.ends().iter().all(|end| &*end.pathway == "west"),
        "{:?}",
        setup.ends()
    );
}

#[tokio::test]
async fn a_hanging_edge_too() {
    let setup = setup(&["east", "west"], false).await;
    let running = setup.run(setup.plan(3, 9));
    setup.all_playing(3).await;
    setup.edges[0].set(Mode::Hang);
    eventually("all play from west", Duration::from_secs(5), || {
        setup
            .count(|event| matches!(event, SessionEvent::FirstSegmentOnPathway { pathway, .. } if &**pathway == "west"))
            == 3
    })
    .await;
    assert_eq!(running.await.unwrap().fatal, 0);
}

#[tokio::test]
async fn steering_moves_viewers() {
    let setup = setup(&["east", "west"], true).await;
    let running = setup.run(setup.plan(3, 6));
    setup.all_playing(3).await;
    *setup.stream.priority.lock().unwrap() = vec!["west".into()];
    eventually("all follow", Duration::from_secs(4), || {
        setup
            .count(|event| matches!(event, SessionEvent::FirstSegmentOnPathway { pathway, .. } if &**pathway == "west"))
            == 3
    })
    .await;
    let report = running.await.unwrap();
    assert_eq!((report.fatal, report.stalled_ms), (0, 0));
}

/// The control: with nowhere to go, the same failure is fatal.
#[tokio::test]
async fn without_another_pathway_a_dead_edge_is_fatal() {
    let setup = setup(&["east"], true).await;
    let running = setup.run(setup.plan(2, 14));
    setup.all_playing(2).await;
    setup.edges[0].kill();
    let report = running.await.unwrap();
    assert_eq!(report.fatal, 2);
    assert!(report.stalled_ms > 0);
    assert_eq!(setup.count(|event| matches!(event, SessionEvent::Fatal { .. })), 2);
}

#[tokio::test]
async fn truncated_segments_are_errors_not_media() {
    let setup = setup(&["east", "west"], false).await;
    setup.edges[0].set(Mode::Truncate);
    let report = setup.run(setup.plan(2, 5)).await.unwrap();
    assert_eq!((report.started, report.fatal), (2, 0));
    assert!(setup.count(|event| matches!(event, SessionEvent::Error { .. })) >= 2);
    assert!(
        setup.ends().iter().all(|end| &*end.pathway == "west"),
        "{:?}",
        setup.ends()
    );
}

fn services(base: &str) -> Services {
    let endpoint = |path| Some(ServiceEndpoint::new(Url::parse(&format!("{base}{path}")).unwrap()));
    Services {
        entitlement: endpoint("/entitlement"),
        licence: endpoint("/licence"),
        heartbeat: endpoint("/heartbeat"),
        heartbeat_interval: Some(Duration::from_secs(1)),
    }
}

#[tokio::test]
async fn services_are_asked_before_playing() {
    let setup = setup(&["east"], true).await;
    let mut plan = setup.plan(2, 4);
    plan.player.services = services(&setup.control.url);
    let report = setup.run(plan).await.unwrap();
    assert_eq!((report.started, report.fatal), (2, 0));
    assert_eq!(report.classes[&RequestClass::Entitlement].requests, 2);
    assert_eq!(report.classes[&RequestClass::Licence].requests, 2);
    assert!(report.classes[&RequestClass::Heartbeat].requests >= 4);
}

#[tokio::test]
async fn a_critical_service_that_is_down_is_fatal_an_optional_one_is_not() {
    for critical in [true, false] {
        let setup = setup(&["east"], true).await;
        let down = Host::start(Arc::clone(&setup.stream)).await;
        down.set(Mode::Unavailable);
        let mut plan = setup.plan(2, 12);
        plan.player.control.retry.max = Duration::from_secs(1);
        plan.player.services = services(&setup.control.url);
        let licence = plan.player.services.licence.as_mut().unwrap();
        (licence.url, licence.critical) = (Url::parse(&format!("{}/licence", down.url)).unwrap(), critical);
        if !critical {
            plan.phases[1].duration = Duration::from_secs(3);
        }
        let report = setup.run(plan).await.unwrap();
        assert_eq!((report.fatal, report.started), if critical { (2, 0) } else { (0, 2) });
    }
}

#[tokio::test]
async fn shutdown_ends_every_session_in_order() {
    let setup = setup(&["east"], true).await;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(drive_audience(
        setup.plan(5, 60),
        Instant::now(),
        setup.sink.clone(),
        shutdown.clone(),
    ));
    setup.all_playing(5).await;
    shutdown.cancel();
    let report = tokio::time::timeout(Duration::from_secs(3), running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(report.sessions, 5);
    assert_eq!(setup.ends().len(), 5);
}

#[tokio::test]
async fn requests_and_bytes_equal_what_the_server_counted() {
    let setup = setup(&["east", "west"], true).await;
    let report = setup.run(setup.plan(20, 4)).await.unwrap();
    for class in RequestClass::ALL {
        let ours = report.classes.get(&class).cloned().unwrap_or_default();
        assert_eq!(
            (ours.requests, ours.bytes),
            setup.stream.counts.get(class.name()),
            "{class:?}"
        );
    }
}
