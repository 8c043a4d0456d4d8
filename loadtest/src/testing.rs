//! Small values that tests of several modules share.
#![allow(clippy::unwrap_used, missing_docs)]

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, api::PostParams};
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use showrunner_crds::{
    crd::crd,
    drill::DrillSpec,
    platform::StreamingPlatformSpec,
    scenario::ScenarioSpec,
    wire::{OriginStats, SegmentFetches, ShieldFetches},
};

use crate::{
    evidence::{Event, Evidence, FaultStage, Header, OriginSeen, Record, RunEnd, SCHEMA, SteadyStage},
    judge::{Facts, GateResult, Outcome, Session, Verdict},
    telemetry::{EventBody, GeneratorHealth, SessionEvent, TelemetryEvent},
};

/// An API server that knows Drills, with the namespace `cinema`.
pub(crate) async fn server_with_drills() -> ApiServer {
    let server = ApiServer::new(ApiServerConfig::default());
    let client = server.client("cinema");
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let drills = crd("Drill").unwrap();
    definitions.create(&PostParams::default(), &drills).await.unwrap();
    let namespace = serde_json::from_value(serde_json::json!({ "metadata": { "name": "cinema" } })).unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    server
}

/// A drill of the platform `cinema`.
pub(crate) fn drill_spec() -> DrillSpec {
    DrillSpec {
        scenario: "night".into(),
        platform: "cinema".into(),
        seed: None,
    }
}

/// Three regions, ten viewers to an edge.
pub(crate) fn platform() -> StreamingPlatformSpec {
    serde_json::from_value(serde_json::json!({
        "channels": [{ "name": "main", "ladder": [{ "name": "low", "width": 256, "height": 144, "bitrateKbps": 120 }] }],
        "regions": [{ "name": "eu" }, { "name": "us" }, { "name": "apac", "roles": ["edge", "steering"] }],
        "edge": { "viewersPerReplica": 10 },
        "services": [{ "name": "licence", "kind": "licence" }],
    }))
    .unwrap()
}

/// Doors 10 s → 10 viewers, surge 10 s → 40, peak 40 s; `eu` is lost 10 s into the peak for 10 s.
pub(crate) fn scenario() -> ScenarioSpec {
    serde_json::from_value(serde_json::json!({
        "title": "Test night",
        "audience": {
            "channel": "main",
            "regions": [{ "region": "eu", "share": 1 }, { "region": "us", "share": 1 }],
            "phases": [
                { "name": "doors", "duration": "10s", "viewers": 10 },
                { "name": "surge", "duration": "10s", "viewers": 40 },
                { "name": "peak", "duration": "40s", "viewers": 40 },
            ],
        },
        "faults": [{
            "name": "lose-eu",
            "start": { "phase": "peak", "after": "10s" },
            "duration": "10s",
            "action": { "regionLoss": { "region": "eu" } },
        }],
        "gates": [
            { "name": "startup", "check": { "startupTime": { "percentile": 95.0, "below": "2s" } } },
            { "name": "failover", "check": { "failoverTime": { "fault": "lose-eu", "within": "10s" } } },
            { "name": "undone", "check": { "faultsUndone": {} } },
        ],
    }))
    .unwrap()
}

/// A session from `started` on that shows its first frame at `playing_since`.
pub(crate) fn session(viewer: u32, started: i64, playing_since: Option<i64>, ended: i64) -> Session {
    Session {
        viewer,
        region: "eu".into(),
        started,
        playing_since,
        ended: Some(ended),
        ..Session::default()
    }
}

/// Facts of a run of a minute in which the generator kept up.
pub(crate) fn facts(sessions: Vec<Session>) -> Facts {
    Facts {
        sessions,
        generator: (60, 0),
        end: 60_000,
        ..Facts::default()
    }
}

/// Evidence of a run that passes: one viewer that moves from `eu` to `us` in time.
pub(crate) fn evidence() -> Evidence {
    let viewer = |t: i64, event: SessionEvent| {
        let body = EventBody::Viewer { viewer: 1, event };
        Record {
            t,
            event: Event::Viewer(TelemetryEvent { at_ms: t as u64, body }),
        }
    };
    let fault = |t: i64, stage| Record {
        t,
        event: Event::Fault {
            name: "lose-eu".into(),
            stage,
            detail: String::new(),
        },
    };
    let steady = |t: i64, stage| Record {
        t,
        event: Event::Steady {
            stage,
            ok: true,
            detail: "3/3".into(),
        },
    };
    let mut records = vec![
        steady(-1000, SteadyStage::Before),
        viewer(
            1000,
            SessionEvent::Started {
                region: "eu".into(),
                network: "home".into(),
            },
        ),
        viewer(
            1800,
            SessionEvent::Startup {
                ms: 800,
                pathway: "eu".into(),
            },
        ),
        fault(29_900, FaultStage::Injecting),
        fault(30_000, FaultStage::Injected),
        viewer(31_000, SessionEvent::StallStarted { pathway: "eu".into() }),
        viewer(
            32_000,
            SessionEvent::PathwaySwitched {
                from: "eu".into(),
                to: "us".into(),
                reason: crate::telemetry::PathwaySwitchReason::Errors,
            },
        ),
        viewer(
            33_000,
            SessionEvent::StallEnded {
                ms: 2000,
                pathway: "us".into(),
            },
        ),
        viewer(
            33_000,
            SessionEvent::FirstSegmentOnPathway {
                pathway: "us".into(),
                ms: 1000,
            },
        ),
        fault(40_000, FaultStage::Undone),
        steady(60_000, SteadyStage::After),
        Record {
            t: 60_000,
            event: Event::End {
                outcome: RunEnd::Completed,
                detail: String::new(),
            },
        },
    ];
    records.extend((0..60).map(|second| Record {
        t: second * 1000,
        event: Event::Viewer(TelemetryEvent {
            at_ms: second as u64 * 1000,
            body: EventBody::Generator(GeneratorHealth::default()),
        }),
    }));
    records.sort_by_key(|r| r.t);
    let header = Header {
        schema: SCHEMA,
        run: "test-night-1".into(),
        version: "0.0.0".into(),
        started: "2026-01-01T20:00:00Z".parse().unwrap(),
        seed: 1,
        scenario_name: "test-night".into(),
        scenario: scenario(),
        platform_name: "cinema".into(),
        platform: platform(),
        cores: 2,
    };
    Evidence {
        header,
        records,
        end: (RunEnd::Completed, String::new()),
    }
}

/// A verdict with a gate of each outcome.
pub(crate) fn verdict() -> Verdict {
    let gate = |name: &str, outcome, measured: &str| GateResult {
        name: name.into(),
        asks: format!("{name} < 2 s"),
        outcome,
        measured: measured.into(),
        samples: 100,
        because: "100 sessions".into(),
    };
    Verdict {
        run: "test-night-1".into(),
        scenario: "test-night".into(),
        title: "Test night".into(),
        platform: "cinema".into(),
        seed: 1,
        outcome: Outcome::Fail,
        undone: true,
        ended: RunEnd::Completed,
        doubts: Vec::new(),
        gates: vec![
            gate("startup", Outcome::Pass, "p95 0.8 s"),
            gate("rebuffering", Outcome::Fail, "7.00 %"),
            gate("gap", Outcome::Inconclusive, "no data"),
        ],
    }
}

/// A look at an origin: one shield's fetches by segment and try, and the sum that the origin states.
pub(crate) fn origin_seen(
    pod: &str,
    instance: &str,
    shield: &str,
    segments: &[(&str, &[u64])],
    fetches: u64,
) -> OriginSeen {
    let segments = segments.iter().map(|(segment, tries)| SegmentFetches {
        segment: (*segment).into(),
        tries: tries.to_vec(),
        age_ms: 0,
    });
    let counts = ShieldFetches {
        fetches,
        segments: segments.collect(),
        ..ShieldFetches::default()
    };
    OriginSeen {
        pod: pod.into(),
        stats: OriginStats {
            instance: instance.into(),
            shields: [(shield.to_owned(), counts)].into(),
            ..OriginStats::default()
        },
    }
}
