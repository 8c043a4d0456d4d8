//! Finishing drills whose runner is gone: its faults must not outlive it.
//!
//! A drill's runner renews a Lease. When it was not seen to change for its duration, the operator fences the drill (phase
//! `Abandoned`: the runner's next intent is refused, and a runner that comes back stops), takes back what the journal in
//! its status names, and says so. Every step can be repeated, so a crash of the operator loses nothing.

mod chaos;
mod decide;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, Resource as _, ResourceExt,
    api::PostParams,
    runtime::{
        Controller,
        controller::{Action as Next, Config, Error as ControllerError},
        events::{Event, EventType, Recorder, Reporter},
        watcher,
    },
};
use showrunner_crds::{
    drill::{Drill, DrillPhase, DrillStatus, JournalEntry, JournalStage, UNDONE, lease_name},
    liveness::Liveness,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use decide::{Action, due};

use crate::{backoff, options::OperatorOptions};
use chaos::{ChaosError, Step, step};

/// Drills looked at concurrently.
const CONCURRENCY: u16 = 4;
/// Mutations of one drill taken back at a time.
const AT_ONCE: usize = 16;
/// Time until what was written is looked at again.
const WRITTEN: Duration = Duration::from_secs(1);

/// Why a look at a drill failed.
#[derive(Debug, thiserror::Error)]
enum DrillError {
    /// The API server said no.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// It did not answer.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// Some mutations could not be taken back.
    #[error("not taken back: {0}")]
    NotUndone(String),
}

struct Context {
    client: Client,
    options: OperatorOptions,
    recorder: Recorder,
    start: Instant,
    /// What was seen of Leases, and failures in a row, by the Drill's UID. Lost with the process: a drill then gets its
    /// Lease's duration once more.
    seen: Mutex<HashMap<String, (Liveness, u32)>>,
}

impl Context {
    fn seen(&self) -> MutexGuard<'_, HashMap<String, (Liveness, u32)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until the token is cancelled.
pub async fn run(client: Client, options: OperatorOptions, stop: CancellationToken) {
    let drills: Api<Drill> = match &options.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let reporter = Reporter {
        controller: "showrunner-operator".into(),
        instance: options.instance.clone(),
    };
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        options,
        start: Instant::now(),
        seen: Mutex::default(),
    });
    Controller::new(drills, watcher::Config::default())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(look, on_error, context)
        .for_each(async |outcome| match outcome {
            Ok((drill, _)) => debug!(%drill, "looked at"),
            // Reported by `on_error` already.
            Err(ControllerError::ReconcilerFailed(..)) => {}
            Err(ControllerError::ObjectNotFound(drill)) => debug!(%drill, "drill is gone"),
            // Faults of drills without a runner stay for as long as this lasts.
            Err(error) => warn!(%error, "drills are not watched"),
        })
        .await;
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn on_error(drill: Arc<Drill>, error: &DrillError, context: Arc<Context>) -> Next {
    let failures = {
        let mut seen = context.seen();
        let failures = &mut seen.entry(drill.uid().unwrap_or_default()).or_default().1;
        *failures = failures.saturating_add(1);
        *failures
    };
    let wait = backoff::after(failures, fastrand::f64());
    warn!(drill = drill.name_any(), namespace = ?drill.namespace(), %error, ?wait, "drill not finished");
    Next::requeue(wait)
}

async fn look(drill: Arc<Drill>, context: Arc<Context>) -> Result<Next, DrillError> {
    let deadline = context.options.apply_deadline;
    match timeout(deadline, finish(&drill, &context)).await {
        Ok(next) => {
            let next = next?;
            if let Some(seen) = context.seen().get_mut(&drill.uid().unwrap_or_default()) {
                seen.1 = 0;
            }
            Ok(next)
        }
        Err(_) => Err(DrillError::Deadline(deadline)),
    }
}

/// One look at a drill.
async fn finish(drill: &Drill, context: &Context) -> Result<Next, DrillError> {
    let namespace = drill.namespace().unwrap_or_default();
    let name = drill.name_any();
    let uid = drill.uid().unwrap_or_default();
    let mut action = due(drill, Duration::MAX);
    if let Action::Watch(_) = action {
        let leases: Api<Lease> = Api::namespaced(context.client.clone(), &namespace);
        let lease = leases.get_opt(&lease_name(&name)).await?;
        let left = {
            let mut seen = context.seen();
            let (liveness, _) = seen.entry(uid.clone()).or_default();
            liveness.look(lease.as_ref(), context.start.elapsed())
        };
        action = due(drill, left);
    }
    match action {
        Action::Rest => {
            context.seen().remove(&uid);
            Ok(Next::await_change())
        }
        Action::Watch(wait) => Ok(Next::requeue(wait)),
        Action::TakeOver => {
            let now = context.options.clock.now();
            let mut status = drill.status.clone().unwrap_or_default();
            status.phase = Some(DrillPhase::Abandoned);
            let why = "the runner has not renewed its lease; the operator takes its faults back";
            status.set_condition(UNDONE, Some(false), "RunnerGone", why, now);
            write(drill, status, context).await?;
            info!(drill = name, namespace, "the runner is gone: its faults are taken back");
            tell(drill, context, EventType::Warning, "RunnerGone", why).await;
            // What was written comes back as an event.
            Ok(Next::requeue(WRITTEN))
        }
        Action::Undo(open) => undo(drill, &open, context).await,
        Action::Conclude => {
            let now = context.options.clock.now();
            let mut status = drill.status.clone().unwrap_or_default();
            status.phase = Some(DrillPhase::Done);
            let undone = format!("{} mutations of the drill are known to be gone", status.journal.len());
            status.set_condition(UNDONE, Some(true), "Undone", &undone, now);
            write(drill, status, context).await?;
            info!(drill = name, namespace, "a drill without a runner was undone");
            tell(drill, context, EventType::Normal, "Undone", &undone).await;
            Ok(Next::await_change())
        }
    }
}

/// Takes a step with each mutation, and notes which are gone.
async fn undo(drill: &Drill, open: &[JournalEntry], context: &Context) -> Result<Next, DrillError> {
    let namespace = drill.namespace().unwrap_or_default();
    let name = drill.name_any();
    let steps: Vec<_> = open
        .iter()
        .map(async |entry| (entry, step(&context.client, &namespace, &name, &entry.undo).await))
        .collect();
    let stepped: Vec<(&JournalEntry, Result<Step, ChaosError>)> =
        stream::iter(steps).buffer_unordered(AT_ONCE).collect().await;
    let now = context.options.clock.now();
    let mut status = drill.status.clone().unwrap_or_default();
    let (mut gone, mut going, mut failed) = (0, Vec::new(), Vec::new());
    for (JournalEntry { id, undo, .. }, outcome) in stepped {
        match outcome {
            Ok(Step::Gone) => {
                gone += 1;
                for entry in status.journal.iter_mut().filter(|entry| entry.id == *id) {
                    entry.stage = JournalStage::Undone;
                    entry.at = now;
                }
            }
            Ok(Step::Going) => going.push(undo.to_string()),
            Err(error) => failed.push(format!("{id}: {error}")),
        }
    }
    if !failed.is_empty() {
        failed.sort();
        status.set_condition(UNDONE, Some(false), "Failing", &failed.join("; "), now);
    } else if !going.is_empty() {
        going.sort();
        let why = format!(
            "waiting for its fault to be recovered and then to go: {}",
            going.join(", ")
        );
        status.set_condition(UNDONE, Some(false), "Waiting", &why, now);
    }
    let condition = status.conditions.iter().find(|condition| condition.type_ == UNDONE);
    let since = condition.map(|condition| now.duration_since(condition.last_transition_time.0).unsigned_abs());
    let again = decide::again(since.unwrap_or_default());
    if drill.status.as_ref() != Some(&status) {
        write(drill, status, context).await?;
    }
    if !failed.is_empty() {
        return Err(DrillError::NotUndone(failed.join("; ")));
    }
    debug!(drill = name, gone, of = open.len(), "mutations taken back");
    Ok(Next::requeue(again))
}

/// Writes a status over the one that the decision was made on; refused if anyone has written since.
async fn write(drill: &Drill, status: DrillStatus, context: &Context) -> Result<(), DrillError> {
    let drills: Api<Drill> = Api::namespaced(context.client.clone(), &drill.namespace().unwrap_or_default());
    let mut changed = drill.clone();
    changed.status = Some(status);
    drills
        .replace_status(&drill.name_any(), &PostParams::default(), &changed)
        .await?;
    Ok(())
}

/// An event on the drill. One that cannot be published is no failure.
async fn tell(drill: &Drill, context: &Context, type_: EventType, reason: &str, note: &str) {
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note.to_owned()),
        action: "Finish".to_owned(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, &drill.object_ref(&())).await {
        debug!(%error, "event not published");
    }
}
