//! The shell around one evaluation.

use super::{
    metrics,
    target::{self, Scale},
};
use crate::context::{Context, key_of, within};
use crate::engine::ReconcileError;
use crate::engine::cache::Key;
use crate::engine::events::{Level, Note};
use crate::engine::queue::Queue;
use crate::model::same::same_status;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt, api::ListParams};
use showrunner_autoscaling::hpa::{History, Observation, PodView, Samples, ScaleView, Selector, evaluate};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NAME: &str = "horizontal-pod-autoscaler";
/// How often a size is written to a target that others write, too, and the pause before each time but the first, to which a
/// tenth is added at random. Both as upstream's.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(10);

/// What is remembered between evaluations.
#[derive(Default)]
struct Memory {
    histories: HashMap<Key, History>,
    /// The selectors of the targets, to notice two autoscalers over the same pods.
    selectors: HashMap<Key, String>,
}

/// Registers for events; call before the caches start.
pub(crate) fn register(context: &Context) -> Queue<Key> {
    let queue: Queue<Key> = Queue::new(context.config.debounce);
    let own = queue.clone();
    context.caches.autoscalers.on_change(move |old, new| {
        let spec = |hpa: Option<&HorizontalPodAutoscaler>| hpa.map(|hpa| (hpa.uid(), hpa.spec.clone()));
        // Our own status writes are not news.
        if let Some(key) = key_of(old, new).filter(|_| spec(old) != spec(new)) {
            own.add(key);
        }
    });
    queue
}

/// Works until cancelled.
pub(crate) async fn run(context: Context, queue: Queue<Key>, cancel: CancellationToken) {
    let memory = Mutex::new(Memory::default());
    queue
        .work(NAME, context.config.workers, &cancel, |key| {
            reconcile(&context, &memory, key)
        })
        .await;
}

async fn reconcile(context: &Context, memory: &Mutex<Memory>, key: Key) -> Result<Option<Duration>, ReconcileError> {
    let cache = &context.caches.autoscalers;
    let Some(hpa) = cache.get(&key) else {
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.histories.remove(&key);
        memory.selectors.remove(&key);
        return Ok(None);
    };
    let scale = target::read(&context.client, &hpa).await;
    let observation = observe(context, memory, &key, scale.as_ref()).await;
    let settings = &context.config.hpa_settings;
    let now = Timestamp::now();
    // Taken out while we work: one key never runs twice at once.
    let mut history = memory
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .histories
        .remove(&key)
        .unwrap_or_default();
    let mut decision = evaluate(&hpa, &observation, &mut history, settings, now);
    if let Some(rescale) = decision.rescale.clone() {
        match rescale_target(context, &hpa, rescale.replicas, scale).await {
            // What was remembered of it goes with it.
            Ok(false) => return Ok(None),
            Ok(true) => decision.scale_written(&hpa, &mut history, settings, now),
            Err(error) => decision.scale_refused(&error.to_string()),
        }
    }
    memory
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .histories
        .insert(key.clone(), history);
    for event in &decision.events {
        let level = if event.warning { Level::Warning } else { Level::Normal };
        let note = Note {
            level,
            reason: event.reason,
            message: event.message.clone(),
        };
        context.events.publish(NAME, &*hpa, note);
    }
    if let Some(error) = &decision.error {
        tracing::debug!(hpa = %key, error, "evaluated with an error");
    }
    let status = decision.status(&hpa, now);
    if !same_status(hpa.status.as_ref(), &status) {
        let mut hpa = (*hpa).clone();
        hpa.status = Some(status);
        if let Err(error) = context.write_status(cache, &hpa).await {
            // The next period brings a fresh one; retrying at once would evaluate, and scale, once more.
            tracing::debug!(hpa = %key, %error, "status not written");
        }
    }
    Ok(Some(context.config.hpa_sync_period))
}

/// Writes a size that was worked out from `read`. Gives `false`, and writes nothing, if the autoscaler is gone.
///
/// A cache that is behind may show an autoscaler that is gone while its target has been made anew, or scaled by a user: scaled
/// then, it would keep a size that nobody asked of it. So the autoscaler is asked for after the target was read, and the target
/// is written only if nobody has since. Where somebody has, but not its size, as a rollout does, it is tried again. (Upstream
/// does not ask for the autoscaler, and tries again whatever was written.)
async fn rescale_target(
    context: &Context,
    hpa: &HorizontalPodAutoscaler,
    replicas: i32,
    read: Result<Scale, kube::Error>,
) -> Result<bool, kube::Error> {
    let mut read = read?;
    let mut left = ATTEMPTS;
    loop {
        if !context.stands(&context.caches.autoscalers, hpa).await? {
            return Ok(false);
        }
        let manager = &context.config.field_manager;
        let conflict = match target::write(&context.client, hpa, replicas, read.version.as_deref(), manager).await {
            Ok(()) => return Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 && left > 1 => kube::Error::Api(status),
            Err(error) => return Err(error),
        };
        left -= 1;
        tokio::time::sleep(PAUSE.mul_f64(1.0 + 0.1 * fastrand::f64())).await;
        let now = target::read(&context.client, hpa).await?;
        if now.spec_replicas != read.spec_replicas {
            return Err(conflict);
        }
        read = now;
    }
}

async fn observe(
    context: &Context,
    memory: &Mutex<Memory>,
    key: &Key,
    scale: Result<&Scale, &kube::Error>,
) -> Observation {
    let nothing = |scale| Observation {
        scale,
        pods: Vec::new(),
        samples: Samples::default(),
    };
    let scale = match scale {
        Ok(scale) => scale,
        Err(error) => return nothing(Err(error.to_string())),
    };
    let view = |selector| {
        Ok(ScaleView {
            spec_replicas: scale.spec_replicas,
            status_replicas: scale.status_replicas,
            selector,
        })
    };
    if scale.selector.is_empty() {
        return nothing(view(Selector::Missing));
    }
    if let Some(autoscalers) = rivals(context, memory, key, &scale.selector) {
        return nothing(view(Selector::Ambiguous {
            selector: scale.selector.clone(),
            autoscalers,
        }));
    }
    let api = context.api::<Pod>(&key.namespace);
    let pods = match within(api.list(&ListParams::default().labels(&scale.selector))).await {
        Ok(pods) => pods.items,
        Err(kube::Error::Api(status)) if status.code == 400 => {
            return nothing(view(Selector::Invalid(status.message.clone())));
        }
        Err(error) => return nothing(Err(error.to_string())),
    };
    let samples = Samples {
        resource: metrics::pods(&context.client, &key.namespace, &scale.selector).await,
        ..Samples::default()
    };
    Observation {
        scale: view(Selector::Valid),
        pods: pods.iter().map(PodView::from).collect(),
        samples,
    }
}

/// All autoscalers over the same pods, if there is more than this one. Compared by the selector's text; upstream also
/// finds overlapping selectors that are written differently.
fn rivals(context: &Context, memory: &Mutex<Memory>, key: &Key, selector: &str) -> Option<Vec<String>> {
    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    memory.selectors.insert(key.clone(), selector.to_owned());
    memory
        .selectors
        .retain(|known, _| context.caches.autoscalers.get(known).is_some());
    let same = memory
        .selectors
        .iter()
        .filter(|(other, text)| other.namespace == key.namespace && *text == selector);
    let mut names: Vec<String> = same.map(|(other, _)| other.to_string()).collect();
    names.sort();
    (names.len() > 1).then_some(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ghosts::{context, workload};
    use k8s_openapi::api::apps::v1::Deployment;
    use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
    use serde_json::{Value, json};

    /// Reads the target, lets somebody patch it and delete the autoscaler, and writes a size of 3. Gives what came of it and
    /// the target's size.
    async fn rescaled(patch: Option<Value>, gone: bool) -> (Result<bool, kube::Error>, Option<i32>) {
        let context = context();
        let deployments = context.api::<Deployment>("default");
        let web = serde_json::from_value(workload(&json!({ "replicas": 1 }))).unwrap();
        deployments.create(&PostParams::default(), &web).await.unwrap();
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
        let hpa = json!({ "metadata": { "name": "web" }, "spec": { "scaleTargetRef": target, "maxReplicas": 6 } });
        let autoscalers = context.api::<HorizontalPodAutoscaler>("default");
        let hpa = serde_json::from_value(hpa).unwrap();
        let hpa = autoscalers.create(&PostParams::default(), &hpa).await.unwrap();
        let read = target::read(&context.client, &hpa).await;
        if gone {
            autoscalers.delete("web", &DeleteParams::default()).await.unwrap();
        }
        if let Some(patch) = patch {
            let params = PatchParams::default();
            deployments.patch("web", &params, &Patch::Merge(patch)).await.unwrap();
        }
        let outcome = rescale_target(&context, &hpa, 3, read).await;
        let spec = deployments.get("web").await.unwrap().spec.unwrap();
        (outcome, spec.replicas)
    }

    #[tokio::test]
    async fn a_size_is_written_where_nobody_else_has() {
        let (outcome, size) = rescaled(None, false).await;
        assert_eq!((outcome.unwrap(), size), (true, Some(3)));
        let labelled = json!({ "metadata": { "labels": { "written": "since" } } });
        let (outcome, size) = rescaled(Some(labelled), false).await;
        assert_eq!(
            (outcome.unwrap(), size),
            (true, Some(3)),
            "another field is no hindrance"
        );
    }

    #[tokio::test]
    async fn a_size_that_somebody_wrote_since_stays() {
        let (outcome, size) = rescaled(Some(json!({ "spec": { "replicas": 5 } })), false).await;
        let refused = outcome.unwrap_err();
        assert!(
            matches!(&refused, kube::Error::Api(status) if status.code == 409),
            "{refused}"
        );
        assert_eq!(size, Some(5));
    }

    #[tokio::test]
    async fn an_autoscaler_that_is_gone_scales_nothing() {
        let (outcome, size) = rescaled(None, true).await;
        assert_eq!((outcome.unwrap(), size), (false, Some(1)));
    }
}
