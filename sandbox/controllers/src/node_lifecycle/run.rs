//! The shell: listens for heartbeats and carries plans out.

use super::conditions;
use super::plan::{Limits, Plan, plan};
use crate::context::{Context, within};
use crate::engine::cache::Key;
use crate::engine::events::Note;
use crate::engine::queue::Queue;
use crate::engine::{ReconcileError, ignore_not_found};
use crate::model::pod::{node_name, set_condition};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NAME: &str = "node-controller";
const TAINTS: &str = "taint-eviction-controller";
const LEASES: &str = "kube-node-lease";

/// What a node last said, and when we noticed. Our own clock decides: the node's may be wrong.
#[derive(Clone, Copy, PartialEq)]
struct Heartbeat {
    lease: Option<Timestamp>,
    status: Option<Timestamp>,
}

#[derive(Default)]
struct Memory {
    heard: HashMap<String, (Heartbeat, Timestamp)>,
    /// Nodes that pods name but that do not exist, since when.
    missing: HashMap<String, Timestamp>,
}

/// Registers for events; call before the caches start.
pub(crate) fn register(context: &Context) -> Queue<Key> {
    let queue: Queue<Key> = Queue::new(context.config.debounce);
    let own = queue.clone();
    context.caches.nodes.on_change(move |old, new| {
        if let Some(node) = new.or(old) {
            own.add(Key::of(node));
        }
    });
    let leases = queue.clone();
    context.caches.leases.on_change(move |old: Option<&Lease>, new| {
        if let Some(lease) = new.or(old) {
            leases.add(Key::new("", lease.name_any()));
        }
    });
    let pods = queue.clone();
    context.caches.pods.on_change(move |old, new| {
        let node = |pod: Option<&Pod>| pod.map(node_name).filter(|node| !node.is_empty()).map(str::to_owned);
        if let Some(node) = node(new).filter(|_| node(old) != node(new)) {
            pods.add(Key::new("", node));
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
    let caches = &context.caches;
    let now = Timestamp::now();
    let pods = caches.pods.all();
    let pods: Vec<&Pod> = pods
        .iter()
        .map(|pod| &**pod)
        .filter(|pod| node_name(pod) == key.name)
        .collect();
    let Some(node) = caches.nodes.get(&key) else {
        return collect(context, memory, &key, &pods, now).await;
    };
    let heard = hear(context, memory, &node, now);
    let limits = Limits {
        grace: signed(context.config.node_grace_period),
        toleration: signed(context.config.default_toleration),
    };
    let Plan {
        status,
        taints,
        unready,
        evict,
        again,
    } = plan(&node, &pods, heard, limits, now);
    write_node(context, &node, status, taints).await?;
    for pod in &unready {
        mark_not_ready(context, pod, now).await?;
    }
    for pod in &evict {
        let text = format!("Marking for deletion Pod {}", Key::of(pod));
        context
            .events
            .publish(TAINTS, pod, Note::normal("TaintManagerEviction", text));
        context.delete(&caches.pods, pod, None).await?;
    }
    // The monitor period only bounds how late a silence may be noticed when the wake-up is early.
    Ok(again
        .map(|again| again.max(Duration::from_millis(1)))
        .or(Some(context.config.node_monitor_period)))
}

/// When this node last said something new.
fn hear(context: &Context, memory: &Mutex<Memory>, node: &Node, now: Timestamp) -> Timestamp {
    let name = node.name_any();
    let lease = context.caches.leases.get(&Key::new(LEASES, &name));
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let heartbeat = Heartbeat {
        lease: lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref().map(|MicroTime(at)| *at)),
        status: conditions
            .iter()
            .filter_map(|c| c.last_heartbeat_time.as_ref().map(|Time(at)| *at))
            .max(),
    };
    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    memory.missing.remove(&name);
    match memory.heard.get(&name) {
        Some((known, at)) if *known == heartbeat => *at,
        _ => {
            memory.heard.insert(name, (heartbeat, now));
            now
        }
    }
}

async fn write_node(
    context: &Context,
    node: &Node,
    status: Option<k8s_openapi::api::core::v1::NodeStatus>,
    taints: Option<Vec<k8s_openapi::api::core::v1::Taint>>,
) -> Result<(), ReconcileError> {
    let api: Api<Node> = Api::all(context.client.clone());
    let manager = Some(context.config.field_manager.clone());
    let mut version = node.resource_version();
    if let Some(status) = status {
        if conditions::status(node, "Ready") == Some("True") {
            let text = format!("Node {} status is now: NodeNotReady", node.name_any());
            context.events.publish(NAME, node, Note::normal("NodeNotReady", text));
        }
        let mut node = node.clone();
        node.status = Some(status);
        let params = PostParams {
            field_manager: manager.clone(),
            ..PostParams::default()
        };
        let written = within(api.replace_status(&node.name_any(), &params, &node)).await?;
        version = written.resource_version();
        context.caches.nodes.wrote(&written);
    }
    if let Some(taints) = taints {
        let patch = json!({ "metadata": { "resourceVersion": version }, "spec": { "taints": taints } });
        let params = PatchParams {
            field_manager: manager,
            ..PatchParams::default()
        };
        let written = within(api.patch(&node.name_any(), &params, &Patch::Merge(patch))).await?;
        context.caches.nodes.wrote(&written);
    }
    Ok(())
}

async fn mark_not_ready(context: &Context, pod: &Pod, now: Timestamp) -> Result<(), ReconcileError> {
    let mut pod = pod.clone();
    let condition = PodCondition {
        type_: "Ready".into(),
        status: "False".into(),
        reason: Some("NodeNotReady".into()),
        message: Some("the node stopped reporting".into()),
        ..PodCondition::default()
    };
    if set_condition(&mut pod, condition, now) {
        context
            .events
            .publish(NAME, &pod, Note::warning("NodeNotReady", "Node is not ready"));
        if let Err(ReconcileError::Api(error)) = context.write_status(&context.caches.pods, &pod).await {
            ignore_not_found::<()>(Err(error))?;
        }
    }
    Ok(())
}

/// Removes pods of a node that does not exist, after a while: nobody else will ever finish their deletion.
async fn collect(
    context: &Context,
    memory: &Mutex<Memory>,
    key: &Key,
    pods: &[&Pod],
    now: Timestamp,
) -> Result<Option<Duration>, ReconcileError> {
    let since = {
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.heard.remove(&key.name);
        if pods.is_empty() {
            memory.missing.remove(&key.name);
            return Ok(None);
        }
        *memory.missing.entry(key.name.clone()).or_insert(now)
    };
    let left = signed(context.config.orphan_pod_grace) - now.duration_since(since);
    if left > SignedDuration::ZERO {
        return Ok(left.try_into().ok());
    }
    for pod in pods {
        tracing::info!(pod = %Key::of(*pod), node = %key, "its node is gone");
        context.delete(&context.caches.pods, *pod, Some(0)).await?;
    }
    Ok(None)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
