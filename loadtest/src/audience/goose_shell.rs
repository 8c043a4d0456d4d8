//! goose around the viewers: one user a region, one long transaction each, every request in goose's metrics.
//!
//! goose would give each user a client of its own and count the time to headers only. Here a few users share one client that
//! sends nothing, the viewers do the work on our own engine, and goose is told what each request took to its last byte.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use goose::client::GooseClientBuilder;
use goose::config::{GooseConfiguration, GooseDefault, GooseDefaultType as _};
use goose::goose::{GooseUser, Scenario, Transaction, TransactionFunction};
use goose::metrics::GooseMetrics;
use goose::{GooseAttack, GooseError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::cohort::{Cohort, CohortReport};
use super::run::AudienceError;
use super::schedule::AudiencePlan;
use crate::telemetry::Meter;

/// goose's metrics and its kill switch are global to the process.
static RUNNING: AtomicBool = AtomicBool::new(false);

struct Running;

impl Running {
    fn begin() -> Result<Self, AudienceError> {
        if RUNNING.swap(true, Ordering::AcqRel) {
            Err(AudienceError::Busy)
        } else {
            Ok(Self)
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.store(false, Ordering::Release);
    }
}

/// How often requests are handed to goose.
const HAND_OVER: Duration = Duration::from_millis(100);
/// goose resets its metrics once all users are launched, which takes it some milliseconds. What it is told before is lost.
const RESET: Duration = Duration::from_secs(1);

/// What goose made of a run.
#[derive(Debug)]
pub struct GooseRun {
    /// Its metrics.
    pub metrics: GooseMetrics,
    /// Its own report, where it wrote one.
    pub html: Option<String>,
}

type Slot = Arc<Mutex<Vec<Result<CohortReport, AudienceError>>>>;

/// Runs every cohort as a goose user and waits for goose to finish.
pub(super) async fn run(
    plan: &AudiencePlan,
    cohorts: Vec<Cohort>,
    shutdown: CancellationToken,
) -> Result<(Vec<CohortReport>, GooseRun), AudienceError> {
    let _running = Running::begin()?;
    let users = cohorts.len();
    let results: Slot = Arc::default();
    // goose writes its report to a file or not at all.
    let folder = tempfile::tempdir().map_err(AudienceError::Report)?;
    let report = folder.path().join("report.html");
    let mut attack = configure(users, &report).map_err(|error| goose_error(&error))?;
    let host = plan.playback_url[..url::Position::BeforePath].to_owned();
    for cohort in cohorts {
        let region = Arc::clone(cohort.shared.meter.region());
        let transaction =
            transaction(cohort, Arc::clone(&results), shutdown.clone()).set_name(&format!("watch from {region}"));
        let scenario = Scenario::new(&format!("audience {region}"))
            .set_host(&host)
            .register_transaction(transaction);
        attack = attack.register_scenario(scenario);
    }
    let metrics = Box::pin(attack.execute()).await.map_err(|error| goose_error(&error))?;
    let results = std::mem::take(&mut *results.lock().unwrap_or_else(PoisonError::into_inner));
    if results.len() != users {
        return Err(AudienceError::Goose(format!(
            "{} of {users} users ended without a result",
            users - results.len()
        )));
    }
    let reports: Result<Vec<_>, _> = results.into_iter().collect();
    // Its metrics tell the same: a run does not fail for it.
    let html = std::fs::read_to_string(&report)
        .inspect_err(|error| warn!(%error, "goose left no report"))
        .ok();
    Ok((reports?, GooseRun { metrics, html }))
}

/// goose as a quiet guest: no listener, no printing. Iterations are set on the users instead (see
/// [`transaction`]): set here, goose would print to standard output.
fn configure(users: usize, report: &Path) -> Result<GooseAttack, GooseError> {
    let attack = GooseAttack::initialize_with_config(GooseConfiguration::default())?
        .set_default(GooseDefault::Users, users)?
        .set_default(GooseDefault::IncreaseRate, "1000")?
        .set_default(GooseDefault::NoTelnet, true)?
        .set_default(GooseDefault::NoPrintMetrics, true)?
        .set_default(GooseDefault::ReportFile, report.to_string_lossy().as_ref())?
        .set_default(GooseDefault::Quiet, 3)?;
    attack.set_client_builder_without_cookies(GooseClientBuilder::new().without_cookies())
}

fn transaction(cohort: Cohort, results: Slot, shutdown: CancellationToken) -> Transaction {
    // goose may call a transaction again; this one has a single cohort to drive.
    let cohort = Mutex::new(Some(cohort));
    let function: TransactionFunction = Arc::new(move |user: &mut GooseUser| {
        let cohort = cohort.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (results, shutdown) = (Arc::clone(&results), shutdown.clone());
        // This user is done after this transaction; goose ends when all are.
        user.config.iterations = Some(1);
        Box::pin(async move {
            if let Some(cohort) = cohort {
                let result = drive(user, cohort, &shutdown).await;
                if result.is_err() {
                    shutdown.cancel();
                }
                results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
            }
            Ok(())
        })
    });
    Transaction::new(function)
}

async fn drive(
    user: &mut GooseUser,
    cohort: Cohort,
    shutdown: &CancellationToken,
) -> Result<CohortReport, AudienceError> {
    let meter = Arc::clone(&cohort.shared.meter);
    // A task of its own: viewers must not wait while goose's books are kept.
    let mut driving = tokio::spawn(cohort.drive(shutdown.clone()));
    let began = Instant::now();
    let outcome = loop {
        tokio::select! {
            outcome = &mut driving => break outcome,
            () = tokio::time::sleep(HAND_OVER) => {
                if began.elapsed() >= RESET {
                    hand_over(user, &meter).await?;
                }
                if goose::is_killswitch_triggered() {
                    shutdown.cancel();
                }
            }
        }
    };
    tokio::time::sleep_until(began + RESET).await;
    hand_over(user, &meter).await?;
    outcome.unwrap_or_else(|error| Err(AudienceError::ViewerPanicked(error.to_string())))
}

/// Tells goose of the requests since the last time.
async fn hand_over(user: &mut GooseUser, meter: &Meter) -> Result<(), AudienceError> {
    for sample in meter.take_samples() {
        let method = if sample.class.is_service() { "POST" } else { "GET" };
        let status = (sample.status != 0).then_some(sample.status);
        user.record_custom_request_duration(
            method,
            sample.class.name(),
            sample.latency,
            sample.success,
            status,
            None,
        )
        .await
        .map_err(|error| AudienceError::Goose(error.to_string()))?;
    }
    Ok(())
}

fn goose_error(error: &GooseError) -> AudienceError {
    // goose's own words leave out which option it was.
    AudienceError::Goose(match error {
        GooseError::InvalidOption { option, value, detail } => format!("{option} = {value:?}: {detail}"),
        other => other.to_string(),
    })
}
