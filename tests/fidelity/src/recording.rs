//! The stream that both players get: encoded once, by the command line that an encoder agent gives ffmpeg, taken in by its sink,
//! and kept in memory.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use showrunner_crds::config::{EncoderConfig, PushConfig, SteeringChannel};
use showrunner_crds::platform::{Channel, Input};
use showrunner_media::encoder::command;
use showrunner_media::encoder::sink::{self, Event, Sink};
use showrunner_media::epoch::{Lock, Timeline};
use showrunner_media::object::ObjectName;
use showrunner_media::server::{self, Limits};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;
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
/// The one start of ffmpeg, as its sink knows it.
const GENERATION: u64 = 1;
/// Objects that may wait to be kept.
const QUEUE: usize = 64;

type Objects = HashMap<(String, ObjectName), Bytes>;

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
    objects: Objects,
}

impl Recording {
    /// Encodes `count` segments of a channel's test pattern as fast as the machine can.
    pub(crate) async fn make(channel: &Channel, count: u64) -> Result<Self, RecordError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}/{GENERATION}", listener.local_addr()?);
        let timeline = Timeline::new(channel.segment_seconds);
        let rungs = channel.ladder.iter().map(|rung| rung.name.clone());
        let renditions = rungs.chain([command::AUDIO.to_owned()]).collect();
        let (events, made) = mpsc::channel(QUEUE);
        let app = sink::router(Arc::new(Sink::new(timeline, renditions, events)));
        // ffmpeg closes as soon as it has sent: what is on its way still counts.
        let limits = Limits {
            half_close: true,
            ..Limits::default()
        };
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(server::serve(listener, app, limits, shutdown.clone()));
        let keeping = tokio::spawn(keep(made));
        let lock = timeline.next_lock(showrunner_media::epoch::now());
        // One more in front: unpaced, ffmpeg may send the very first segment before its initialisation section has been taken.
        let encoded = encode(channel, lock, &base, timeline.length().as_secs() * (count + 1)).await;
        shutdown.cancel();
        // It drains what is on its way.
        let _ = timeout(DRAIN, server).await;
        encoded?;
        let objects = keeping.await.map_err(std::io::Error::other)?;
        let recording = Self {
            channel: SteeringChannel {
                name: channel.name.clone(),
                ladder: channel.ladder.clone(),
                audio: channel.audio.clone(),
                frame_rate: channel.frame_rate,
            },
            timeline,
            first: lock.number + 1,
            count,
            objects,
        };
        recording.check()?;
        Ok(recording)
    }

    fn check(&self) -> Result<(), RecordError> {
        let rungs = self.channel.ladder.iter().map(|rung| rung.name.as_str());
        for rendition in rungs.chain([command::AUDIO]) {
            let there = |number: &u64| self.get(rendition, ObjectName::Segment(*number)).is_some();
            let found = (self.first..self.first + self.count).filter(there).count() as u64;
            if found < self.count || self.get(rendition, ObjectName::Init).is_none() {
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
    pub(crate) fn get(&self, rendition: &str, name: ObjectName) -> Option<Bytes> {
        self.objects.get(&(rendition.to_owned(), name)).cloned()
    }
}

/// Keeps what the sink passes on, until it is gone.
async fn keep(mut made: mpsc::Receiver<Event>) -> Objects {
    let mut objects = Objects::new();
    while let Some(event) = made.recv().await {
        match event {
            Event::Made(made) => {
                objects.insert((made.rendition, made.name), made.body);
            }
            // Where the recording ends it is cut short. If another one is missing, the check will tell.
            Event::Broken { rendition, error, .. } => eprintln!("{rendition}: {error}"),
        }
    }
    objects
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
