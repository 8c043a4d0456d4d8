//! The shell: carries a plan out.

use super::plan::{note_failure, plan};
use crate::context::{Context, key_of};
use crate::engine::ReconcileError;
use crate::engine::cache::Key;
use crate::engine::events::Note;
use crate::engine::queue::Queue;
use crate::model::meta::{controller_of, controller_ref};
use crate::model::same::same_status;
use crate::model::template::pod_from_template;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde_json::json;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NAME: &str = "replicaset-controller";

/// Registers for events; call before the caches start.
pub(crate) fn register(context: &Context) -> Queue<Key> {
    let queue: Queue<Key> = Queue::new(context.config.debounce);
    let own = queue.clone();
    context.caches.replica_sets.on_change(move |old, new| {
        if let Some(key) = key_of(old, new) {
            own.add(key);
        }
    });
    let pods = queue.clone();
    let caches = std::sync::Arc::downgrade(&context.caches);
    context.caches.pods.on_change(move |old, new| {
        for pod in [old, new].into_iter().flatten() {
            let namespace = pod.namespace().unwrap_or_default();
            match controller_of(pod) {
                Some(owner) if owner.kind == "ReplicaSet" => pods.add(Key::new(namespace, &owner.name)),
                Some(_) => {}
                // An orphan: any set of the namespace may want it.
                None => {
                    let Some(caches) = caches.upgrade() else { continue };
                    for set in caches.replica_sets.in_namespace(&namespace) {
                        pods.add(Key::of(&*set));
                    }
                }
            }
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
    let Some(set) = caches.replica_sets.get(&key) else {
        return Ok(None);
    };
    let pods = caches.pods.in_namespace(&key.namespace);
    let now = Timestamp::now();
    let mut plan = plan(&set, &pods.iter().map(|pod| &**pod).collect::<Vec<_>>(), now);

    let makes = plan.create > 0 || !plan.adopt.is_empty();
    if makes && !context.stands(&caches.replica_sets, &*set).await? {
        return Ok(None);
    }
    for pod in &plan.adopt {
        let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
        owners.push(controller_ref(&*set));
        context
            .patch(&caches.pods, pod, json!({ "metadata": { "ownerReferences": owners } }))
            .await?;
    }
    for pod in &plan.release {
        let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
        owners.retain(|owner| Some(&owner.uid) != set.meta().uid.as_ref());
        context
            .patch(&caches.pods, pod, json!({ "metadata": { "ownerReferences": owners } }))
            .await?;
    }
    let template = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.clone())
        .unwrap_or_default();
    let created = create_pods(context, &set, &template, plan.create).await;
    let deleted = join_all(plan.delete.iter().map(|pod| delete_pod(context, &set, pod))).await;
    let deleted = deleted.into_iter().collect::<Result<Vec<()>, _>>();

    let failure = match (&created, &deleted) {
        (Err(error), _) => Some(("FailedCreate", error.to_string())),
        (_, Err(error)) => Some(("FailedDelete", error.to_string())),
        _ => None,
    };
    note_failure(&mut plan.status, failure, now);
    if !same_status(set.status.as_ref(), &plan.status) {
        let mut set = (*set).clone();
        set.status = Some(plan.status);
        context.write_status(&caches.replica_sets, &set).await?;
    }
    created.and(deleted)?;
    Ok(plan.again)
}

/// Slow start: 1, 2, 4, … at once, stopping at the first batch with a failure, so that a refusal (a quota, a broken
/// template) costs a few requests and not hundreds.
async fn create_pods(
    context: &Context,
    set: &ReplicaSet,
    template: &PodTemplateSpec,
    count: usize,
) -> Result<(), ReconcileError> {
    let (mut left, mut batch) = (count, 1);
    while left > 0 {
        let now = batch.min(left);
        let results = join_all((0..now).map(|_| async {
            let created: Pod = context
                .create(&context.caches.pods, &pod_from_template(set, template))
                .await?;
            let note = Note::normal("SuccessfulCreate", format!("Created pod: {}", created.name_any()));
            context.events.publish(NAME, set, note);
            Ok::<(), ReconcileError>(())
        }))
        .await;
        for result in results {
            if let Err(error) = &result {
                let note = Note::warning("FailedCreate", format!("Error creating: {error}"));
                context.events.publish(NAME, set, note);
            }
            result?;
        }
        left -= now;
        batch *= 2;
    }
    Ok(())
}

async fn delete_pod(context: &Context, set: &ReplicaSet, pod: &Pod) -> Result<(), ReconcileError> {
    context.delete(&context.caches.pods, pod, None).await?;
    let note = Note::normal("SuccessfulDelete", format!("Deleted pod: {}", pod.name_any()));
    context.events.publish(NAME, set, note);
    Ok(())
}
