//! The shell around one evaluation.

use super::{metrics, target};
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
    let observation = observe(context, memory, &key, &hpa).await;
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
        // A cache that is behind may show an autoscaler that is gone while its target has been made anew: scaled then, it
        // would keep a size that nobody asked of it. Upstream does not look.
        let written = match context.stands(&context.caches.autoscalers, &*hpa).await {
            // What was remembered of it goes with it.
            Ok(false) => return Ok(None),
            Ok(true) => target::write(&context.client, &hpa, rescale.replicas, &context.config.field_manager).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => decision.scale_written(&hpa, &mut history, settings, now),
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

async fn observe(context: &Context, memory: &Mutex<Memory>, key: &Key, hpa: &HorizontalPodAutoscaler) -> Observation {
    let nothing = |scale| Observation {
        scale,
        pods: Vec::new(),
        samples: Samples::default(),
    };
    let scale = match target::read(&context.client, hpa).await {
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
