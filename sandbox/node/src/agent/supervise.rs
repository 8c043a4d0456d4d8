//! Keeps one container as its restart policy wants it: start, probes, restart with back-off, stop.

use super::backoff::BackoffState;
use super::context::{NotYet, PodContext, Stop};
use super::events::EventKind;
use super::handler::{hook, probe};
use super::probe::{ProbeState, ProbeTiming, Verdict};
use super::run::{Run, prepare};
use super::state::{RunState, Termination};
use k8s_openapi::api::core::v1::{Container, Probe};
use std::process::ExitStatus;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

/// What waits for something outside is looked at again this often even if nothing seems to change.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// A process needs a moment to listen: a probe before that would only cost a whole period.
const FIRST_PROBE: Duration = Duration::from_millis(100);

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to completion before the next one.
    Init,
    /// An init container that keeps running.
    Sidecar,
    /// One of the pod's containers.
    Main,
}

/// Why a run is to be ended.
enum Cause {
    /// It ended by itself.
    Exited(Option<ExitStatus>),
    /// The pod is being ended.
    Stopped,
    /// A probe, a hook or a change of its spec ends it; it starts again if its policy says so.
    Replaced { message: String, grace: Duration },
}

/// Runs the container until it needs no further restart. Whether it ended well.
pub(crate) async fn supervise(ctx: &PodContext, name: &str, role: Role) -> bool {
    let mut backoff = BackoffState::default();
    let mut ordinal = 0;
    loop {
        let Some((container, request)) = ready_to_start(ctx, name).await else {
            return false;
        };
        let run = match Run::start(ctx, container, request, ordinal).await {
            Ok(run) => run,
            Err(error) => {
                ctx.event_at(Some(name), EventKind::Warning, "Failed", format!("Error: {error}"));
                ctx.update_container(name, |record| {
                    record.state = RunState::waiting("RunContainerError", Some(error.to_string()));
                });
                let wait = backoff
                    .after(Duration::ZERO, &ctx.agent.config.crash_backoff)
                    .max(Duration::from_secs(1));
                tokio::select! {
                    () = ctx.stopped() => return false,
                    () = sleep(wait) => continue,
                }
            }
        };
        announce(ctx, &run, ordinal);
        ordinal += 1;
        let began = run.began;
        let end = Box::pin(attend(ctx, run, role)).await;
        let succeeded = end.exit_code == 0;
        if ctx.stopping() || !restarts(ctx, role, succeeded) {
            ctx.update_container(name, |record| {
                record.state = RunState::Terminated(end);
                record.ready = role == Role::Init && succeeded;
                record.started = false;
            });
            return succeeded;
        }
        let wait = backoff.after(began.elapsed(), &ctx.agent.config.crash_backoff);
        if !back_off(ctx, name, end, wait).await {
            return false;
        }
    }
}

fn restarts(ctx: &PodContext, role: Role, succeeded: bool) -> bool {
    let pod = ctx.current();
    let policy = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref())
        .unwrap_or("Always");
    match role {
        Role::Sidecar => true,
        Role::Init => !succeeded && policy != "Never",
        Role::Main => policy == "Always" || (policy == "OnFailure" && !succeeded),
    }
}

/// Waits until everything the container needs is there. `None` when the pod is to end first.
async fn ready_to_start(ctx: &PodContext, name: &str) -> Option<(Container, super::spawn::SpawnRequest)> {
    let mut told: Option<NotYet> = None;
    let mut agent_changed = ctx.agent.changed.subscribe();
    let mut pod_changed = ctx.pod.clone();
    loop {
        if ctx.stopping() {
            return None;
        }
        agent_changed.mark_unchanged();
        pod_changed.mark_unchanged();
        let container = ctx.container(name)?;
        let why = match prepare(ctx, &container) {
            Ok(request) => return Some((container, request)),
            Err(why) => why,
        };
        if told.as_ref() != Some(&why) {
            ctx.event_at(
                Some(name),
                EventKind::Warning,
                "Failed",
                format!("Error: {}", why.message),
            );
            ctx.update_container(name, |record| {
                record.state = RunState::waiting(why.reason, Some(why.message.clone()));
            });
            told = Some(why);
        }
        tokio::select! {
            () = ctx.stopped() => return None,
            _ = agent_changed.changed() => {}
            _ = pod_changed.changed() => {}
            () = sleep(LOOK_AGAIN) => {}
        }
    }
}

fn announce(ctx: &PodContext, run: &Run, ordinal: i32) {
    let name = run.container.name.as_str();
    let image = run.container.image.as_deref().unwrap_or_default();
    let say = |reason, message: String| ctx.event_at(Some(name), EventKind::Normal, reason, message);
    say(
        "Pulled",
        format!("Container image \"{image}\" already present on machine"),
    );
    say("Created", format!("Created container: {name}"));
    say("Started", format!("Started container {name}"));
    ctx.update_container(name, |record| {
        image.clone_into(&mut record.image);
        record.state = RunState::Running {
            since: run.started_at,
            container_id: run.id.clone(),
        };
        record.restarts = ordinal;
        record.ready = false;
        record.started = false;
    });
}

/// Stays with a run to its end.
async fn attend(ctx: &PodContext, mut run: Run, role: Role) -> Termination {
    let container = run.container.clone();
    let shell = run.shell.clone();
    let name = container.name.as_str();
    let cause = tokio::select! {
        biased;
        status = run.ended() => Cause::Exited(status),
        () = ctx.stopped() => Cause::Stopped,
        cause = health(ctx, &shell, &container, role) => cause,
        image = image_changed(ctx.pod.clone(), &container) => Cause::Replaced {
            message: format!("Container {name} definition changed to image {image}, will be restarted"),
            grace: ctx.grace(),
        },
    };
    let status = match cause {
        Cause::Exited(status) => status,
        Cause::Stopped => {
            ctx.event_at(
                Some(name),
                EventKind::Normal,
                "Killing",
                format!("Stopping container {name}"),
            );
            let fallback = Stop {
                deadline: Instant::now(),
                hooks: false,
            };
            let ending = run.terminate(ctx, || ctx.stop.borrow().unwrap_or(fallback));
            // Readiness is still watched: a pod that drains says so.
            tokio::select! {
                status = ending => status,
                () = readiness(ctx, &shell, &container, role) => None,
            }
        }
        Cause::Replaced { message, grace } => {
            ctx.event_at(Some(name), EventKind::Normal, "Killing", message);
            ctx.update_container(name, |record| record.ready = false);
            let own = Stop {
                deadline: Instant::now() + grace,
                hooks: true,
            };
            // The pod's own end may come sooner.
            run.terminate(ctx, || match *ctx.stop.borrow() {
                Some(stop) if stop.deadline < own.deadline => stop,
                _ => own,
            })
            .await
        }
    };
    run.finish(ctx, status).await
}

async fn image_changed(
    mut pod: watch::Receiver<std::sync::Arc<k8s_openapi::api::core::v1::Pod>>,
    container: &Container,
) -> String {
    let image_now = |pod: &k8s_openapi::api::core::v1::Pod| {
        let spec = pod.spec.as_ref()?;
        let same = spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
            .find(|c| c.name == container.name)?;
        same.image
            .clone()
            .filter(|image| Some(image) != container.image.as_ref())
    };
    loop {
        if let Some(image) = image_now(&pod.borrow_and_update()) {
            return image;
        }
        if pod.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Hooks and probes of a running container. Returns only with a reason to end it.
async fn health(ctx: &PodContext, shell: &super::handler::Shell, container: &Container, role: Role) -> Cause {
    let name = container.name.as_str();
    let post_start = container
        .lifecycle
        .as_ref()
        .and_then(|lifecycle| lifecycle.post_start.as_ref());
    if let Some(handler) = post_start
        && let Err(error) = hook(ctx, shell, container, handler).await
    {
        ctx.event_at(
            Some(name),
            EventKind::Warning,
            "FailedPostStartHook",
            format!("PostStartHook failed: {error}"),
        );
        return Cause::Replaced {
            message: "FailedPostStartHook".to_owned(),
            grace: ctx.grace(),
        };
    }
    if role != Role::Init
        && let Some(startup) = &container.startup_probe
        && watch_probe(ctx, shell, container, startup, "Startup", Some(Verdict::Success)).await == Verdict::Failure
    {
        return failed(ctx, name, "startup", startup);
    }
    let probed = role != Role::Init && container.readiness_probe.is_some();
    ctx.update_container(name, |record| {
        record.started = true;
        record.ready = role != Role::Init && !probed;
    });
    let liveness = async {
        match container.liveness_probe.as_ref().filter(|_| role != Role::Init) {
            Some(probe) => {
                watch_probe(ctx, shell, container, probe, "Liveness", None).await;
                failed(ctx, name, "liveness", probe)
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        cause = liveness => cause,
        () = readiness(ctx, shell, container, role) => Cause::Stopped,
    }
}

fn failed(ctx: &PodContext, name: &str, kind: &str, probe: &Probe) -> Cause {
    let own = probe
        .termination_grace_period_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    Cause::Replaced {
        message: format!("Container {name} failed {kind} probe, will be restarted"),
        grace: own.map_or_else(|| ctx.grace(), Duration::from_secs),
    }
}

/// Keeps the container's readiness up to date. Never returns.
async fn readiness(ctx: &PodContext, shell: &super::handler::Shell, container: &Container, role: Role) {
    let Some(spec) = container.readiness_probe.as_ref().filter(|_| role != Role::Init) else {
        return std::future::pending().await;
    };
    watch_probe(ctx, shell, container, spec, "Readiness", None).await;
}

/// Probes on schedule. A startup or liveness probe returns at `Failure`, and at `until` if that is given; a readiness probe
/// sets the container's readiness and goes on for ever.
async fn watch_probe(
    ctx: &PodContext,
    shell: &super::handler::Shell,
    container: &Container,
    spec: &Probe,
    kind: &str,
    until: Option<Verdict>,
) -> Verdict {
    let timing = ProbeTiming::from(spec);
    let name = container.name.as_str();
    let mut state = ProbeState::default();
    let mut ticks = interval_at(Instant::now() + timing.initial_delay.max(FIRST_PROBE), timing.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let result = probe(ctx, shell, container, spec, timing.timeout).await;
        if let Err(error) = &result {
            let message = format!("{kind} probe failed: {error}");
            ctx.event_at(Some(name), EventKind::Warning, "Unhealthy", message);
        }
        let verdict = state.observe(result.is_ok(), &timing);
        if kind == "Readiness" {
            if verdict != Verdict::Unchanged {
                let ready = verdict == Verdict::Success;
                if ctx.read(|state| state.container(name).is_some_and(|record| record.ready != ready)) {
                    ctx.update_container(name, |record| record.ready = ready);
                }
            }
        } else if verdict == Verdict::Failure || Some(verdict) == until {
            return verdict;
        }
    }
}

/// Waits before a restart. Whether there is to be one.
async fn back_off(ctx: &PodContext, name: &str, end: Termination, wait: Duration) -> bool {
    let crashed = end.clone();
    ctx.update_container(name, |record| {
        record.ready = false;
        record.started = false;
        record.state = if wait.is_zero() {
            RunState::Terminated(end.clone())
        } else {
            let pod = format!("{}_{}({})", ctx.key.name, ctx.key.namespace, ctx.uid);
            let message = format!(
                "back-off {}s restarting failed container={name} pod={pod}",
                wait.as_secs_f32()
            );
            RunState::waiting("CrashLoopBackOff", Some(message))
        };
        record.last = Some(end);
    });
    if wait.is_zero() {
        return !ctx.stopping();
    }
    let pod = format!("{}_{}({})", ctx.key.name, ctx.key.namespace, ctx.uid);
    let message = format!("Back-off restarting failed container {name} in pod {pod}");
    ctx.event_at(Some(name), EventKind::Warning, "BackOff", message);
    tokio::select! {
        () = sleep(wait) => true,
        () = ctx.stopped() => {
            ctx.update_container(name, |record| record.state = RunState::Terminated(crashed));
            false
        }
    }
}
