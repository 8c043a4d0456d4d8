//! Runs an audience from its plan to its report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cohort::{Cohort, CohortReport};
use super::goose_shell::GooseRun;
use super::schedule::{AudiencePlan, Schedule};
use super::viewer::Shared;
use super::{goose_shell, interrupt};
use crate::telemetry::{
    EventBody, GeneratorHealth, GeneratorProbe, LatencyHistogram, LatencySummary, Meter, PopulationSample,
    RequestClass, TelemetryEvent, TelemetrySink,
};

/// Why an audience could not run.
#[derive(Debug, thiserror::Error)]
pub enum AudienceError {
    /// The plan has no region, no network, no phase or no viewer.
    #[error("the audience is empty: {0}")]
    Empty(&'static str),
    /// The playback URL is not `http`.
    #[error("playback URL {0}: only http is supported")]
    Scheme(String),
    /// goose keeps its state in the process: one attack at a time.
    #[error("another audience is running in this process")]
    Busy,
    /// A bug in a viewer.
    #[error("a viewer panicked: {0}")]
    ViewerPanicked(String),
    /// There is no place for goose's report.
    #[error("no temporary folder for goose's report: {0}")]
    Report(std::io::Error),
    /// goose refused to run, or lost a user.
    #[error("goose: {0}")]
    Goose(String),
}

/// What an audience came to.
#[derive(Debug)]
pub struct AudienceReport {
    /// Sessions that ended.
    pub sessions: u64,
    /// Of these, showed a first frame.
    pub started: u64,
    /// Of these, ended in a fatal error.
    pub fatal: u64,
    /// Time playing, all sessions together.
    pub played_ms: u64,
    /// Time with an empty buffer after the first frame.
    pub stalled_ms: u64,
    /// Body bytes.
    pub bytes: u64,
    /// Startup times.
    pub startup: LatencySummary,
    /// From when viewers were due to act to when they did.
    pub lateness: LatencySummary,
    /// By class of request.
    pub classes: BTreeMap<RequestClass, ClassReport>,
    /// Requests that are missing from goose's metrics because its queue was full.
    pub unreported: u64,
    /// goose's own metrics and report; `None` without goose.
    pub goose: Option<GooseRun>,
}

/// Requests of one class over the whole run.
#[derive(Clone, Debug, Default)]
pub struct ClassReport {
    /// Requests ended, failed ones included.
    pub requests: u64,
    /// Failed ones.
    pub errors: u64,
    /// Body bytes.
    pub bytes: u64,
    /// From due to the last byte, of successful ones.
    pub latency: LatencySummary,
    /// The same as an HDR histogram in microseconds, V2 in base64.
    pub histogram: String,
}

/// Runs the audience inside goose, from `start` on: a user per region, whose one long transaction drives its viewers.
///
/// All offsets in events count from `start`, which should lie some hundred milliseconds ahead: goose takes a moment.
/// Cancelling `shutdown` ends every session in an orderly way. One at a time per process. Claims Ctrl-C for `shutdown`.
pub async fn run_audience(
    plan: AudiencePlan,
    start: Instant,
    sink: Arc<dyn TelemetrySink>,
    shutdown: CancellationToken,
) -> Result<AudienceReport, AudienceError> {
    let stage = Stage::set(&plan, start, &sink, true)?;
    interrupt::claim(shutdown.clone());
    let ticker = stage.tick(Arc::clone(&sink));
    let meters = stage.meters.clone();
    let outcome = goose_shell::run(&plan, stage.cohorts, shutdown).await;
    ticker.finish().await;
    let (reports, goose) = outcome?;
    Ok(total(&reports, &meters, Some(goose)))
}

/// Runs the audience without goose: for tests, benchmarks, and several at once.
pub async fn drive_audience(
    plan: AudiencePlan,
    start: Instant,
    sink: Arc<dyn TelemetrySink>,
    shutdown: CancellationToken,
) -> Result<AudienceReport, AudienceError> {
    let stage = Stage::set(&plan, start, &sink, false)?;
    let ticker = stage.tick(Arc::clone(&sink));
    let meters = stage.meters.clone();
    let mut tasks = JoinSet::new();
    for cohort in stage.cohorts {
        tasks.spawn(cohort.drive(shutdown.clone()));
    }
    let mut reports = Vec::new();
    let mut failure = None;
    while let Some(ended) = tasks.join_next().await {
        match ended.unwrap_or_else(|error| Err(AudienceError::ViewerPanicked(error.to_string()))) {
            Ok(report) => reports.push(report),
            Err(error) => {
                shutdown.cancel();
                failure.get_or_insert(error);
            }
        }
    }
    ticker.finish().await;
    failure.map_or_else(|| Ok(total(&reports, &meters, None)), Err)
}

/// Everything ready to run.
struct Stage {
    cohorts: Vec<Cohort>,
    meters: Vec<Arc<Meter>>,
    schedule: Arc<Schedule>,
    start: Instant,
}

impl Stage {
    fn set(
        plan: &AudiencePlan,
        start: Instant,
        sink: &Arc<dyn TelemetrySink>,
        goose: bool,
    ) -> Result<Self, AudienceError> {
        if plan.playback_url.scheme() != "http" {
            return Err(AudienceError::Scheme(plan.playback_url.to_string()));
        }
        if plan.regions.is_empty() || plan.networks.is_empty() {
            return Err(AudienceError::Empty("no region or no network"));
        }
        let schedule = Arc::new(Schedule::draw(plan));
        if schedule.viewings.is_empty() {
            return Err(AudienceError::Empty("no phase has viewers"));
        }
        let settings = Arc::new(plan.player.clone());
        let meters: Vec<Arc<Meter>> = plan
            .regions
            .iter()
            .map(|slice| Arc::new(Meter::new(Arc::clone(&slice.region), goose)))
            .collect();
        let cohorts = meters
            .iter()
            .enumerate()
            .map(|(region, meter)| {
                let mut url = plan.playback_url.clone();
                url.query_pairs_mut().append_pair("region", meter.region());
                Cohort {
                    shared: Arc::new(Shared {
                        start,
                        settings: Arc::clone(&settings),
                        meter: Arc::clone(meter),
                        sink: Arc::clone(sink),
                        channel: Arc::clone(&plan.channel),
                        url: Arc::new(url),
                    }),
                    viewings: schedule
                        .viewings
                        .iter()
                        .filter(|viewing| viewing.region == region)
                        .cloned()
                        .collect(),
                    networks: plan.networks.clone(),
                }
            })
            .collect();
        Ok(Self {
            cohorts,
            meters,
            schedule,
            start,
        })
    }

    /// Starts the once-a-second reports.
    fn tick(&self, sink: Arc<dyn TelemetrySink>) -> Ticker {
        let (stop, meters, schedule, start) = (
            CancellationToken::new(),
            self.meters.clone(),
            Arc::clone(&self.schedule),
            self.start,
        );
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut probe = GeneratorProbe::new();
            let mut unreported = 0;
            for second in 1.. {
                let due = start + Duration::from_secs(second);
                let last = tokio::select! {
                    () = tokio::time::sleep_until(due) => false,
                    () = stopped.cancelled() => true,
                };
                second_report(
                    &meters,
                    &schedule,
                    start.elapsed(),
                    &mut probe,
                    &mut unreported,
                    sink.as_ref(),
                );
                if last {
                    break;
                }
            }
        });
        Ticker { stop, task }
    }
}

struct Ticker {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Ticker {
    /// One last report, for the part of a second that is left.
    async fn finish(self) {
        self.stop.cancel();
        if self.task.await.is_err() {
            tracing::error!("the once-a-second report panicked");
        }
    }
}

fn second_report(
    meters: &[Arc<Meter>],
    schedule: &Schedule,
    at: Duration,
    probe: &mut GeneratorProbe,
    unreported: &mut u64,
    sink: &dyn TelemetrySink,
) {
    let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
    let send = |body| sink.event(TelemetryEvent { at_ms, body });
    let mut lateness = LatencyHistogram::new();
    let mut total_unreported = 0;
    for (region, meter) in meters.iter().enumerate() {
        lateness.merge(&meter.take_lateness());
        total_unreported += meter.unreported();
        let population = PopulationSample {
            region: Arc::clone(meter.region()),
            target: schedule.target(region, at),
            active: meter.active(),
        };
        send(EventBody::Population(population));
        meter
            .take_second()
            .into_iter()
            .for_each(|second| send(EventBody::Second(second)));
    }
    let late = lateness.summary();
    let (cpu_share, machine_cpu_share) = probe.sample();
    let new_unreported = total_unreported.saturating_sub(*unreported);
    *unreported = total_unreported;
    send(EventBody::Generator(GeneratorHealth {
        cpu_share,
        machine_cpu_share,
        wakeups: late.count,
        lateness_p99_us: late.p99_us,
        lateness_max_us: late.max_us,
        unreported: new_unreported,
    }));
}

fn total(reports: &[CohortReport], meters: &[Arc<Meter>], goose: Option<GooseRun>) -> AudienceReport {
    let mut sum = CohortReport::default();
    for report in reports {
        sum.merge(report);
    }
    let mut classes: BTreeMap<RequestClass, crate::telemetry::ClassTotals> = BTreeMap::new();
    let mut lateness = LatencyHistogram::new();
    for meter in meters {
        lateness.merge(&meter.all_lateness());
        for (class, totals) in meter.totals() {
            classes.entry(class).or_default().merge(&totals);
        }
    }
    AudienceReport {
        sessions: sum.sessions,
        started: sum.started,
        fatal: sum.fatal,
        played_ms: sum.played_ms,
        stalled_ms: sum.stalled_ms,
        bytes: sum.bytes,
        startup: sum.startup.summary(),
        lateness: lateness.summary(),
        classes: classes
            .into_iter()
            .map(|(class, totals)| {
                let report = ClassReport {
                    requests: totals.requests,
                    errors: totals.errors,
                    bytes: totals.bytes,
                    latency: totals.latency.summary(),
                    histogram: totals.latency.to_base64(),
                };
                (class, report)
            })
            .collect(),
        unreported: meters.iter().map(|meter| meter.unreported()).sum(),
        goose,
    }
}
