//! The viewers of one region: started when the plan says so, and waited for.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::run::AudienceError;
use super::schedule::{Network, Viewing};
use super::viewer::{Line, Shared, watch};
use crate::telemetry::{LatencyHistogram, SessionEnd};

/// How long sessions may take to close once all were told to.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// What the sessions of one region came to.
#[derive(Clone, Debug, Default)]
pub(super) struct CohortReport {
    pub sessions: u64,
    pub started: u64,
    pub fatal: u64,
    pub played_ms: u64,
    pub stalled_ms: u64,
    pub bytes: u64,
    /// Startup times of sessions that started.
    pub startup: LatencyHistogram,
}

impl CohortReport {
    fn add(&mut self, end: &SessionEnd) {
        self.sessions += 1;
        self.started += u64::from(end.started);
        self.fatal += u64::from(end.fatal);
        self.played_ms += end.played_ms;
        self.stalled_ms += end.stalled_ms;
        self.bytes += end.bytes;
        if end.started {
            self.startup.record(end.startup_ms * 1000);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.started += other.started;
        self.fatal += other.fatal;
        self.played_ms += other.played_ms;
        self.stalled_ms += other.stalled_ms;
        self.bytes += other.bytes;
        self.startup.merge(&other.startup);
    }
}

/// One region's slice of the audience.
pub(super) struct Cohort {
    pub shared: Arc<Shared>,
    /// In order of arrival.
    pub viewings: Vec<Viewing>,
    pub networks: Vec<Network>,
}

impl Cohort {
    /// Runs every viewer to its end. A viewer that panics ends the run: its silence would look like success.
    pub(super) async fn drive(self, stop: CancellationToken) -> Result<CohortReport, AudienceError> {
        let mut report = CohortReport::default();
        let mut tasks: JoinSet<SessionEnd> = JoinSet::new();
        let start = self.shared.start;
        'arrivals: for viewing in self.viewings {
            let due = start + viewing.arrive;
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => break 'arrivals,
                    () = sleep_until(due) => break,
                    Some(ended) = tasks.join_next(), if !tasks.is_empty() => report.add(&joined(ended)?),
                }
            }
            self.shared.meter.lateness(due.elapsed());
            let network = &self.networks[viewing.network];
            let line = Line {
                name: Arc::clone(&network.name),
                bits_per_second: network.down_kbps.map(|kbps| u64::from(kbps) * 1000),
                rtt: network.rtt,
            };
            tasks.spawn(watch(&viewing, line, Arc::clone(&self.shared), stop.clone()));
        }
        let mut deadline = None;
        while !tasks.is_empty() {
            let ended = match deadline {
                None => tokio::select! {
                    ended = tasks.join_next() => ended,
                    () = stop.cancelled() => {
                        deadline = Some(Instant::now() + CLOSE_DEADLINE);
                        continue;
                    }
                },
                Some(deadline) => match timeout_at(deadline, tasks.join_next()).await {
                    Ok(ended) => ended,
                    // Dropping the set aborts what is left.
                    Err(_) => break,
                },
            };
            if let Some(ended) = ended {
                report.add(&joined(ended)?);
            }
        }
        Ok(report)
    }
}

fn joined(ended: Result<SessionEnd, JoinError>) -> Result<SessionEnd, AudienceError> {
    ended.map_err(|error| match error.try_into_panic() {
        Ok(panic) => AudienceError::ViewerPanicked(panic_text(panic.as_ref())),
        Err(error) => AudienceError::ViewerPanicked(error.to_string()),
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "unknown panic".to_owned())
}
