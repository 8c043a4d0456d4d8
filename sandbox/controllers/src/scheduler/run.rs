//! The shell: pending pods, most urgent first, one at a time; bind, or say why not.

use super::snapshot::Snapshot;
use super::{Why, schedule};
use crate::context::{Context, within};
use crate::engine::cache::Key;
use crate::engine::events::Note;
use crate::engine::{ReconcileError, ignore_not_found};
use crate::model::meta::is_deleting;
use crate::model::pod::{is_finished, node_name, set_condition};
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod, PodCondition};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::PostParams;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const NAME: &str = "default-scheduler";
/// A burst of events becomes one round.
const REST: Duration = Duration::from_millis(2);
/// First pause of a pod that no node will have; doubles.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// How long a binding counts before the pod shows its node.
const ASSUMED: Duration = Duration::from_secs(30);

/// What wakes the scheduler.
#[derive(Default)]
pub(crate) struct Wake {
    /// Something to look at.
    pods: Notify,
    /// The cluster changed in a way that may make room: pauses are over.
    room: std::sync::atomic::AtomicBool,
}

/// Registers for events; call before the caches start.
pub(crate) fn register(context: &Context) -> Arc<Wake> {
    let wake = Arc::new(Wake::default());
    let pods = Arc::clone(&wake);
    context.caches.pods.on_change(move |old, new| {
        let holds = |pod: Option<&Pod>| pod.is_some_and(|pod| !node_name(pod).is_empty() && !is_finished(pod));
        let waits = new.is_some_and(|pod| node_name(pod).is_empty());
        if holds(old) != holds(new) {
            pods.make_room();
        } else if waits {
            pods.pods.notify_one();
        }
    });
    let nodes = Arc::clone(&wake);
    context.caches.nodes.on_change(move |old, new| {
        // Heartbeats and conditions do not matter to the filters.
        if old.map(relevant) != new.map(relevant) {
            nodes.make_room();
        }
    });
    wake
}

impl Wake {
    fn make_room(&self) {
        self.room.store(true, std::sync::atomic::Ordering::Release);
        self.pods.notify_one();
    }
}

fn relevant(node: &Node) -> impl PartialEq + use<> {
    let status = node.status.clone().unwrap_or_default();
    (
        node.metadata.labels.clone(),
        node.spec.clone(),
        status.allocatable,
        status.capacity,
    )
}

/// A pod that could not be placed.
struct Waiting {
    until: Instant,
    tries: u32,
    why: Option<Why>,
}

struct Scheduler {
    context: Context,
    waiting: HashMap<String, Waiting>,
    /// Pods bound by us that the cache does not show as bound yet: uid → (node, when).
    assumed: HashMap<String, (String, Instant)>,
}

/// Works until cancelled.
pub(crate) async fn run(context: Context, wake: Arc<Wake>, cancel: CancellationToken) {
    let mut scheduler = Scheduler {
        context,
        waiting: HashMap::new(),
        assumed: HashMap::new(),
    };
    loop {
        let next = scheduler.round(&wake, &cancel).await;
        tokio::select! {
            () = cancel.cancelled() => return,
            () = wake.pods.notified() => tokio::time::sleep(REST).await,
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

impl Scheduler {
    /// Tries every pod that is due; returns when the next one is.
    async fn round(&mut self, wake: &Wake, cancel: &CancellationToken) -> Instant {
        let caches = Arc::clone(&self.context.caches);
        let now = Instant::now();
        if wake.room.swap(false, std::sync::atomic::Ordering::AcqRel) {
            for waiting in self.waiting.values_mut() {
                waiting.until = now;
            }
        }
        let pods = caches.pods.all();
        let mut pending: Vec<&Arc<Pod>> = pods.iter().filter(|pod| is_pending(pod)).collect();
        let uid = |pod: &Pod| pod.metadata.uid.clone().unwrap_or_default();
        self.assumed.retain(|held, (_, at)| {
            now.duration_since(*at) < ASSUMED && pending.iter().any(|pod| pod.metadata.uid.as_ref() == Some(held))
        });
        self.waiting
            .retain(|held, _| pending.iter().any(|pod| pod.metadata.uid.as_ref() == Some(held)));
        pending.retain(|pod| {
            let held = uid(pod);
            !self.assumed.contains_key(&held) && self.waiting.get(&held).is_none_or(|waiting| waiting.until <= now)
        });
        pending.sort_by_key(|pod| {
            let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
            (-priority, crate::model::pod::created(pod), pod.name_any())
        });
        if !pending.is_empty() {
            let placed = self
                .assumed
                .iter()
                .map(|(uid, (node, _))| (uid.clone(), node.clone()))
                .collect();
            let mut snapshot = Snapshot::new(&caches.nodes.all(), &pods, &placed);
            for pod in pending {
                if cancel.is_cancelled() {
                    break;
                }
                self.place(pod, &mut snapshot).await;
            }
        }
        let idle = Instant::now() + self.context.config.unschedulable_retry;
        self.waiting
            .values()
            .map(|waiting| waiting.until)
            .min()
            .unwrap_or(idle)
            .min(idle)
    }

    async fn place(&mut self, pod: &Arc<Pod>, snapshot: &mut Snapshot) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let why = match schedule(pod, snapshot) {
            Ok(node) => match self.bind(pod, &node).await {
                Ok(()) => {
                    if let Some(info) = snapshot.nodes.iter_mut().find(|info| info.name == node) {
                        info.place(Arc::clone(pod));
                    }
                    self.waiting.remove(&uid);
                    self.assumed.insert(uid, (node, Instant::now()));
                    return;
                }
                Err(error) => {
                    tracing::warn!(pod = %Key::of(&**pod), %node, %error, "not bound");
                    None
                }
            },
            Err(why) => Some(why),
        };
        let most = self.context.config.unschedulable_retry;
        let waiting = self.waiting.entry(uid).or_insert(Waiting {
            until: Instant::now(),
            tries: 0,
            why: None,
        });
        let pause = BACKOFF_FIRST
            .saturating_mul(2u32.saturating_pow(waiting.tries.min(16)))
            .min(most);
        waiting.until = Instant::now() + pause.mul_f64(0.75 + 0.25 * fastrand::f64());
        waiting.tries = waiting.tries.saturating_add(1);
        // Told once per reason: pods may wait for hours.
        if why.is_some() && waiting.why != why {
            let message = why.as_ref().map(Why::to_string).unwrap_or_default();
            waiting.why = why;
            if let Err(error) = self.refuse(pod, message).await {
                tracing::debug!(pod = %Key::of(&**pod), %error, "condition not written");
            }
        }
    }

    async fn bind(&self, pod: &Pod, node: &str) -> Result<(), ReconcileError> {
        let mut binding = Binding {
            target: ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Node".into()),
                name: Some(node.into()),
                ..ObjectReference::default()
            },
            ..Binding::default()
        };
        binding.metadata.name = Some(pod.name_any());
        binding.metadata.namespace = pod.namespace();
        binding.metadata.uid = pod.uid();
        let api = self.context.api::<Pod>(&pod.namespace().unwrap_or_default());
        let params = PostParams::default();
        let name = pod.name_any();
        let request = api.create_subresource::<_, serde_json::Value>("binding", &name, &params, &binding);
        within(request).await?;
        let text = format!("Successfully assigned {} to {node}", Key::of(pod));
        self.context.events.publish(NAME, pod, Note::normal("Scheduled", text));
        Ok(())
    }

    async fn refuse(&self, pod: &Arc<Pod>, message: String) -> Result<(), ReconcileError> {
        self.context
            .events
            .publish(NAME, &**pod, Note::warning("FailedScheduling", message.clone()));
        let mut pod = (**pod).clone();
        let condition = PodCondition {
            type_: "PodScheduled".into(),
            status: "False".into(),
            reason: Some("Unschedulable".into()),
            message: Some(message),
            ..PodCondition::default()
        };
        if set_condition(&mut pod, condition, Timestamp::now()) {
            let written = self.context.write_status(&self.context.caches.pods, &pod).await;
            if let Err(ReconcileError::Api(error)) = written {
                ignore_not_found::<()>(Err(error))?;
            }
        }
        Ok(())
    }
}

/// Ours to place: no node yet, not finished, no gates, and our scheduler's name or none.
fn is_pending(pod: &Pod) -> bool {
    let Some(spec) = pod.spec.as_ref() else { return false };
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    let ours = spec
        .scheduler_name
        .as_deref()
        .is_none_or(|name| name.is_empty() || name == NAME);
    node_name(pod).is_empty() && !is_finished(pod) && !is_deleting(pod) && !gated && ours
}
