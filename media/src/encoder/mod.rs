//! The encoder agent: keeps an epoch-locked ffmpeg running and pushes what it makes to every origin.
//!
//! ```text
//! ffmpeg ──PUT──► sink (loopback) ──valid──► agent ──► history
//!    ▲                                         ├─────► pusher ──► origin a     a queue each: a dead origin
//!    └── start, watch, kill ◄── progress ◄─────┘─────► pusher ──► origin b     delays nobody but itself
//! ```

pub mod command;
pub mod ffmpeg;
pub mod history;
pub mod metrics;
pub mod progress;
pub mod push;
pub mod queue;
mod routes;
pub mod sink;
mod supervise;

use std::{
    io,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use showrunner_crds::config::EncoderConfig;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::{
    command::AUDIO,
    history::History,
    metrics::{Metrics, SegmentLabels},
    progress::Progress,
    push::Pusher,
    sink::{Event, Made, Sink},
};
use crate::{
    client,
    epoch::{self, Timeline},
    object::{ObjectName, is_label},
    server::{self, Limits},
};

/// Objects between sink and agent.
const EVENT_QUEUE: usize = 256;
/// Time that pushes under way get on shutdown.
const FLUSH: Duration = Duration::from_secs(2);

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// A name that cannot be part of a path.
    #[error("`{0}` is not a DNS label")]
    Name(String),
    /// No rung, or two of one name, or one called `audio`.
    #[error("ladder: names must be there, distinct, and not `audio`")]
    Ladder,
    /// Zero where a number must be positive.
    #[error("frameRate and segmentSeconds must be positive")]
    Zero,
    /// An origin that cannot be pushed to.
    #[error("origins: `{0}` is not an http:// URL")]
    Origin(String),
    /// No loopback port for the sink.
    #[error("local sink: {0}")]
    Sink(#[source] io::Error),
    /// There is no ffmpeg to start.
    #[error("{} is neither a file nor a program in PATH: install ffmpeg (Debian: apt-get install ffmpeg), or name one by --ffmpeg", .0.display())]
    Missing(PathBuf),
    /// ffmpeg ends again and again without a segment.
    #[error("ffmpeg made nothing in {starts} starts; it said: {last_words}")]
    Hopeless {
        /// Starts in a row.
        starts: u32,
        /// Its last lines.
        last_words: String,
    },
}

/// State that the agent's tasks share.
#[derive(Debug)]
pub struct Agent {
    config: EncoderConfig,
    program: PathBuf,
    timeline: Timeline,
    renditions: Vec<String>,
    progress: Mutex<Option<(u64, Progress)>>,
    /// Process id of the running ffmpeg; 0 while there is none.
    running: AtomicU32,
    history: Arc<Mutex<History>>,
    metrics: Arc<Metrics>,
    pushers: Vec<Arc<Pusher>>,
}

impl Agent {
    /// An agent that has not started anything; `program` is ffmpeg.
    pub fn new(config: EncoderConfig, program: PathBuf) -> Result<Self, EncoderError> {
        check(&config)?;
        let renditions = config
            .ladder
            .iter()
            .map(|rung| rung.name.clone())
            .chain([AUDIO.to_owned()])
            .collect();
        let (history, metrics) = (Arc::default(), Arc::<Metrics>::default());
        let pusher = |origin: &String| {
            Arc::new(Pusher::new(
                &config.channel,
                &config.region,
                origin,
                &config.push,
                Arc::clone(&history),
                Arc::clone(&metrics),
            ))
        };
        let pushers = config.origins.iter().map(pusher).collect();
        let timeline = Timeline::new(config.segment_seconds);
        Ok(Self {
            program,
            timeline,
            renditions,
            progress: Mutex::default(),
            running: AtomicU32::new(0),
            history,
            metrics,
            pushers,
            config,
        })
    }

    /// Runs until `shutdown`, serving health and metrics on `listener`.
    pub async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        limits: Limits,
        shutdown: CancellationToken,
    ) -> Result<(), EncoderError> {
        let local = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(EncoderError::Sink)?;
        let base = format!("http://{}", local.local_addr().map_err(EncoderError::Sink)?);
        let (events, mut inbox) = mpsc::channel(EVENT_QUEUE);
        let sink = Arc::new(Sink::new(self.timeline, self.renditions.clone(), events));
        let sink_limits = Limits {
            connections: 64,
            body: Duration::from_mins(1),
            drain: Duration::ZERO,
            half_close: true,
            ..limits
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(local, sink::router(sink), sink_limits, shutdown.clone()));
        tasks.spawn(server::serve(
            listener,
            routes::router(Arc::clone(&self)),
            limits,
            shutdown.clone(),
        ));
        for pusher in &self.pushers {
            let (pusher, shutdown) = (Arc::clone(pusher), shutdown.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = pusher.run() => {}
                    () = flushed(&pusher, &shutdown) => {}
                }
            });
        }
        let agent = Arc::clone(&self);
        tasks.spawn(async move {
            while let Some(event) = inbox.recv().await {
                agent.take(event);
            }
        });
        let result = self.supervise(&base, &shutdown).await;
        shutdown.cancel();
        // The inbox ends with the sink's last sender.
        let ended = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FLUSH + limits.drain + Duration::from_secs(1), ended).await;
        result
    }

    /// Whether segments flow: the newest complete one is younger than three segment lengths.
    pub fn is_flowing(&self, now: Duration) -> bool {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress
            .as_ref()
            .is_some_and(|(_, run)| run.complete().is_some() && run.silence(now) < self.timeline.length() * 3)
    }

    /// Process id of the running ffmpeg.
    pub fn ffmpeg_pid(&self) -> Option<u32> {
        Some(self.running.load(Ordering::Relaxed)).filter(|&pid| pid != 0)
    }

    fn take(&self, event: Event) {
        let now = epoch::now();
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Made(made) => {
                if let (ObjectName::Segment(number), Some((_, run))) = (
                    made.name,
                    progress
                        .as_mut()
                        .filter(|(generation, _)| *generation == made.generation),
                ) {
                    run.made(&made.rendition, number, now);
                    self.metrics.lag.set(run.lag(now).as_secs_f64());
                    self.metrics.newest.set(
                        run.complete()
                            .and_then(|number| i64::try_from(number).ok())
                            .unwrap_or_default(),
                    );
                }
                drop(progress);
                self.publish(&made);
            }
            Event::Broken {
                generation,
                rendition,
                error,
            } => {
                tracing::warn!(rendition, %error, "ffmpeg made a segment that is not published");
                if let Some((_, run)) = progress.as_mut().filter(|(current, _)| *current == generation) {
                    run.broken();
                }
                self.metrics
                    .segments
                    .get_or_create(&SegmentLabels {
                        rendition,
                        outcome: "broken",
                    })
                    .inc();
            }
        }
    }

    fn publish(&self, made: &Made) {
        self.metrics
            .segments
            .get_or_create(&SegmentLabels {
                rendition: made.rendition.clone(),
                outcome: "made",
            })
            .inc();
        self.history.lock().unwrap_or_else(PoisonError::into_inner).add(made);
        for pusher in &self.pushers {
            pusher.offer(made.clone());
        }
    }
}

/// Resolves after shutdown, once nothing is queued or [`FLUSH`] has passed.
async fn flushed(pusher: &Pusher, shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    let idle = async {
        while !pusher.is_idle() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(FLUSH, idle).await;
}

fn check(config: &EncoderConfig) -> Result<(), EncoderError> {
    let rungs: Vec<&String> = config.ladder.iter().map(|rung| &rung.name).collect();
    if let Some(bad) = rungs
        .iter()
        .copied()
        .chain([&config.channel, &config.region])
        .find(|name| !is_label(name))
    {
        return Err(EncoderError::Name(bad.clone()));
    }
    let distinct: std::collections::BTreeSet<_> = rungs.iter().collect();
    if rungs.is_empty() || distinct.len() < rungs.len() || rungs.iter().any(|name| *name == AUDIO) {
        return Err(EncoderError::Ladder);
    }
    if config.frame_rate == 0 || config.segment_seconds == 0 {
        return Err(EncoderError::Zero);
    }
    match config.origins.iter().find(|origin| !client::is_usable(origin)) {
        Some(bad) => Err(EncoderError::Origin(bad.clone())),
        None => Ok(()),
    }
}
