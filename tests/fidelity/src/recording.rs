//! The stream that both players get: encoded once, by the command line that an encoder agent gives ffmpeg, and kept in
//! memory.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::put;
use showrunner_crds::config::{EncoderConfig, PushConfig, SteeringChannel};
use showrunner_crds::platform::{Channel, Input};
use showrunner_media::encoder::command;
use showrunner_media::epoch::{Lock, Timeline};
use showrunner_media::server::{self, Limits};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// The loopback network or ffmpeg refused.
    #[error("cannot record: {0}")]
    Io(#[from] std::io::Error),
    /// ffmpeg failed.
    #[error("ffmpeg: {0}")]
    Ffmpeg(String),
    /// It ended too early.
    #[error("ffmpeg recorded {found} of {wanted} segments of {rendition}")]
    Short {
        /// Rendition.
        rendition: String,
        /// Segments there are.
        found: u64,
        /// Segments there should be.
        wanted: u64,
    },
}

/// How long the last objects may take to arrive.
const DRAIN: Duration = Duration::from_secs(5);

type Objects = Arc<Mutex<HashMap<String, Bytes>>>;

/// All renditions of a channel.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The channel, as a steering server knows it.
    pub(crate) channel: SteeringChannel,
    /// Numbering.
    pub(crate) timeline: Timeline,
    /// Number of the first segment.
    pub(crate) first: u64,
    /// How many there are.
    pub(crate) count: u64,
    objects: HashMap<String, Bytes>,
}

impl Recording {
    /// Encodes `count` segments of a channel's test pattern as fast as the machine can.
    pub(crate) async fn make(channel: &Channel, count: u64) -> Result<Self, RecordError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let objects = Objects::default();
        let sink = Router::new()
            .route("/{*path}", put(store).post(store).delete(async || ()))
            .layer(DefaultBodyLimit::max(16 * 1024 * 1024))
            .with_state(Arc::clone(&objects));
        // ffmpeg closes as soon as it has sent: what is on its way still counts.
        let limits = Limits {
            half_close: true,
            ..Limits::default()
        };
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(server::serve(listener, sink, limits, shutdown.clone()));
        let timeline = Timeline::new(channel.segment_seconds);
        let lock = timeline.next_lock(showrunner_media::epoch::now());
        let encoded = encode(channel, lock, &base, timeline.length().as_secs() * count).await;
        shutdown.cancel();
        // It drains what is on its way.
        let _ = timeout(DRAIN, server).await;
        encoded?;
        let objects = objects.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let recording = Self {
            channel: SteeringChannel {
                name: channel.name.clone(),
                ladder: channel.ladder.clone(),
                audio: channel.audio.clone(),
                frame_rate: channel.frame_rate,
            },
            timeline,
            first: lock.number,
            count,
            objects,
        };
        recording.check()?;
        Ok(recording)
    }

    fn check(&self) -> Result<(), RecordError> {
        let rungs = self.channel.ladder.iter().map(|rung| rung.name.as_str());
        for rendition in rungs.chain([command::AUDIO]) {
            let there = |number: &u64| self.get(rendition, &format!("seg_{number}.m4s")).is_some();
            let found = (self.first..self.first + self.count).filter(there).count() as u64;
            if found < self.count || self.get(rendition, "init.mp4").is_none() {
                return Err(RecordError::Short {
                    rendition: rendition.to_owned(),
                    found,
                    wanted: self.count,
                });
            }
        }
        Ok(())
    }

    /// A segment or initialisation section.
    pub(crate) fn get(&self, rendition: &str, file: &str) -> Option<Bytes> {
        // ffmpeg names initialisation sections after their rendition's index.
        let file = if file == "init.mp4" {
            let index = self.channel.ladder.iter().position(|rung| rung.name == rendition);
            format!("init_{}.mp4", index.unwrap_or(self.channel.ladder.len()))
        } else {
            file.to_owned()
        };
        self.objects
            .get(&format!("{rendition}/{file}"))
            .or_else(|| {
                self.objects
                    .get(&format!("{rendition}/init_{rendition}.mp4"))
                    .filter(|_| file.starts_with("init"))
            })
            .cloned()
    }
}

async fn store(State(objects): State<Objects>, Path(path): Path<String>, body: Bytes) {
    objects
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(path, body);
}

async fn encode(channel: &Channel, lock: Lock, base: &str, seconds: u64) -> Result<(), RecordError> {
    let config = EncoderConfig {
        channel: channel.name.clone(),
        region: "fidelity".into(),
        input: Input::TestPattern,
        ladder: channel.ladder.clone(),
        audio: channel.audio.clone(),
        frame_rate: channel.frame_rate,
        segment_seconds: channel.segment_seconds,
        origins: Vec::new(),
        push: PushConfig::default(),
    };
    let arguments = command::arguments(&config, lock, base, command::find_font().as_deref());
    let output = Command::new("ffmpeg")
        .args(unpaced(arguments, seconds))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output()
        .await?;
    if output.status.success() {
        Ok(())
    } else {
        Err(RecordError::Ffmpeg(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }
}

/// The encoder agent's arguments, but as fast as possible and for so long.
fn unpaced(arguments: Vec<String>, seconds: u64) -> Vec<String> {
    let mut all = Vec::with_capacity(arguments.len() + 4);
    for argument in arguments.into_iter().filter(|argument| argument != "-re") {
        if argument == "-i" {
            all.extend(["-t".to_owned(), seconds.to_string()]);
        }
        all.push(argument);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_ends_and_none_is_paced() {
        let arguments = ["-re", "-f", "lavfi", "-i", "a", "-re", "-i", "b", "out"].map(String::from);
        let expected = ["-f", "lavfi", "-t", "8", "-i", "a", "-t", "8", "-i", "b", "out"].map(String::from);
        assert_eq!(unpaced(arguments.into(), 8), expected);
    }
}
