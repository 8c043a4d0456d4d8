//! The shell: carries a plan out.

use super::legacy;
use super::plan::{Plan, SERVICE_LABEL, is_ours, plan, selected};
use crate::context::{Context, key_of};
use crate::engine::ReconcileError;
use crate::engine::cache::Key;
use crate::engine::queue::Queue;
use crate::model::meta::{controller_of, is_deleting};
use crate::model::same::same;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NAME: &str = "endpointslice-controller";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Registers for events; call before the caches start.
pub(crate) fn register(context: &Context) -> Queue<Key> {
    let queue: Queue<Key> = Queue::new(context.config.debounce);
    let own = queue.clone();
    context.caches.services.on_change(move |old, new| {
        if let Some(key) = key_of(old, new) {
            own.add(key);
        }
    });
    let pods = queue.clone();
    let caches = std::sync::Arc::downgrade(&context.caches);
    context.caches.pods.on_change(move |old, new| {
        let (Some(caches), Some(pod)) = (caches.upgrade(), new.or(old)) else {
            return;
        };
        let both: Vec<&Pod> = [old, new].into_iter().flatten().collect();
        for service in caches.services.in_namespace(&pod.namespace().unwrap_or_default()) {
            if selected(&service, &both).is_some_and(|selected| !selected.is_empty()) {
                pods.add(Key::of(&*service));
            }
        }
    });
    // Someone else's hands in our slices: put them right.
    let slices = queue.clone();
    context.caches.slices.on_change(move |old, new| {
        let Some(slice) = new.or(old) else { return };
        if let Some(service) = slice
            .labels()
            .get(SERVICE_LABEL)
            .filter(|service| is_ours(slice, service))
        {
            slices.add(Key::new(slice.namespace().unwrap_or_default(), service));
        }
    });
    // The same of the older object; what was written to it without an answer shows late, too.
    let legacy = queue.clone();
    context.caches.endpoints.on_change(move |old, new| {
        let Some(endpoints) = new.or(old) else { return };
        if let Some(service) = controller_of(endpoints).filter(|owner| owner.kind == "Service") {
            legacy.add(Key::new(endpoints.namespace().unwrap_or_default(), &service.name));
        }
    });
    let nodes = queue.clone();
    let caches = std::sync::Arc::downgrade(&context.caches);
    context.caches.nodes.on_change(move |old, new| {
        let zone = |node: Option<&Node>| node.and_then(|node| node.labels().get(ZONE).cloned());
        let (Some(caches), true) = (caches.upgrade(), zone(old) != zone(new)) else {
            return;
        };
        for service in caches.services.all() {
            nodes.add(Key::of(&*service));
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
    let slices = caches.slices.in_namespace(&key.namespace);
    let present: Vec<&EndpointSlice> = slices
        .iter()
        .map(|slice| &**slice)
        .filter(|slice| is_ours(slice, &key.name))
        .collect();
    let Some(service) = caches.services.get(&key).filter(|service| !is_deleting(&**service)) else {
        return clear(context, &key, &present).await;
    };
    let pods = caches.pods.in_namespace(&key.namespace);
    let Some(pods) = selected(&service, &pods.iter().map(|pod| &**pod).collect::<Vec<_>>()) else {
        // Without a selector the endpoints are somebody else's, except what we left behind.
        for slice in &present {
            context.delete(&caches.slices, *slice, None).await?;
        }
        return Ok(None);
    };
    let zone_of = |node: &str| caches.nodes.get(&Key::new("", node))?.labels().get(ZONE).cloned();
    let Plan {
        create,
        replace,
        delete,
    } = plan(&service, &pods, &present, &zone_of)?;
    let makes = !create.is_empty() || caches.endpoints.get(&key).is_none();
    if makes && !context.stands(&caches.services, &*service).await? {
        return Ok(None);
    }
    for slice in &create {
        context.create(&caches.slices, slice).await?;
    }
    for slice in &replace {
        context.replace(&caches.slices, slice).await?;
    }
    for slice in &delete {
        context.delete(&caches.slices, slice, None).await?;
    }
    write_legacy(context, &service, &pods).await?;
    Ok(None)
}

async fn write_legacy(context: &Context, service: &Service, pods: &[&Pod]) -> Result<(), ReconcileError> {
    let cache = &context.caches.endpoints;
    let mut wanted = legacy::endpoints(service, pods);
    match cache.get(&Key::of(service)) {
        None => context.create(cache, &wanted).await.map(drop),
        Some(known) if same(&known.subsets, &wanted.subsets) => Ok(()),
        Some(known) => {
            wanted.metadata.resource_version = known.resource_version();
            context.replace(cache, &wanted).await
        }
    }
}

/// The Service is gone. Garbage collection would see to it too; the addresses should go at once.
async fn clear(context: &Context, key: &Key, present: &[&EndpointSlice]) -> Result<Option<Duration>, ReconcileError> {
    for slice in present {
        context.delete(&context.caches.slices, *slice, None).await?;
    }
    let endpoints = context.caches.endpoints.get(key);
    if let Some(endpoints) = endpoints.filter(|endpoints| crate::model::meta::controller_of(&**endpoints).is_some()) {
        context.delete(&context.caches.endpoints, &*endpoints, None).await?;
    }
    Ok(None)
}
