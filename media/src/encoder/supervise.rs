//! Starting ffmpeg on the epoch's grid, watching it, starting it again.

use std::{
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    Agent, EncoderError,
    command::{arguments, find_font},
    ffmpeg::{Ffmpeg, is_there},
    metrics::RestartLabels,
    progress::{Fault, Progress},
};
use crate::{
    backoff::Backoff,
    epoch::{self, Lock},
};

/// Before a restart; the wait for the grid comes on top.
const RESTART: Backoff = Backoff {
    base: Duration::from_millis(100),
    cap: Duration::from_secs(5),
};
/// Starts in a row without a single complete segment after which the agent gives up: whoever runs it should know.
const HOPELESS: u32 = 20;
/// How often a run is judged.
const TICK: Duration = Duration::from_millis(200);

/// How a run ended.
enum End {
    Shutdown,
    Failed {
        reason: &'static str,
        fruitful: bool,
        last_words: Vec<String>,
    },
}

impl Agent {
    /// Keeps ffmpeg running, PUTting to `base`, until `shutdown`.
    pub(super) async fn supervise(&self, base: &str, shutdown: &CancellationToken) -> Result<(), EncoderError> {
        // Started again and again, it would not come: whoever runs the agent should know at once.
        if !is_there(&self.program) {
            return Err(EncoderError::Missing(self.program.clone()));
        }
        let font = find_font();
        if font.is_none() {
            warn!("no font found: the test picture has no clock");
        }
        let mut fruitless = 0;
        for generation in 1.. {
            let lock = self.timeline.next_lock(epoch::now());
            if !sleep_until(lock, shutdown).await {
                return Ok(());
            }
            let arguments = arguments(&self.config, lock, &format!("{base}/{generation}"), font.as_deref());
            let end = self.run_once(generation, lock, &arguments, shutdown).await;
            let End::Failed {
                reason,
                fruitful,
                last_words,
            } = end
            else {
                return Ok(());
            };
            self.metrics.restarts.get_or_create(&RestartLabels { reason }).inc();
            error!(
                generation,
                reason,
                last_words = last_words.join(" | "),
                "ffmpeg ended, starting it again"
            );
            fruitless = if fruitful { 0 } else { fruitless + 1 };
            if fruitless >= HOPELESS {
                return Err(EncoderError::Hopeless {
                    starts: fruitless,
                    last_words: last_words.join(" | "),
                });
            }
            let pause = tokio::time::sleep(RESTART.jittered(fruitless));
            tokio::select! {
                () = pause => {}
                () = shutdown.cancelled() => return Ok(()),
            }
        }
        Ok(())
    }

    async fn run_once(&self, generation: u64, lock: Lock, arguments: &[String], shutdown: &CancellationToken) -> End {
        let progress = Progress::new(self.timeline, &self.renditions, lock);
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some((generation, progress));
        let mut ffmpeg = match Ffmpeg::start(&self.program, arguments) {
            Ok(ffmpeg) => ffmpeg,
            Err(error) => {
                return End::Failed {
                    reason: "unstartable",
                    fruitful: false,
                    last_words: vec![format!("{}: {error}", self.program.display())],
                };
            }
        };
        self.running.store(ffmpeg.id().unwrap_or(0), Ordering::Relaxed);
        info!(generation, pid = ffmpeg.id(), number = lock.number, "ffmpeg started");
        let mut tick = tokio::time::interval(TICK);
        let reason = loop {
            tokio::select! {
                () = shutdown.cancelled() => {
                    ffmpeg.kill().await;
                    self.running.store(0, Ordering::Relaxed);
                    return End::Shutdown;
                }
                status = ffmpeg.wait() => {
                    warn!(generation, status = status.map_or_else(|error| error.to_string(), |status| status.to_string()), "ffmpeg exited");
                    break "exited";
                }
                _ = tick.tick() => if let Some(fault) = self.fault() {
                    ffmpeg.kill().await;
                    break fault.as_str();
                }
            }
        };
        self.running.store(0, Ordering::Relaxed);
        End::Failed {
            reason,
            fruitful: self.has_complete(),
            last_words: ffmpeg.last_words(),
        }
    }

    fn fault(&self) -> Option<Fault> {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.as_ref().and_then(|(_, run)| run.fault(epoch::now()))
    }

    fn has_complete(&self) -> bool {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.as_ref().is_some_and(|(_, run)| run.complete().is_some())
    }
}

/// `false` when the agent is to stop instead.
async fn sleep_until(lock: Lock, shutdown: &CancellationToken) -> bool {
    let wait = Duration::from_secs(lock.second).saturating_sub(epoch::now());
    tokio::select! {
        () = tokio::time::sleep(wait) => true,
        () = shutdown.cancelled() => false,
    }
}
