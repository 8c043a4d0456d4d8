//! One pod from the moment it is bound to this node until nothing of it is left.

use super::context::{NotYet, PodContext, is_sidecar};
use super::events::EventKind;
use super::fields::NodeFacts;
use super::shared::Agent;
use super::state::RunState;
use super::supervise::{Role, supervise};
use crate::key::PodKey;
use crate::network::PodLimits;
use crate::quantity;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Attempts to tell the API server that a pod is gone.
const ATTEMPTS: u32 = 8;
/// A status that could not be sent is sent again after this.
const REPORT_AGAIN: Duration = Duration::from_secs(1);
/// How long the last report may take.
const LAST_REPORT: Duration = Duration::from_secs(5);

/// What is wanted of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It should run, unless its object says otherwise.
    Wanted,
    /// Its object is gone.
    Gone,
    /// The runtime ends: stop within this time and leave the object alone.
    Shutdown(Duration),
}

/// A pod's worker, as the dispatcher holds it.
pub(crate) struct Worker {
    pub(crate) uid: String,
    pub(crate) pod: watch::Sender<Arc<Pod>>,
    pub(crate) fate: watch::Sender<Fate>,
    pub(crate) task: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker. `before` is the worker of a pod of the same name, which must be done first.
    pub(crate) fn start(
        agent: Arc<Agent>,
        key: PodKey,
        pod: Arc<Pod>,
        node: NodeFacts,
        before: Option<JoinHandle<()>>,
    ) -> Self {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let (pod, updates) = watch::channel(pod);
        let (fate, fates) = watch::channel(Fate::Wanted);
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                // Its failure would not keep this pod from running.
                let _ = before.await;
            }
            work(agent, key, node, updates, fates).await;
        });
        Self { uid, pod, fate, task }
    }
}

/// A pod's bandwidth annotations in bytes per second.
fn limits(pod: &Pod) -> Result<PodLimits, quantity::QuantityError> {
    let rate = |name: &str| {
        let text = pod.metadata.annotations.as_ref().and_then(|all| all.get(name));
        text.map(|text| quantity::parse(text).map(|bits| (bits / 8.0) as u64))
            .transpose()
    };
    Ok(PodLimits {
        egress: rate("kubernetes.io/egress-bandwidth")?,
        ingress: rate("kubernetes.io/ingress-bandwidth")?,
    })
}

async fn work(
    agent: Arc<Agent>,
    key: PodKey,
    mut node: NodeFacts,
    updates: watch::Receiver<Arc<Pod>>,
    mut fates: watch::Receiver<Fate>,
) {
    let pod = Arc::clone(&updates.borrow());
    let finished = pod
        .status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .is_some_and(|p| matches!(p, "Succeeded" | "Failed"));
    if *fates.borrow() == Fate::Gone {
        return;
    }
    if finished {
        // Ended in an earlier life of this agent: there is nothing to run, only its deletion to confirm.
        let mut updates = updates;
        let deleted = updates.wait_for(|pod| pod.metadata.deletion_timestamp.is_some());
        tokio::select! {
            _ = deleted => {}
            _ = fates.wait_for(|fate| *fate != Fate::Wanted) => return,
        }
        confirm_deletion(&agent, &key, pod.metadata.uid.clone()).await;
        return;
    }
    let bandwidth = limits(&pod);
    node.pod_ip = match agent.network.add_pod(&key, bandwidth.clone().unwrap_or_default()) {
        Ok(ip) => ip,
        Err(error) => {
            tracing::error!(pod = %key, %error, "no address for a pod; it cannot run");
            return;
        }
    };
    let ctx = Arc::new(PodContext::new(agent, key, node, updates.clone()));
    if let Err(error) = bandwidth {
        ctx.event(
            EventKind::Warning,
            "InvalidBandwidth",
            format!("{error}; the annotation is ignored"),
        );
    }
    if let Err(error) = std::fs::create_dir_all(&ctx.directory) {
        ctx.event(
            EventKind::Warning,
            "FailedCreatePodSandBox",
            format!("{}: {error}", ctx.directory.display()),
        );
    }
    let reporter = tokio::spawn(report(Arc::clone(&ctx)));
    ctx.dirty.notify_one();
    live(&ctx, updates, &mut fates).await;
    reporter.abort();
    let deleted = ctx.current().metadata.deletion_timestamp.is_some();
    if deleted && *fates.borrow() == Fate::Wanted {
        if let Ok(Err(error)) = timeout(LAST_REPORT, ctx.report()).await {
            tracing::debug!(pod = %ctx.key, %error, "last status not sent");
        }
        confirm_deletion(&ctx.agent, &ctx.key, Some(ctx.uid.clone())).await;
    }
    clean_up(&ctx);
}

/// Runs the pod's containers until the pod is to go and all have ended.
async fn live(ctx: &Arc<PodContext>, mut updates: watch::Receiver<Arc<Pod>>, fates: &mut watch::Receiver<Fate>) {
    let mut agent_changed = ctx.agent.changed.subscribe();
    let mut containers = tokio::spawn(containers(Arc::clone(ctx)));
    let mut ended = false;
    // Whoever held the other end is gone without a word: the runtime was dropped.
    let mut abandoned = false;
    let mut refused: Option<NotYet> = None;
    loop {
        let deletion = updates.borrow_and_update().metadata.deletion_timestamp.is_some();
        let fate = *fates.borrow_and_update();
        match fate {
            _ if abandoned => ctx.request_stop(Duration::ZERO, false),
            Fate::Gone => {
                ctx.silent.store(true, Ordering::Relaxed);
                ctx.request_stop(Duration::ZERO, false);
            }
            Fate::Shutdown(grace) => ctx.request_stop(grace.min(ctx.grace()), true),
            Fate::Wanted if deletion => ctx.request_stop(ctx.grace(), true),
            Fate::Wanted => {}
        }
        // A pod that has run to completion stays until its object goes.
        if ended && (deletion || abandoned || fate != Fate::Wanted) {
            return;
        }
        tokio::select! {
            outcome = &mut containers, if !ended => {
                if let Err(error) = outcome {
                    tracing::error!(pod = %ctx.key, %error, "a pod's task failed");
                }
                ended = true;
            }
            changed = updates.changed(), if !abandoned => {
                abandoned = changed.is_err();
                refresh(ctx, &mut refused);
                ctx.dirty.notify_one();
            }
            changed = fates.changed(), if !abandoned => abandoned = changed.is_err(),
            _ = agent_changed.changed() => refresh(ctx, &mut refused),
        }
    }
}

/// Brings volumes and limits up to date with the API.
fn refresh(ctx: &PodContext, refused: &mut Option<NotYet>) {
    if let Ok(limits) = limits(&ctx.current()) {
        ctx.agent.network.set_limits(&ctx.key, limits);
    }
    if ctx.stopping()
        || ctx.read(|state| {
            state
                .containers
                .iter()
                .all(|c| c.last.is_none() && matches!(c.state, RunState::Waiting { .. }))
        })
    {
        // Before the first start the set-up loop does this; at the end nobody reads it any more.
        return;
    }
    match ctx.set_up() {
        Ok(()) => *refused = None,
        Err(why) => {
            if refused.as_ref() != Some(&why) {
                ctx.event(
                    EventKind::Warning,
                    "FailedMount",
                    format!("update not applied: {}", why.message),
                );
            }
            *refused = Some(why);
        }
    }
}

/// Sets up the pod and runs its containers, init containers first.
async fn containers(ctx: Arc<PodContext>) {
    if !set_up(&ctx).await {
        return;
    }
    let spec = ctx.current().spec.clone().unwrap_or_default();
    let mut tasks: JoinSet<bool> = JoinSet::new();
    let spawn = |tasks: &mut JoinSet<bool>, name: String, role| {
        let ctx = Arc::clone(&ctx);
        tasks.spawn(async move { supervise(&ctx, &name, role).await });
    };
    for container in spec.init_containers.iter().flatten() {
        if is_sidecar(container) {
            spawn(&mut tasks, container.name.clone(), Role::Sidecar);
            let started = async {
                while !ctx.read(|state| state.container(&container.name).is_some_and(|record| record.started)) {
                    sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::select! {
                () = started => {}
                () = ctx.stopped() => break,
            }
        } else if !supervise(&ctx, &container.name, Role::Init).await {
            break;
        }
    }
    if ctx.read(super::state::PodState::initialized) && !ctx.stopping() {
        let mut main = JoinSet::new();
        for container in &spec.containers {
            spawn(&mut main, container.name.clone(), Role::Main);
        }
        while main.join_next().await.is_some() {}
    }
    // Sidecars end with the pod.
    if !tasks.is_empty() && !ctx.stopping() {
        ctx.request_stop(ctx.grace(), true);
    }
    while tasks.join_next().await.is_some() {}
}

/// Waits until volumes and links can be made. Whether they could.
async fn set_up(ctx: &PodContext) -> bool {
    let mut told: Option<NotYet> = None;
    let mut agent_changed = ctx.agent.changed.subscribe();
    loop {
        if ctx.stopping() {
            return false;
        }
        agent_changed.mark_unchanged();
        let why = match ctx.set_up() {
            Ok(()) => break,
            Err(why) => why,
        };
        if told.as_ref() != Some(&why) {
            let reason = if why.reason == "ServiceNotFound" {
                "ServiceNotFound"
            } else {
                "FailedMount"
            };
            ctx.event(EventKind::Warning, reason, why.message.clone());
            wait_all(ctx, why.reason, Some(&why.message));
            told = Some(why);
        }
        tokio::select! {
            () = ctx.stopped() => return false,
            _ = agent_changed.changed() => {}
            () = sleep(Duration::from_secs(10)) => {}
        }
    }
    let initializing = ctx.read(|state| !state.init.is_empty());
    wait_all(
        ctx,
        if initializing {
            "PodInitializing"
        } else {
            "ContainerCreating"
        },
        None,
    );
    true
}

fn wait_all(ctx: &PodContext, reason: &str, message: Option<&str>) {
    ctx.update(|state| {
        for record in state.init.iter_mut().chain(&mut state.containers) {
            record.state = RunState::waiting(reason, message.map(str::to_owned));
        }
    });
}

/// Sends the status whenever it changes.
async fn report(ctx: Arc<PodContext>) {
    loop {
        ctx.dirty.notified().await;
        while let Err(error) = ctx.report().await {
            tracing::warn!(pod = %ctx.key, %error, "status not sent; trying again");
            sleep(REPORT_AGAIN).await;
        }
    }
}

/// Removes the object for good, now that nothing of the pod runs.
async fn confirm_deletion(agent: &Agent, key: &PodKey, uid: Option<String>) {
    let api: Api<Pod> = Api::namespaced(agent.client.clone(), &key.namespace);
    let params = DeleteParams::default().grace_period(0).preconditions(Preconditions {
        uid,
        resource_version: None,
    });
    for attempt in 0..ATTEMPTS {
        match api.delete(&key.name, &params).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
            Err(error) => {
                tracing::warn!(pod = %key, %error, "deletion not confirmed");
                sleep(Duration::from_millis(200 * (1 << attempt) + rand::random_range(0..100))).await;
            }
        }
    }
}

fn clean_up(ctx: &PodContext) {
    ctx.agent.network.remove_pod(&ctx.key);
    ctx.agent.logs().retain(|key, _| key.pod != ctx.key);
    if let Err(error) = std::fs::remove_dir_all(&ctx.directory) {
        tracing::warn!(%error, directory = %ctx.directory.display(), "a pod's directory is left behind");
    }
}
