//! One run of one container: from its start to its end.

use super::context::{NotYet, PodContext, Stop};
use super::env::environment;
use super::events::EventKind;
use super::expand::expand;
use super::groups::signal_group;
use super::handler::{Shell, hook};
use super::logs::LogFile;
use super::procfs::processes;
use super::shared::{ContainerLogs, Running};
use super::spawn::SpawnRequest;
use super::state::Termination;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use nix::sys::signal::Signal;
use std::collections::HashSet;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a killed process may take to disappear.
const DEATH: Duration = Duration::from_secs(10);
/// How long output may follow a process's end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running container.
pub(crate) struct Run {
    pub(crate) container: Container,
    pub(crate) shell: Shell,
    pub(crate) started_at: Timestamp,
    pub(crate) began: Instant,
    pub(crate) id: String,
    pid: i32,
    exit: oneshot::Receiver<ExitStatus>,
    copies: Vec<JoinHandle<()>>,
}

/// Everything a container needs to start.
pub(crate) fn prepare(ctx: &PodContext, container: &Container) -> Result<SpawnRequest, NotYet> {
    let config = |error: &dyn std::error::Error| NotYet::new("CreateContainerConfigError", &error.to_string());
    let pod = ctx.current();
    let mut env = environment(container, &pod, &ctx.facts, ctx.agent.as_ref()).map_err(|error| config(&error))?;
    let translation = ctx.translation().with_mounts(ctx.mounts(container)?);
    let words = |list: &Option<Vec<String>>| -> Vec<String> {
        let expanded = list
            .iter()
            .flatten()
            .map(|word| expand(word, |name| env.get(name).cloned()));
        expanded.map(|word| translation.apply(&word)).collect()
    };
    let image = container.image.as_deref().unwrap_or_default();
    let argv = ctx
        .agent
        .config
        .images
        .resolve(image, &words(&container.command), &words(&container.args))
        .map_err(|error| NotYet::new("ErrImagePull", &error))?;
    for value in env.values_mut() {
        *value = translation.apply(value);
    }
    env.entry("PATH".to_owned()).or_insert_with(|| {
        std::env::var("PATH")
            .unwrap_or_else(|_| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned())
    });
    let directory = match container
        .working_dir
        .as_deref()
        .map(|directory| translation.apply(directory))
    {
        Some(directory) if PathBuf::from(&directory).is_dir() => PathBuf::from(directory),
        _ => ctx.directory.clone(),
    };
    Ok(SpawnRequest { argv, env, directory })
}

impl Run {
    /// Starts the container.
    pub(crate) async fn start(
        ctx: &PodContext,
        container: Container,
        request: SpawnRequest,
        ordinal: i32,
    ) -> io::Result<Self> {
        let key = ctx.container_key(&container.name);
        let path = ctx
            .directory
            .join("logs")
            .join(&container.name)
            .join(format!("{ordinal}.log"));
        let log = Arc::new(LogFile::create(path.clone(), ctx.agent.config.log_limit)?);
        let translation = ctx
            .translation()
            .with_mounts(ctx.mounts(&container).unwrap_or_default());
        let spawned = ctx.agent.spawner.spawn(request.clone()).await?;
        ctx.agent.groups.add(spawned.pid);
        ctx.agent.running().insert(
            key.clone(),
            Running {
                pid: spawned.pid,
                groups: HashSet::new(),
            },
        );
        {
            let mut logs = ctx.agent.logs();
            let entry = logs.entry(key).or_default();
            let stale = entry.previous.take();
            let previous = entry.current.take();
            *entry = ContainerLogs {
                live: Some(Arc::clone(&log)),
                current: Some(path),
                previous,
            };
            if let Some(stale) = stale {
                // Only the current and the previous run are kept.
                let _ = std::fs::remove_file(stale.with_extension("log.1"));
                let _ = std::fs::remove_file(stale);
            }
        }
        let copies = vec![
            tokio::spawn(Arc::clone(&log).copy("stdout", spawned.stdout)),
            tokio::spawn(log.copy("stderr", spawned.stderr)),
        ];
        Ok(Self {
            container,
            shell: Shell {
                base: request,
                translation,
            },
            started_at: Timestamp::now(),
            began: Instant::now(),
            id: format!("process://{}-{ordinal}-{}", ctx.uid, spawned.pid),
            pid: spawned.pid,
            exit: spawned.exit,
            copies,
        })
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn ended(&mut self) -> Option<ExitStatus> {
        (&mut self.exit).await.ok()
    }

    /// Ends the container: hook, SIGTERM to the group, SIGKILL to everything at the deadline. `stop` may move while this
    /// runs.
    pub(crate) async fn terminate(&mut self, ctx: &PodContext, mut stop: impl FnMut() -> Stop) -> Option<ExitStatus> {
        let name = self.container.name.clone();
        let handler = self
            .container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.pre_stop.clone());
        if let Some(handler) = handler.filter(|_| stop().hooks) {
            let running = hook(ctx, &self.shell, &self.container, &handler);
            tokio::pin!(running);
            let outcome = tokio::select! {
                status = &mut self.exit => return status.ok(),
                outcome = &mut running => outcome,
                () = until_deadline(ctx, &mut stop) => Err("the grace period is over".to_owned()),
            };
            if let Err(error) = outcome {
                ctx.event_at(
                    Some(&name),
                    EventKind::Warning,
                    "FailedPreStopHook",
                    format!("PreStopHook failed: {error}"),
                );
            }
        }
        ctx.agent.learn_groups(&ctx.container_key(&name), &processes());
        signal_group(self.pid, Signal::SIGTERM);
        // A hook that used the whole grace period leaves the minimum.
        let least = Instant::now() + ctx.agent.config.minimum_grace;
        tokio::select! {
            status = &mut self.exit => return status.ok(),
            () = async {
                until_deadline(ctx, &mut stop).await;
                tokio::time::sleep_until(least).await;
            } => {}
        }
        self.kill(ctx);
        timeout(DEATH, &mut self.exit).await.ok()?.ok()
    }

    fn kill(&self, ctx: &PodContext) {
        let groups = ctx
            .agent
            .running()
            .get(&ctx.container_key(&self.container.name))
            .map(|r| r.groups.clone());
        ctx.agent.kill_tree(self.pid, &groups.unwrap_or_default());
    }

    /// Buries the run: what it left behind is killed, its log is closed, its end is told.
    pub(crate) async fn finish(mut self, ctx: &PodContext, status: Option<ExitStatus>) -> Termination {
        self.kill(ctx);
        let deadline = Instant::now() + LAST_WORDS;
        for copy in &mut self.copies {
            if timeout_at(deadline, &mut *copy).await.is_err() {
                copy.abort();
            }
        }
        let key = ctx.container_key(&self.container.name);
        ctx.agent.running().remove(&key);
        if let Some(logs) = ctx.agent.logs().get_mut(&key) {
            logs.live = None;
        }
        ctx.agent.groups.remove_if_empty(self.pid);
        let signal = status.and_then(|status| status.signal());
        let exit_code = match (status.and_then(|status| status.code()), signal) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => 137,
        };
        Termination {
            exit_code,
            signal,
            reason: if exit_code == 0 { "Completed" } else { "Error" }.to_owned(),
            message: status.is_none().then(|| "the process was lost".to_owned()),
            started_at: self.started_at,
            finished_at: Timestamp::now(),
            container_id: self.id,
        }
    }
}

/// Returns at the stop's deadline, wherever it moves meanwhile.
async fn until_deadline(ctx: &PodContext, stop: &mut impl FnMut() -> Stop) {
    let mut moved = ctx.stop.subscribe();
    loop {
        let deadline = stop().deadline;
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => return,
            changed = moved.changed() => if changed.is_err() { return },
        }
    }
}
