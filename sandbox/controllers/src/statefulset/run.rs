//! The shell: carries a plan out.

use super::plan::{Plan, plan};
use crate::context::{Context, key_of};
use crate::engine::ReconcileError;
use crate::engine::cache::Key;
use crate::engine::events::Note;
use crate::engine::queue::Queue;
use crate::model::meta::{controller_of, controller_ref};
use crate::model::same::same_status;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde_json::json;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NAME: &str = "statefulset-controller";

/// Registers for events; call before the caches start.
pub(crate) fn register(context: &Context) -> Queue<Key> {
    let queue: Queue<Key> = Queue::new(context.config.debounce);
    let own = queue.clone();
    context.caches.stateful_sets.on_change(move |old, new| {
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
                Some(owner) if owner.kind == "StatefulSet" => pods.add(Key::new(namespace, &owner.name)),
                Some(_) => {}
                None => {
                    let Some(caches) = caches.upgrade() else { continue };
                    for set in caches.stateful_sets.in_namespace(&namespace) {
                        pods.add(Key::of(&*set));
                    }
                }
            }
        }
    });
    // One whose making was not answered may show late, when the set has another template again. (Upstream notices at the
    // next change of the set.)
    let revisions = queue.clone();
    context.caches.revisions.on_change(move |old, new| {
        for revision in [old, new].into_iter().flatten() {
            if let Some(owner) = controller_of(revision).filter(|owner| owner.kind == "StatefulSet") {
                revisions.add(Key::new(revision.namespace().unwrap_or_default(), &owner.name));
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
    let Some(set) = caches.stateful_sets.get(&key) else {
        return Ok(None);
    };
    let pods = caches.pods.in_namespace(&key.namespace);
    let revisions = caches.revisions.in_namespace(&key.namespace);
    let pods: Vec<&Pod> = pods.iter().map(|pod| &**pod).collect();
    let revisions: Vec<&ControllerRevision> = revisions.iter().map(|revision| &**revision).collect();
    let Plan {
        adopt,
        release,
        revision,
        expired,
        claims,
        create,
        delete,
        status,
        again,
    } = plan(&set, &pods, &revisions, Timestamp::now())?;

    let revises = revision
        .as_ref()
        .is_some_and(|revision| revision.metadata.uid.is_none());
    let makes = revises || !adopt.is_empty() || !create.is_empty();
    if makes && !context.stands(&caches.stateful_sets, &*set).await? {
        return Ok(None);
    }
    for pod in &adopt {
        let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
        owners.push(controller_ref(&*set));
        context
            .patch(&caches.pods, pod, json!({ "metadata": { "ownerReferences": owners } }))
            .await?;
    }
    for pod in &release {
        let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
        owners.retain(|owner| Some(&owner.uid) != set.meta().uid.as_ref());
        context
            .patch(&caches.pods, pod, json!({ "metadata": { "ownerReferences": owners } }))
            .await?;
    }
    if let Some(revision) = revision {
        if revision.metadata.uid.is_none() {
            context.create(&caches.revisions, &revision).await?;
        } else {
            let patch = json!({ "revision": revision.revision });
            context.patch(&caches.revisions, &revision, patch).await?;
        }
    }
    for claim in &claims {
        ensure_claim(context, claim).await?;
    }
    for pod in &create {
        create_pod(context, &set, pod).await?;
    }
    for pod in &delete {
        context.delete(&caches.pods, pod, None).await?;
        let text = format!(
            "delete Pod {} in StatefulSet {} successful",
            pod.name_any(),
            set.name_any()
        );
        context
            .events
            .publish(NAME, &*set, Note::normal("SuccessfulDelete", text));
    }
    if !same_status(set.status.as_ref(), &status) {
        let mut set = (*set).clone();
        set.status = Some(status);
        context.write_status(&caches.stateful_sets, &set).await?;
    }
    for revision in &expired {
        context.delete(&caches.revisions, revision, None).await?;
    }
    Ok(again)
}

async fn create_pod(context: &Context, set: &StatefulSet, pod: &Pod) -> Result<(), ReconcileError> {
    let what = format!("create Pod {} in StatefulSet {}", pod.name_any(), set.name_any());
    match context.create(&context.caches.pods, pod).await {
        Ok(_) => {
            let note = Note::normal("SuccessfulCreate", format!("{what} successful"));
            context.events.publish(NAME, set, note);
            Ok(())
        }
        Err(error) => {
            // "Already exists" is its predecessor on the way out, or a stranger of the same name: retried either way.
            if !error.is_expected() {
                let note = Note::warning("FailedCreate", format!("{what} failed error: {error}"));
                context.events.publish(NAME, set, note);
            }
            Err(error)
        }
    }
}

/// Creates a claim that is missing. With `bind_claims` it is also marked Bound: nothing else would do so where there
/// is no volume provisioner, and pods would wait for ever.
async fn ensure_claim(context: &Context, claim: &PersistentVolumeClaim) -> Result<(), ReconcileError> {
    let cache = &context.caches.claims;
    let mut claim = match cache.get(&Key::of(claim)) {
        Some(known) => (*known).clone(),
        None => context.create(cache, claim).await?,
    };
    let bound = claim
        .status
        .as_ref()
        .is_some_and(|status| status.phase.as_deref() == Some("Bound"));
    if context.config.bind_claims && !bound {
        let spec = claim.spec.clone().unwrap_or_default();
        claim.status = Some(PersistentVolumeClaimStatus {
            phase: Some("Bound".into()),
            access_modes: spec.access_modes,
            capacity: spec.resources.and_then(|resources| resources.requests),
            ..PersistentVolumeClaimStatus::default()
        });
        context.write_status(cache, &claim).await?;
    }
    Ok(())
}
