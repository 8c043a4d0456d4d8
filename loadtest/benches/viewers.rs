//! How many of the product's viewers one core carries, and what memory each takes: `cargo bench -p showrunner-loadtest --bench
//! viewers`.
//!
//! Whole viewers: player, timers, telemetry, a connection each, video and audio, paced by the stream. A viewer of the target
//! asks once in 4 s; with at most 10,000 connections on a machine the stream has shorter segments instead, and what counts is
//! requests per second. Send lag is what drills record as lateness: from when a viewer was due to act to when it did. Its
//! 99th percentile is stated of the second in the middle and of the worst one, once all have arrived, and of the whole run.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/plan.rs"]
mod plan;
#[path = "support/server.rs"]
mod server;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use showrunner_bench_support::books::{machine, median, target};
use showrunner_bench_support::process::{CLIENT_CORE, Server, own_cpu, own_role, resident, role, run};
use showrunner_loadtest::audience::drive_audience;
use showrunner_loadtest::player::PlayerSettings;
use showrunner_loadtest::telemetry::{EventBody, TelemetryEvent, TelemetrySink};
use tokio_util::sync::CancellationToken;

/// Seconds between two requests of a viewer of the target.
const PACE: f64 = 4.0;
/// Time in which everybody arrives; and then until the buffers are full and arrivals forgotten.
const RAMP: Duration = Duration::from_secs(14);
const SETTLE: f64 = 4.0;

/// What is played: viewers, milliseconds and bytes of a segment, seconds measured.
const RUNS: [(&str, u32, u64, usize, u64); 5] = [
    ("1 KB segments each 1.25 s", 10_000, 1250, 1024, 8),
    ("1 KB segments each 0.8 s", 10_000, 800, 1024, 8),
    ("1 KB segments each 0.57 s", 10_000, 571, 1024, 8),
    ("1 KB segments each 2 s", 10_000, 2000, 1024, 8),
    ("200 KB segments each 4 s", 4_000, 4000, 200 * 1024, 12),
];

fn main() {
    if showrunner_bench_support::is_test() {
        return;
    }
    match own_role() {
        None => compare(),
        Some((role, arguments)) if role == "viewers" => viewers(&arguments),
        Some(_) => server::main(),
    }
}

fn compare() {
    let wanted = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse::<usize>().ok());
    println!(
        "{:<28} {:>8} {:>8} {:>6} {:>11} {:>10} {:>13} {:>13} {:>10} {:>12}",
        "run",
        "viewers",
        "req/s",
        "core",
        "us/request",
        "with ramp",
        "median second",
        "worst second",
        "KB/viewer",
        "server core"
    );
    let mut fields = Vec::new();
    let (mut carried, mut memory) = (0.0_f64, Vec::new());
    for (index, (name, count, millis, bytes, seconds)) in RUNS.into_iter().enumerate() {
        if wanted.is_some_and(|wanted| wanted != index) {
            continue;
        }
        // A server of its own, so that the live edge starts afresh and its memory of connections is gone.
        let server = Server::start(false);
        let arguments = [
            server.address.to_string(),
            count.to_string(),
            format!("live-{millis}-{bytes}"),
            seconds.to_string(),
        ];
        let Some(run) = run(&server, role(CLIENT_CORE, "viewers", &arguments)) else {
            println!("{name}: the run failed");
            continue;
        };
        let figures: serde_json::Value = serde_json::from_str(run.output.trim()).unwrap();
        let figure = |name: &str| figures[name].as_f64().unwrap_or(f64::NAN);
        println!(
            "{name:<28} {count:>8} {:>8.0} {:>4.0} % {:>11.1} {:>7.1} ms {:>10.1} ms {:>10.1} ms {:>10.2} {:>10.0} %",
            figure("perSecond"),
            figure("core") * 100.0,
            figure("core") / figure("perSecond") * 1e6,
            figure("lagP99Ms"),
            figure("lagP99MedianMs"),
            figure("lagP99WorstSecondMs"),
            figure("kbPerViewer"),
            run.server_share * 100.0
        );
        if figure("core") <= 0.8 && figure("lagP99WorstSecondMs") < 10.0 {
            carried = carried.max(figure("perSecond") * PACE);
        }
        memory.push((name, figure("kbPerViewer")));
        fields.push(
            serde_json::json!({ "run": name, "viewers": count, "figures": figures, "serverShare": run.server_share }),
        );
    }
    println!();
    target(
        "viewers at a request each 4 s on 80 % of a core, lag p99 < 10 ms in every second",
        carried,
        "viewers",
        Some(100_000.0),
        None,
    );
    for (name, kilobytes) in memory {
        target(&format!("memory, {name}"), kilobytes, "KB", None, Some(4.0));
    }
    machine("viewers", &fields.into());
}

/// One second of a run.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    at: f64,
    cpu: f64,
    resident: u64,
    requests: u64,
    errors: u64,
    lag_p99: f64,
    lag_max: f64,
}

/// Keeps what a second came to.
#[derive(Default)]
struct Books {
    seconds: Mutex<(Second, Vec<Second>)>,
}

impl TelemetrySink for Books {
    fn event(&self, event: TelemetryEvent) {
        let mut seconds = self.seconds.lock().unwrap();
        match event.body {
            EventBody::Second(second) => {
                seconds.0.requests += second.classes.values().map(|class| class.requests).sum::<u64>();
                seconds.0.errors += second.classes.values().map(|class| class.errors).sum::<u64>();
            }
            // The last event of a second.
            EventBody::Generator(health) => {
                let second = Second {
                    at: event.at_ms as f64 / 1000.0,
                    cpu: own_cpu(),
                    resident: resident(),
                    lag_p99: health.lateness_p99_us as f64 / 1000.0,
                    lag_max: health.lateness_max_us as f64 / 1000.0,
                    ..seconds.0
                };
                seconds.1.push(second);
                seconds.0 = Second::default();
            }
            EventBody::Viewer { .. } | EventBody::Population(_) => {}
        }
    }
}

fn viewers(arguments: &[String]) {
    let address: SocketAddr = arguments[0].parse().unwrap();
    let count: u32 = arguments[1].parse().unwrap();
    let length = RAMP + Duration::from_secs_f64(SETTLE) + Duration::from_secs(arguments[3].parse().unwrap());
    // A connection each, as the target has it; a browser opens up to six to a host.
    let player = PlayerSettings {
        connections_per_host: 1,
        ..PlayerSettings::default()
    };
    let plan = plan::plan((address, &arguments[2]), count, (RAMP, length), player);
    let books = Arc::new(Books::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let before = resident();
    let sink: Arc<dyn TelemetrySink> = Arc::clone(&books) as _;
    let report = runtime
        .block_on(drive_audience(
            plan,
            tokio::time::Instant::now(),
            sink,
            CancellationToken::new(),
        ))
        .unwrap();
    assert_eq!(report.fatal, 0, "the run itself must be clean");
    let all = books.seconds.lock().unwrap().1.clone();
    let from = RAMP.as_secs_f64() + SETTLE;
    let steady: Vec<Second> = all
        .into_iter()
        .filter(|second| second.at > from && second.at < length.as_secs_f64() - 0.5)
        .collect();
    let (first, last) = (steady[0], steady[steady.len() - 1]);
    let passed = last.at - first.at;
    let requests: u64 = steady[1..].iter().map(|second| second.requests).sum();
    let errors: u64 = steady[1..].iter().map(|second| second.errors).sum();
    assert_eq!(errors, 0, "the run itself must be clean");
    let column = |pick: fn(&Second) -> f64| steady[1..].iter().map(pick).collect::<Vec<_>>();
    let peak = steady.iter().map(|second| second.resident).max().unwrap();
    println!(
        "{}",
        serde_json::json!({
            "perSecond": requests as f64 / passed,
            "core": (last.cpu - first.cpu) / passed,
            // Of the whole run, arrivals included.
            "lagP99Ms": report.lateness.p99_us as f64 / 1000.0,
            "lagP99WorstSecondMs": column(|second| second.lag_p99).into_iter().fold(0.0, f64::max),
            "lagP99MedianMs": median(&column(|second| second.lag_p99)),
            "lagMaxMs": column(|second| second.lag_max).into_iter().fold(0.0, f64::max),
            "kbPerViewer": peak.saturating_sub(before) as f64 / 1024.0 / f64::from(count),
        })
    );
}
