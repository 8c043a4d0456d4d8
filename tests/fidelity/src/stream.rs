//! A live stream for one player: a window that slides over the recording from the moment the player asks for it, so that
//! every player meets the same stream at the same phase.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use showrunner_crds::config::Pathway;
use showrunner_media::object::ObjectName;
use showrunner_media::{origin, steering};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::recording::Recording;

/// The one pathway.
const PATHWAY: &str = "line";

/// One player's stream.
#[derive(Debug)]
pub(crate) struct Stream {
    recording: Arc<Recording>,
    /// Segments that a playlist lists.
    window: u64,
    /// How far the newest segment's successor is when the player presses play.
    phase: Duration,
    began: OnceLock<Instant>,
    /// Told when the player asked for the first time.
    pub(crate) asked: Notify,
    /// Base URL by which the player reaches it.
    public: OnceLock<String>,
    /// The rendition in which each segment was asked for last.
    rungs: Mutex<BTreeMap<u64, String>>,
    /// Everything that was asked for, and when.
    requests: Mutex<Vec<(f64, String)>>,
}

impl Stream {
    /// A stream whose time begins when it is first asked for. The next segment appears a segment length minus `phase` later.
    pub(crate) fn new(recording: Arc<Recording>, window: u64, phase: Duration) -> Self {
        Self {
            recording,
            window,
            phase,
            began: OnceLock::new(),
            asked: Notify::new(),
            public: OnceLock::new(),
            rungs: Mutex::default(),
            requests: Mutex::default(),
        }
    }

    /// Serves it at an address of `ip`; gives the port.
    pub(crate) async fn serve(self: &Arc<Self>, ip: Ipv4Addr) -> std::io::Result<u16> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let port = listener.local_addr()?.port();
        let routes = Router::new()
            .route("/play/multivariant.m3u8", get(multivariant))
            .route("/steer", get(steer))
            .route("/live/{channel}/{rendition}/{file}", get(media))
            .with_state(Arc::clone(self));
        // It ends with the runtime.
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(port)
    }

    /// Says by which base URL the player reaches it.
    pub(crate) fn publish(&self, base: String) {
        let _ = self.public.set(base);
    }

    /// The rung of each segment, by number since the first that the player could have asked for.
    pub(crate) fn rungs(&self) -> BTreeMap<u64, String> {
        let rungs = self.rungs.lock().unwrap_or_else(PoisonError::into_inner);
        rungs
            .iter()
            .map(|(number, rung)| (number - self.recording.first, rung.clone()))
            .collect()
    }

    /// Everything that was asked for: seconds since the first request, and what.
    pub(crate) fn requests(&self) -> Vec<(f64, String)> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, what: String) {
        let at = self.began.get().map_or(0.0, |began| began.elapsed().as_secs_f64());
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((at, what));
    }

    /// First and last segment of the window now.
    fn listed(&self) -> (u64, u64) {
        let passed = self.began.get().map_or(Duration::ZERO, Instant::elapsed) + self.phase;
        let turns = (passed.as_secs_f64() / self.recording.timeline.length().as_secs_f64()) as u64;
        let first = turns.min(self.recording.count - self.window);
        let first = self.recording.first + first;
        (first, first + self.window - 1)
    }
}

/// Headers that an edge gives.
fn answer(kind: &'static str, cache: &'static str, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

const PLAYLIST: &str = "application/vnd.apple.mpegurl";

async fn multivariant(State(stream): State<Arc<Stream>>) -> Response {
    stream.began.get_or_init(Instant::now);
    stream.asked.notify_one();
    let base = stream.public.get().cloned().unwrap_or_default();
    let pathway = Pathway {
        id: PATHWAY.into(),
        public_url: base,
        probe_url: String::new(),
        weight: 1,
    };
    let text = steering::multivariant::render(&stream.recording.channel, &[&pathway], "/steer");
    answer(PLAYLIST, "no-store", text)
}

async fn steer() -> Response {
    let manifest = serde_json::json!({ "VERSION": 1, "TTL": 300, "PATHWAY-PRIORITY": [PATHWAY] });
    answer("application/json", "no-store", manifest.to_string())
}

async fn media(
    State(stream): State<Arc<Stream>>,
    Path((_, rendition, file)): Path<(String, String, String)>,
) -> Response {
    let (first, last) = stream.listed();
    stream.note(format!("{rendition}/{file}"));
    let Some(name) = ObjectName::parse(&file) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if name == ObjectName::Playlist {
        let listed: Vec<(u64, bool)> = (first..=last).map(|number| (number, true)).collect();
        let text = origin::playlist::render(stream.recording.timeline, &listed);
        return answer(PLAYLIST, "public, max-age=1", text);
    }
    let number = match name {
        ObjectName::Segment(number) => Some(number),
        _ => None,
    };
    if number.is_some_and(|number| number > last) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let Some(body) = stream.recording.get(&rendition, name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if let Some(number) = number.filter(|_| rendition != showrunner_media::encoder::command::AUDIO) {
        stream
            .rungs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, rendition);
    }
    answer("video/mp4", "public, max-age=3600", body)
}
