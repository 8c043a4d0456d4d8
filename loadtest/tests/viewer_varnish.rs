//! The load is what it says: requests and bytes that viewers report are those that a real Varnish between them and the stream
//! has in its log, within half a percent.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod viewer_support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use showrunner_loadtest::audience::{
    Arrivals, AudiencePlan, AudienceReport, Network, PhaseTarget, RegionSlice, drive_audience,
};
use showrunner_loadtest::http::{Access, Request, fetch};
use showrunner_loadtest::player::PlayerSettings;
use showrunner_loadtest::telemetry::{NullSink, RequestClass};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use viewer_support::{Host, Stream, eventually};

/// How far both sides may be apart, in percent.
const APART_PERCENT: f64 = 0.5;
/// Fewest requests that say anything: half a percent of them is several.
const ENOUGH: u64 = 1000;
/// Asked for until the log is read.
const PROBE: &str = "/live/probe/init.mp4";
/// What viewers ask an edge for.
const FROM_EDGES: [RequestClass; 4] = [
    RequestClass::Playlist,
    RequestClass::Init,
    RequestClass::Segment,
    RequestClass::Audio,
];

/// Requests and the bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    requests: u64,
    bytes: u64,
}

impl Count {
    /// How far apart two counts are, in percent of the larger: of requests and of bytes.
    fn apart(self, other: Self) -> [f64; 2] {
        [(self.requests, other.requests), (self.bytes, other.bytes)]
            .map(|(a, b)| a.abs_diff(b) as f64 * 100.0 / a.max(b).max(1) as f64)
    }

    fn agrees(self, other: Self) -> bool {
        self.apart(other).iter().all(|percent| *percent <= APART_PERCENT)
    }
}

#[test]
fn half_a_percent_is_the_limit() {
    let count = |requests, bytes| Count { requests, bytes };
    assert!(count(1000, 100_000).agrees(count(1005, 99_500)));
    assert!(!count(1000, 100_000).agrees(count(1006, 100_000)));
    assert!(!count(1000, 100_000).agrees(count(1000, 100_600)));
    assert!(!count(0, 0).agrees(count(1, 0)));
}

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a Varnish in `folder` that caches what `backend` has.
fn varnish(folder: &Path, backend: &str) -> Running {
    let (host, port) = backend.strip_prefix("http://").unwrap().split_once(':').unwrap();
    let vcl = format!(
        "vcl 4.1;\nbackend stream {{ .host = \"{host}\"; .port = \"{port}\"; }}\nsub vcl_backend_response {{\n\
         \x20 set beresp.grace = 0s;\n  if (bereq.url ~ \"m3u8\") {{ set beresp.ttl = 0.2s; }} else {{ set beresp.ttl = 1h; }}\n}}\n"
    );
    let file = folder.join("edge.vcl");
    std::fs::write(&file, vcl).unwrap();
    let child = Command::new("varnishd")
        .args(["-F", "-j", "none", "-a", "127.0.0.1:0", "-s", "malloc,64m", "-f"])
        .arg(file)
        .arg("-n")
        .arg(folder.join("work"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("varnishd: `make setup` installs it");
    Running(child)
}

/// Where it listens, once it does.
async fn address(folder: &Path) -> String {
    let mut found = None;
    eventually("varnishd listens", Duration::from_secs(20), || {
        let asked = Command::new("varnishadm")
            .arg("-n")
            .arg(folder.join("work"))
            .args(["-t", "1", "debug.listen_address"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&asked.stdout).into_owned();
        // A socket's name, its address and its port.
        let words: Vec<&str> = text.split_whitespace().collect();
        if let (true, [_, host, port, ..]) = (asked.status.success(), &words[..]) {
            found = Some(format!("http://{host}:{port}"));
        }
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// `varnishncsa`: everything that clients were answered.
struct Log {
    _child: Running,
    count: Arc<Mutex<Count>>,
    /// Whether it has seen [`PROBE`].
    reads: Arc<AtomicBool>,
}

impl Log {
    fn follow(folder: &Path) -> Self {
        let mut child = Command::new("varnishncsa")
            .arg("-n")
            .arg(folder.join("work"))
            .args(["-t", "20", "-q", "ReqURL ~ \"^/live/\"", "-F", "%U %b"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("varnishncsa comes with varnish");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let count = Arc::new(Mutex::new(Count::default()));
        let reads = Arc::new(AtomicBool::new(false));
        let (shared, seen) = (Arc::clone(&count), Arc::clone(&reads));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let (url, bytes) = line.split_once(' ').expect("URL and bytes");
                if url == PROBE {
                    seen.store(true, Ordering::Relaxed);
                    continue;
                }
                let mut count = shared.lock().unwrap();
                count.requests += 1;
                // `-` is none.
                count.bytes += bytes.parse().unwrap_or(0);
            }
        });
        Self {
            _child: Running(child),
            count,
            reads,
        }
    }

    /// It sees what comes after it was there, so it is asked until it does.
    async fn ready(&self, edge: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let access = Access::unlimited();
        let mut connection = None;
        while !self.reads.load(Ordering::Relaxed) {
            assert!(Instant::now() < deadline, "varnishncsa sees nothing");
            let mut probe = Request::get(format!("{edge}{PROBE}").parse().unwrap(), Instant::now());
            fetch(&mut connection, &mut probe, &access).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn so_far(&self) -> Count {
        *self.count.lock().unwrap()
    }
}

/// What viewers say they had from the edge; without `left_out`.
fn reported(report: &AudienceReport, left_out: Option<RequestClass>) -> Count {
    let classes = FROM_EDGES.iter().filter(|class| Some(**class) != left_out);
    classes
        .filter_map(|class| report.classes.get(class))
        .fold(Count::default(), |sum, class| Count {
            requests: sum.requests + class.requests,
            bytes: sum.bytes + class.bytes,
        })
}

fn plan(host: &str) -> AudiencePlan {
    let network = |name: &str, down_kbps| Network {
        name: name.into(),
        share: 1,
        down_kbps: Some(down_kbps),
        rtt: Duration::from_millis(10),
    };
    let phase = |seconds, viewers| PhaseTarget {
        duration: Duration::from_secs(seconds),
        viewers,
    };
    AudiencePlan {
        playback_url: format!("{host}/play/one/multivariant.m3u8").parse().unwrap(),
        channel: "one".into(),
        // Some leave while others stay.
        phases: vec![phase(1, 36), phase(6, 36), phase(2, 12)],
        regions: vec![RegionSlice {
            region: "east".into(),
            share: 1,
        }],
        // One that carries every rung, and one that does not.
        networks: vec![network("fibre", 20_000), network("mobile", 900)],
        arrivals: Arrivals::Even,
        seed: 7,
        player: PlayerSettings::default(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn varnish_counts_what_viewers_report() {
    let mut stream = Stream::new(Duration::from_millis(500), 30_000);
    // As origins answer.
    stream.chunked = false;
    let stream = Arc::new(stream);
    let host = Host::start(Arc::clone(&stream)).await;
    let folder = tempfile::tempdir().unwrap();
    let _varnish = varnish(folder.path(), &host.url);
    let edge = address(folder.path()).await;
    let log = Log::follow(folder.path());
    log.ready(&edge).await;

    stream.pathways.lock().unwrap().push(("east".into(), edge.clone()));
    stream.priority.lock().unwrap().push("east".into());
    let running = drive_audience(
        plan(&host.url),
        Instant::now(),
        Arc::new(NullSink),
        CancellationToken::new(),
    );
    let report = running.await.unwrap();
    assert_eq!((report.sessions, report.fatal), (36, 0));
    let all = reported(&report, None);

    // Varnish writes its log in its own time: what was answered before this is in it. Compared once, for a count that grows
    // passes the right one on its way.
    log.reads.store(false, Ordering::Relaxed);
    log.ready(&edge).await;
    let counted = log.so_far();
    eprintln!(
        "viewers report {all:?}, Varnish counts {counted:?}: {:?} % apart",
        counted.apart(all)
    );
    assert!(counted.requests >= ENOUGH, "too little to tell: {counted:?}");
    assert!(counted.agrees(all), "{all:?} reported, {counted:?} counted");
    for left_out in [RequestClass::Playlist, RequestClass::Audio] {
        let less = reported(&report, Some(left_out));
        assert!(
            !counted.agrees(less),
            "negative control: without {left_out:?} it must not agree"
        );
    }
}
