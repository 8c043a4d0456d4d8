//! The shell: carries a plan out.

use super::plan::{CONTROLLER_UID, Plan, condition, plan};
use crate::context::{Context, key_of, within};
use crate::engine::ReconcileError;
use crate::engine::cache::Key;
use crate::engine::events::Note;
use crate::engine::queue::Queue;
use crate::model::meta::controller_of;
use crate::model::same::same_status;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{ResourceExt, api::ListParams};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NAME: &str = "job-controller";

/// Registers for events; call before the caches start.
pub(crate) fn register(context: &Context) -> Queue<Key> {
    let queue: Queue<Key> = Queue::new(context.config.debounce);
    let own = queue.clone();
    context.caches.jobs.on_change(move |old, new| {
        if let Some(key) = key_of(old, new) {
            own.add(key);
        }
    });
    let pods = queue.clone();
    context.caches.pods.on_change(move |old, new| {
        let Some(pod) = new.or(old) else { return };
        if let Some(owner) = controller_of(pod).filter(|owner| owner.kind == "Job") {
            pods.add(Key::new(pod.namespace().unwrap_or_default(), &owner.name));
        }
    });
    queue
}

/// Works until cancelled.
pub(crate) async fn run(context: Context, queue: Queue<Key>, cancel: CancellationToken) {
    queue
        .work(NAME, context.config.workers, &cancel, |key| reconcile(&context, key))
        .await;
}

pub(crate) async fn reconcile(context: &Context, key: Key) -> Result<Option<Duration>, ReconcileError> {
    let caches = &context.caches;
    let Some(job) = caches.jobs.get(&key) else {
        return Ok(None);
    };
    let mut decided = decide(context, &job);
    if !decided.create.is_empty() {
        if !context.stands(&caches.jobs, &*job).await? {
            return Ok(None);
        }
        look(context, &job).await?;
        decided = decide(context, &job);
    }
    let Plan {
        create,
        delete,
        status,
        expired,
        again,
    } = decided;
    if expired {
        context.delete(&caches.jobs, &*job, None).await?;
        return Ok(None);
    }
    for pod in &create {
        let created: Pod = context.create(&caches.pods, pod).await?;
        let note = Note::normal("SuccessfulCreate", format!("Created pod: {}", created.name_any()));
        context.events.publish(NAME, &*job, note);
    }
    for pod in &delete {
        context.delete(&caches.pods, pod, None).await?;
        let note = Note::normal("SuccessfulDelete", format!("Deleted pod: {}", pod.name_any()));
        context.events.publish(NAME, &*job, note);
    }
    if !same_status(job.status.as_ref(), &status) {
        announce(context, &job, &status);
        let mut job = (*job).clone();
        job.status = Some(status);
        context.write_status(&caches.jobs, &job).await?;
    }
    Ok(again)
}

/// The decision by what the cache holds.
fn decide(context: &Context, job: &Job) -> Plan {
    let pods = context.caches.pods.in_namespace(&job.namespace().unwrap_or_default());
    let pods: Vec<&Pod> = pods.iter().map(|pod| &**pod).collect();
    let backoff = SignedDuration::try_from(context.config.job_backoff).unwrap_or(SignedDuration::from_secs(10));
    plan(job, &pods, backoff, Timestamp::now())
}

/// Takes in the pods that the server itself has for a job. One that was made without an answer, and is not in the cache yet,
/// would be made again: of other owners the surplus is taken away later, but what a pod of a job has done is done.
async fn look(context: &Context, job: &Job) -> Result<(), ReconcileError> {
    let api = context.api::<Pod>(&job.namespace().unwrap_or_default());
    let own = format!("{CONTROLLER_UID}={}", job.uid().unwrap_or_default());
    for pod in within(api.list(&ListParams::default().labels(&own))).await? {
        context.caches.pods.wrote(&pod);
    }
    Ok(())
}

/// Events for the end of the job.
fn announce(context: &Context, job: &Job, status: &JobStatus) {
    let was = |kind: &str| {
        job.status
            .as_ref()
            .is_some_and(|status| condition(status, kind).is_some())
    };
    if condition(status, "Complete").is_some() && !was("Complete") {
        context
            .events
            .publish(NAME, job, Note::normal("Completed", "Job completed"));
    }
    if let Some(failed) = condition(status, "Failed").filter(|_| !was("Failed")) {
        let reason = match failed.reason.as_deref() {
            Some("DeadlineExceeded") => "DeadlineExceeded",
            _ => "BackoffLimitExceeded",
        };
        context.events.publish(
            NAME,
            job,
            Note::warning(reason, failed.message.clone().unwrap_or_default()),
        );
    }
}
