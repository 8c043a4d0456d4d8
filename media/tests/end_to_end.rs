//! Real ffmpeg, real sockets: encoder agents, origins, and a player's view of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{future::Future, net::SocketAddr, path::PathBuf, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use showrunner_crds::{
    config::{EncoderConfig, OriginChannel, OriginConfig, PushConfig},
    platform::{Audio, Input, Rung},
    wire::OriginStats,
};
use showrunner_media::{
    bmff,
    client::Client,
    codec,
    encoder::{Agent, ffmpeg::find_in_path},
    epoch::{self, Timeline},
    origin::{self, Origin},
    server::{self, Limits},
};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// Segment length. The audio grid makes every start wait for a multiple of eight seconds.
const SECONDS: u32 = 1;
/// For anything that a start, a restart or a few segments take.
const DEADLINE: Duration = Duration::from_mins(1);
const RENDITIONS: [&str; 3] = ["144p", "90p", "audio"];

fn ladder() -> Vec<Rung> {
    let rung = |name: &str, width, height, bitrate_kbps| Rung {
        name: name.into(),
        width,
        height,
        bitrate_kbps,
    };
    vec![rung("144p", 256, 144, 150), rung("90p", 160, 90, 80)]
}

/// `None`, loudly, where ffmpeg is not installed.
fn ffmpeg() -> Option<PathBuf> {
    let found = find_in_path("ffmpeg").filter(|_| find_in_path("ffprobe").is_some());
    if found.is_none() {
        eprintln!("\n*** SKIPPED: ffmpeg and ffprobe are not installed, nothing of the encoder has been tested ***\n");
    }
    found
}

struct TestOrigin {
    address: SocketAddr,
    client: Client,
    stop: CancellationToken,
    server: Option<JoinHandle<()>>,
}

impl TestOrigin {
    async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    async fn start_at(address: SocketAddr) -> Self {
        let channel = OriginChannel {
            name: "main".into(),
            renditions: RENDITIONS.map(String::from).into(),
            segment_seconds: SECONDS,
            dvr_seconds: 60,
        };
        let config = OriginConfig {
            region: "north".into(),
            channels: vec![channel],
            freshness_enabled: true,
            max_age_percent: 175,
            max_object_bytes: 8 << 20,
        };
        let origin = Arc::new(Origin::new(config, Limits::default()).unwrap());
        let listener = TcpListener::bind(address).await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let server = tokio::spawn(server::serve(
            listener,
            origin::router(origin),
            Limits::default(),
            stop.clone(),
        ));
        Self {
            address,
            client: Client::new(),
            stop,
            server: Some(server),
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn get(&self, path: &str) -> (StatusCode, Bytes) {
        let url = format!("{}{path}", self.url());
        self.client
            .send(Method::GET, &url, &[], Bytes::new(), DEADLINE)
            .await
            .unwrap()
    }

    async fn is_fresh(&self) -> bool {
        self.get("/healthz").await.0 == StatusCode::OK
    }

    async fn listed(&self, rendition: &str) -> Vec<(u64, bool)> {
        let (status, text) = self.get(&format!("/live/main/{rendition}/index.m3u8")).await;
        if status != StatusCode::OK {
            return Vec::new();
        }
        let playlist = m3u8_rs::parse_media_playlist_res(&text).unwrap();
        let gap = |segment: &m3u8_rs::MediaSegment| segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP");
        playlist
            .segments
            .iter()
            .zip(playlist.media_sequence..)
            .map(|(segment, number)| (number, !gap(segment)))
            .collect()
    }

    /// Decode time of a segment, its number in ticks of the track, and its size.
    async fn placed(&self, rendition: &str, number: u64) -> (u64, u64, usize) {
        let (_, init) = self.get(&format!("/live/main/{rendition}/init.mp4")).await;
        let init = bmff::inspect_init(&init).unwrap();
        let (status, body) = self.get(&format!("/live/main/{rendition}/seg_{number}.m4s")).await;
        assert_eq!(status, StatusCode::OK, "{rendition} {number}");
        let segment = bmff::inspect_segment(&body, init).unwrap();
        (
            segment.decode_time,
            number * u64::from(SECONDS) * u64::from(init.timescale),
            body.len(),
        )
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.server.take().unwrap().await.unwrap();
    }
}

impl Drop for TestOrigin {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct TestEncoder {
    agent: Arc<Agent>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What an encoder is told to do.
fn config(origins: &[&TestOrigin]) -> EncoderConfig {
    EncoderConfig {
        channel: "main".into(),
        region: "north".into(),
        input: Input::TestPattern,
        ladder: ladder(),
        audio: Audio::default(),
        frame_rate: 25,
        segment_seconds: SECONDS,
        origins: origins.iter().map(|origin| origin.url()).collect(),
        push: PushConfig {
            attempts: 3,
            timeout_ms: 1000,
            queue: 32,
        },
    }
}

impl TestEncoder {
    async fn start(ffmpeg: PathBuf, origins: &[&TestOrigin]) -> Self {
        let agent = Arc::new(Agent::new(config(origins), ffmpeg).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stop = CancellationToken::new();
        let run = Arc::clone(&agent).run(
            listener,
            Limits {
                drain: Duration::from_millis(200),
                ..Limits::default()
            },
            stop.clone(),
        );
        let task = tokio::spawn(async move { run.await.unwrap() });
        Self { agent, stop, task }
    }

    async fn stop(self) {
        let pid = self.agent.ffmpeg_pid();
        self.stop.cancel();
        timeout(Duration::from_secs(10), self.task)
            .await
            .expect("stops within its drain")
            .unwrap();
        if let Some(pid) = pid {
            assert!(
                kill(Pid::from_raw(pid as i32), None).is_err(),
                "ffmpeg {pid} outlives its agent"
            );
        }
    }
}

/// Asks again until it holds; fails at the deadline.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let asked = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while !holds().await {
            tick.tick().await;
        }
    };
    timeout(DEADLINE, asked)
        .await
        .unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"));
}

async fn newest(origin: &TestOrigin) -> u64 {
    let mut least = u64::MAX;
    for rendition in RENDITIONS {
        least = least.min(origin.listed(rendition).await.last().map_or(0, |(number, _)| *number));
    }
    least
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_encoders_started_apart_are_one_stream() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let (first_only, second_only, shared) = (
        TestOrigin::start().await,
        TestOrigin::start().await,
        TestOrigin::start().await,
    );
    let first = TestEncoder::start(ffmpeg.clone(), &[&first_only, &shared]).await;
    until("the first encoder's stream is fresh", || shared.is_fresh()).await;
    let second = TestEncoder::start(ffmpeg, &[&second_only, &shared]).await;
    until("the second encoder's stream is fresh", || second_only.is_fresh()).await;
    let from = newest(&second_only).await + 1;
    until("both have made three more segments", async || {
        newest(&first_only).await > from + 2 && newest(&second_only).await > from + 2
    })
    .await;

    for rendition in RENDITIONS {
        for number in from..=from + 2 {
            let (one, two) = (
                first_only.placed(rendition, number).await,
                second_only.placed(rendition, number).await,
            );
            assert_eq!(one.0, two.0, "tfdt of {rendition} {number}");
            if rendition == "audio" {
                assert!(
                    one.0.abs_diff(one.1) <= 2 * 1024,
                    "audio {number} begins within two frames of its place"
                );
            } else {
                assert_eq!(one.0, one.1, "{rendition} {number} begins where its number says");
            }
        }
        let (_, one) = first_only.get(&format!("/live/main/{rendition}/init.mp4")).await;
        assert_eq!(
            one,
            second_only.get(&format!("/live/main/{rendition}/init.mp4")).await.1,
            "init of {rendition}"
        );
    }

    let (_, stats) = shared.get("/stats").await;
    let stats: OriginStats = serde_json::from_slice(&stats).unwrap();
    assert!(
        stats.duplicates >= 9,
        "each segment came twice, once to be served: {stats:?}"
    );
    let listed = shared.listed("144p").await;
    let mut both = listed.iter().filter(|(number, _)| *number >= from);
    assert!(both.all(|(_, there)| *there), "no hole while both run: {listed:?}");
    until(
        "the newest segment is the one before that which is being made",
        async || {
            let live = newest(&shared).await;
            let now = Timeline::new(SECONDS).number_at(epoch::now());
            (now - 2..=now).contains(&live)
        },
    )
    .await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn players_see_what_the_playlists_say() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let origin = TestOrigin::start().await;
    let encoder = TestEncoder::start(ffmpeg, &[&origin]).await;
    until("five segments are listed", async || {
        origin.listed("144p").await.len() >= 5 && origin.is_fresh().await
    })
    .await;
    for rung in ladder() {
        let url = format!("{}/live/main/{}/index.m3u8", origin.url(), rung.name);
        let probe = tokio::task::spawn_blocking(move || {
            let fields = "stream=profile,level,width,height,avg_frame_rate";
            Command::new("ffprobe")
                .args(["-v", "error", "-of", "json", "-show_entries", fields, &url])
                .output()
                .unwrap()
        });
        let output = timeout(DEADLINE, probe).await.unwrap().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let (stream, chosen) = (&seen["streams"][0], codec::VideoCodec::choose(&rung, 25));
        assert_eq!(stream["profile"], "Constrained Baseline");
        assert_eq!(stream["level"], chosen.level);
        assert_eq!(
            (&stream["width"], &stream["height"]),
            (&rung.width.into(), &rung.height.into())
        );
        assert_eq!(stream["avg_frame_rate"], "25/1");

        let (_, init) = origin.get(&format!("/live/main/{}/init.mp4", rung.name)).await;
        let avcc = init.windows(4).position(|window| window == b"avcC").unwrap();
        let real = init[avcc + 5..avcc + 8]
            .iter()
            .fold(String::from("avc1."), |text, byte| format!("{text}{byte:02x}"));
        assert_eq!(real, chosen.codecs(), "CODECS as stated and as encoded");
        for (number, _) in origin.listed(&rung.name).await {
            let (video, audio) = (
                origin.placed(&rung.name, number).await.2,
                origin.placed("audio", number).await.2,
            );
            let bits = (video + audio) as u64 * 8 / u64::from(SECONDS);
            let stated = codec::peak_bps(&rung, &Audio::default());
            assert!(
                bits <= stated,
                "{} {number}: {bits} bit/s are more than BANDWIDTH {stated}",
                rung.name
            );
        }
    }
    for rendition in ["144p", "audio"] {
        let url = format!("{}/live/main/{rendition}/index.m3u8", origin.url());
        let play = tokio::task::spawn_blocking(move || {
            Command::new("ffmpeg")
                .args(["-nostdin", "-v", "error", "-i", &url, "-t", "4", "-f", "null", "-"])
                .output()
                .unwrap()
        });
        let output = timeout(DEADLINE, play).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
    encoder.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_ffmpeg_comes_back_in_its_place_and_a_lost_origin_is_filled_up() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let (origin, mut restarted) = (TestOrigin::start().await, TestOrigin::start().await);
    let encoder = TestEncoder::start(ffmpeg, &[&origin, &restarted]).await;
    until("both streams are fresh", async || {
        origin.is_fresh().await && restarted.is_fresh().await
    })
    .await;

    let killed = encoder.agent.ffmpeg_pid().unwrap();
    let before = newest(&origin).await;
    kill(Pid::from_raw(killed as i32), Signal::SIGKILL).unwrap();
    until("the frozen stream is not ready", async || !origin.is_fresh().await).await;
    // Meanwhile an origin loses everything.
    restarted.stop().await;
    let restarted = TestOrigin::start_at(restarted.address).await;
    until("the stream is fresh again", || origin.is_fresh()).await;
    assert_ne!(encoder.agent.ffmpeg_pid().unwrap(), killed);

    let listed = origin.listed("144p").await;
    let last = listed.last().unwrap().0;
    assert!(last > before && listed.contains(&(before, true)), "{listed:?}");
    assert!(
        listed.iter().any(|(_, there)| !there),
        "what was not made is a gap: {listed:?}"
    );
    let now = Timeline::new(SECONDS).number_at(epoch::now());
    assert!((now - 3..=now).contains(&last), "number {last} at {now}");
    let (decode_time, place, _) = origin.placed("144p", last).await;
    assert_eq!(decode_time, place);

    until("the restarted origin is fresh", || restarted.is_fresh()).await;
    until("both origins list the same", async || {
        let mut same = true;
        for rendition in RENDITIONS {
            same &= origin.listed(rendition).await == restarted.listed(rendition).await;
        }
        same
    })
    .await;
    assert_eq!(
        restarted.listed("144p").await.first(),
        listed.first(),
        "the past has been sent again"
    );
    encoder.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_ffmpeg_is_replaced_and_a_dead_origin_delays_nobody() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let (origin, mut dead) = (TestOrigin::start().await, TestOrigin::start().await);
    dead.stop().await;
    // Listens and never answers: worse than one that refuses.
    let _silent = TcpListener::bind(dead.address).await.unwrap();
    let encoder = TestEncoder::start(ffmpeg, &[&dead, &origin]).await;
    until("the living origin is fresh", || origin.is_fresh()).await;
    let stopped = encoder.agent.ffmpeg_pid().unwrap();
    kill(Pid::from_raw(stopped as i32), Signal::SIGSTOP).unwrap();
    until("another ffmpeg runs", async || {
        encoder.agent.ffmpeg_pid().is_some_and(|pid| pid != stopped)
    })
    .await;
    assert!(
        kill(Pid::from_raw(stopped as i32), None).is_err(),
        "the stopped one is gone"
    );
    until("the stream is fresh again", || origin.is_fresh()).await;
    encoder.stop().await;
}

#[tokio::test]
async fn an_encoder_without_ffmpeg_says_so_at_once() {
    for missing in ["no-such-ffmpeg", "/no/such/ffmpeg"] {
        let agent = Arc::new(Agent::new(config(&[]), missing.into()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let run = agent.run(listener, Limits::default(), CancellationToken::new());
        let ended = timeout(Duration::from_secs(10), run).await.expect("it does not try");
        let told = ended.unwrap_err().to_string();
        assert!(told.contains(missing) && told.contains("install ffmpeg"), "{told}");
    }
}
