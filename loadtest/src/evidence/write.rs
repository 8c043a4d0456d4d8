//! Appending evidence: many sources, one writer, a bounded queue between.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{
        SetOnce,
        mpsc::{self, error::TrySendError},
    },
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{Event, Record};
use crate::telemetry::{TelemetryEvent, TelemetrySink};

/// Events that may wait for the disk.
const QUEUE: usize = 65_536;
/// Longest wait for the last event to be on disk.
const FINISH: Duration = Duration::from_secs(30);

/// Why evidence could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file could not be created or written.
    #[error("evidence {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Events came faster than the disk took them.
    #[error("{lost} events were lost: the disk did not keep up; such evidence proves nothing")]
    Overrun {
        /// How many.
        lost: u64,
    },
    /// Someone still holds the evidence open, or the disk hangs.
    #[error("the evidence was not on disk within {} s", FINISH.as_secs())]
    Deadline,
    /// The writing task died.
    #[error("the evidence writer died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// A handle that any part of a run records with. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Record>,
    origin: Instant,
    shared: Arc<Shared>,
}

/// The writing end.
#[derive(Debug)]
pub struct Writer {
    task: JoinHandle<Result<(), std::io::Error>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    lost: AtomicU64,
    /// Why the evidence is not whole: the first thing that went wrong.
    trouble: SetOnce<String>,
}

impl Shared {
    fn trouble(&self, why: &dyn std::fmt::Display) {
        // Only the first is told.
        let _ = self.trouble.set(format!("evidence {}: {why}", self.path.display()));
    }
}

impl Writer {
    /// Starts writing to `path`. Moments are stated relative to `origin`.
    pub fn start(path: &Path, origin: Instant) -> Result<(Self, Recorder), WriteError> {
        let file = File::create(path).map_err(|source| WriteError::Io {
            path: path.to_owned(),
            source,
        })?;
        let (queue, mut events) = mpsc::channel::<Record>(QUEUE);
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            lost: AtomicU64::new(0),
            trouble: SetOnce::new(),
        });
        let told = shared.clone();
        let task = tokio::task::spawn_blocking(move || {
            let written = write(file, &mut events);
            if let Err(error) = &written {
                told.trouble(error);
            }
            written
        });
        let recorder = Recorder {
            queue,
            origin,
            shared: shared.clone(),
        };
        Ok((Self { task, shared }, recorder))
    }

    /// Waits until the evidence is known not to become whole, and says why. A run that goes on from there proves nothing.
    pub async fn trouble(&self) -> String {
        self.shared.trouble.wait().await.clone()
    }

    /// Waits until everything recorded is on disk, 30 s at the most. It takes every [`Recorder`] to be gone: what one that is
    /// held on to records after that is not waited for.
    pub async fn finish(self) -> Result<(), WriteError> {
        self.finish_within(FINISH).await
    }

    async fn finish_within(self, limit: Duration) -> Result<(), WriteError> {
        let written = timeout(limit, self.task).await.map_err(|_| WriteError::Deadline)?;
        written?.map_err(|source| WriteError::Io {
            path: self.shared.path.clone(),
            source,
        })?;
        match self.shared.lost.load(Ordering::Relaxed) {
            0 => Ok(()),
            lost => Err(WriteError::Overrun { lost }),
        }
    }
}

/// Writes what comes, until nobody is left who could record anything.
fn write(file: File, events: &mut mpsc::Receiver<Record>) -> std::io::Result<()> {
    let mut out = BufWriter::new(file);
    while let Some(record) = events.blocking_recv() {
        serde_json::to_writer(&mut out, &record)?;
        out.write_all(b"\n")?;
        // Whole lines on disk whenever the queue is empty: a crash loses at most what was still queued.
        if events.is_empty() {
            out.flush()?;
        }
    }
    out.flush()?;
    out.get_ref().sync_all()
}

impl Recorder {
    /// Records an event that happens now.
    pub fn record(&self, event: Event) {
        self.record_at(self.now_ms(), event);
    }

    /// Records an event of a moment, in milliseconds since the audience's first one.
    pub fn record_at(&self, t: i64, event: Event) {
        if let Err(error) = self.queue.try_send(Record { t, event }) {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            if let TrySendError::Full(_) = error {
                self.shared.trouble(&"events are lost: the disk does not keep up");
            }
        }
    }

    /// Events that did not fit into the queue.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Milliseconds since the audience's first moment; negative before it.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        let now = Instant::now();
        match now.checked_duration_since(self.origin) {
            Some(after) => after.as_millis() as i64,
            None => -(self.origin.duration_since(now).as_millis() as i64),
        }
    }
}

impl TelemetrySink for Recorder {
    fn event(&self, event: TelemetryEvent) {
        self.record_at(event.at_ms as i64, Event::Viewer(event));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_recorder_that_someone_keeps_does_not_hold_up_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("evidence.jsonl");
        let (writer, recorder) = Writer::start(&path, Instant::now()).unwrap();
        recorder.record(Event::Phase { name: "doors".into() });
        let outcome = writer.finish_within(Duration::from_millis(50)).await;
        assert!(matches!(outcome, Err(WriteError::Deadline)), "{outcome:?}");
        drop(recorder);
    }

    #[tokio::test]
    async fn a_full_disk_is_told_while_the_run_goes_on() {
        let (writer, recorder) = Writer::start(Path::new("/dev/full"), Instant::now()).unwrap();
        recorder.record(Event::Phase { name: "doors".into() });
        let said = timeout(Duration::from_secs(10), writer.trouble()).await.unwrap();
        assert_eq!(said, "evidence /dev/full: No space left on device (os error 28)");
        drop(recorder);
        let outcome = writer.finish().await;
        assert!(matches!(outcome, Err(WriteError::Io { .. })), "{outcome:?}");
    }
}
