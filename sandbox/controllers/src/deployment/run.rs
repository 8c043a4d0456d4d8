//! The shell: carries a plan out.

use super::plan::{Plan, Step, plan};
use super::{HASH_LABEL, annotations, size};
use crate::context::{Context, key_of};
use crate::engine::ReconcileError;
use crate::engine::cache::Key;
use crate::engine::events::Note;
use crate::engine::queue::Queue;
use crate::model::meta::{controller_of, controller_ref, is_controlled_by};
use crate::model::same::same_status;
use crate::model::template::same_template;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde_json::json;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NAME: &str = "deployment-controller";

/// Registers for events; call before the caches start.
pub(crate) fn register(context: &Context) -> Queue<Key> {
    let queue: Queue<Key> = Queue::new(context.config.debounce);
    let own = queue.clone();
    context.caches.deployments.on_change(move |old, new| {
        if let Some(key) = key_of(old, new) {
            own.add(key);
        }
    });
    let sets = queue.clone();
    let caches = std::sync::Arc::downgrade(&context.caches);
    context.caches.replica_sets.on_change(move |old, new| {
        for set in [old, new].into_iter().flatten() {
            let namespace = set.namespace().unwrap_or_default();
            match controller_of(set) {
                Some(owner) if owner.kind == "Deployment" => sets.add(Key::new(namespace, &owner.name)),
                Some(_) => {}
                None => {
                    let Some(caches) = caches.upgrade() else { continue };
                    for deployment in caches.deployments.in_namespace(&namespace) {
                        sets.add(Key::of(&*deployment));
                    }
                }
            }
        }
    });
    // `Recreate` waits for the last old pod to be gone.
    let pods = queue.clone();
    let caches = std::sync::Arc::downgrade(&context.caches);
    context.caches.pods.on_change(move |old, new| {
        let (Some(pod), None) = (old, new) else { return };
        let (Some(owner), Some(caches)) = (controller_of(pod), caches.upgrade()) else {
            return;
        };
        let namespace = pod.namespace().unwrap_or_default();
        let set = caches.replica_sets.get(&Key::new(&namespace, &owner.name));
        if let Some(owner) = set.as_deref().and_then(controller_of) {
            pods.add(Key::new(namespace, &owner.name));
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
    let Some(deployment) = caches.deployments.get(&key) else {
        return Ok(None);
    };
    let sets = caches.replica_sets.in_namespace(&key.namespace);
    let pods = caches.pods.in_namespace(&key.namespace);
    let sets: Vec<&ReplicaSet> = sets.iter().map(|set| &**set).collect();
    let pods: Vec<&Pod> = pods.iter().map(|pod| &**pod).collect();
    let Plan {
        adopt,
        release,
        steps,
        revision,
        status,
        again,
    } = plan(&deployment, &sets, &pods, Timestamp::now())?;

    let makes = !adopt.is_empty() || steps.iter().any(|step| matches!(step, Step::Create(_)));
    if makes && !context.stands(&caches.deployments, &*deployment).await? {
        return Ok(None);
    }
    for set in &adopt {
        let mut owners = set.metadata.owner_references.clone().unwrap_or_default();
        owners.push(controller_ref(&*deployment));
        context
            .patch(
                &caches.replica_sets,
                set,
                json!({ "metadata": { "ownerReferences": owners } }),
            )
            .await?;
    }
    for set in &release {
        let mut owners = set.metadata.owner_references.clone().unwrap_or_default();
        owners.retain(|owner| Some(&owner.uid) != deployment.meta().uid.as_ref());
        context
            .patch(
                &caches.replica_sets,
                set,
                json!({ "metadata": { "ownerReferences": owners } }),
            )
            .await?;
    }
    for step in steps {
        take(context, &deployment, &sets, step).await?;
    }
    // The annotation first: it makes a new version, and the status is written on top of that.
    let mut deployment = (*deployment).clone();
    if let Some(revision) = revision.map(|revision| revision.to_string())
        && deployment.annotations().get(annotations::REVISION) != Some(&revision)
    {
        let patch = json!({ "metadata": { "annotations": { annotations::REVISION: revision } } });
        deployment = context.patch(&caches.deployments, &deployment, patch).await?;
    }
    if !same_status(deployment.status.as_ref(), &status) {
        deployment.status = Some(status);
        context.write_status(&caches.deployments, &deployment).await?;
    }
    Ok(again)
}

async fn take(
    context: &Context,
    deployment: &Deployment,
    sets: &[&ReplicaSet],
    step: Step,
) -> Result<(), ReconcileError> {
    let cache = &context.caches.replica_sets;
    let find = |name: &str| cache.get(&Key::new(deployment.namespace().unwrap_or_default(), name));
    match step {
        Step::Create(set) => match context.create(cache, &*set).await {
            Ok(created) => {
                let text = format!(
                    "Scaled up replica set {} from 0 to {}",
                    created.name_any(),
                    size(&created)
                );
                context
                    .events
                    .publish(NAME, deployment, Note::normal("ScalingReplicaSet", text));
            }
            Err(ReconcileError::Api(kube::Error::Api(status))) if status.is_already_exists() => {
                collided(context, deployment, &set).await?;
            }
            Err(error) => {
                let text = format!("Failed to create new replica set \"{}\": {error}", set.name_any());
                context
                    .events
                    .publish(NAME, deployment, Note::warning("ReplicaSetCreateError", text));
                return Err(error);
            }
        },
        Step::Update {
            name,
            replicas,
            annotations,
            min_ready,
        } => {
            // The newest known version: an earlier step of this plan may have changed the set already.
            let Some(set) = find(&name) else { return Ok(()) };
            let mut patch = json!({ "metadata": { "annotations": annotations } });
            if let Some(replicas) = replicas {
                patch["spec"]["replicas"] = replicas.into();
            }
            if let Some(min_ready) = min_ready {
                patch["spec"]["minReadySeconds"] = min_ready.into();
            }
            let before = size(&set);
            let decided_on = sets
                .iter()
                .find(|set| set.name_any() == name)
                .map_or(before, |set| size(set));
            if replicas.is_some() && before != decided_on {
                return Err(ReconcileError::Invalid(format!(
                    "replica set {name} changed its size meanwhile"
                )));
            }
            context.patch(cache, &*set, patch).await?;
            if let Some(after) = replicas.filter(|after| *after != before) {
                let direction = if after > before { "up" } else { "down" };
                let text = format!("Scaled {direction} replica set {name} from {before} to {after}");
                context
                    .events
                    .publish(NAME, deployment, Note::normal("ScalingReplicaSet", text));
            }
        }
        Step::Delete(name) => {
            if let Some(set) = find(&name) {
                context.delete(cache, &*set, None).await?;
            }
        }
    }
    Ok(())
}

/// The name is taken. If by our own set of the same template, the cache will show it soon; otherwise two templates
/// have the same hash, and the collision count salts the next one.
async fn collided(context: &Context, deployment: &Deployment, set: &ReplicaSet) -> Result<(), ReconcileError> {
    let api = context.api::<ReplicaSet>(&deployment.namespace().unwrap_or_default());
    let existing = crate::context::within(api.get(&set.name_any())).await?;
    let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
    let template = |set: &ReplicaSet| {
        set.spec
            .as_ref()
            .and_then(|spec| spec.template.clone())
            .unwrap_or_default()
    };
    if is_controlled_by(&existing, uid) && same_template(&template(&existing), &template(set), HASH_LABEL) {
        context.caches.replica_sets.wrote(&existing);
        return Ok(());
    }
    let mut deployment = deployment.clone();
    let status = deployment.status.get_or_insert_default();
    status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
    context.write_status(&context.caches.deployments, &deployment).await?;
    Err(ReconcileError::Invalid(format!(
        "replica set name {} is taken",
        set.name_any()
    )))
}
