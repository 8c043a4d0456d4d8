//! One process of the control plane: its log, whether it lives, and its end.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use showrunner_node::agent::{SpawnRequest, Spawner};
use tokio::{fs::File, io::AsyncRead, sync::watch, time::timeout};

/// How much of a log an error quotes, in lines.
const TAIL: usize = 12;

/// How a process ended; `None` while it runs.
type Ended = Option<Option<ExitStatus>>;

/// A running process. Dropping it does not end it: [`Process::stop`] does, and the end of its [`Spawner`].
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    log: PathBuf,
    group: Pid,
    ended: watch::Receiver<Ended>,
}

impl Process {
    /// Starts `argv` in `directory` and copies what it prints to `NAME.log` there.
    pub(super) async fn start(
        spawner: &Spawner,
        name: &'static str,
        argv: Vec<String>,
        directory: &Path,
    ) -> std::io::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).await?;
        let also = file.try_clone().await?;
        let request = SpawnRequest {
            argv,
            // Go wants a home for its caches, and nothing else of the caller's environment is its business.
            env: BTreeMap::from([("HOME".to_owned(), directory.display().to_string())]),
            directory: directory.to_owned(),
        };
        let spawned = spawner.spawn(request).await?;
        tokio::spawn(copy(spawned.stdout, file));
        tokio::spawn(copy(spawned.stderr, also));
        let (sender, ended) = watch::channel(None);
        let exit = spawned.exit;
        tokio::spawn(async move {
            // Nobody may be watching any more.
            let _ = sender.send(Some(exit.await.ok()));
        });
        Ok(Self {
            name,
            log,
            group: Pid::from_raw(spawned.pid),
            ended,
        })
    }

    /// What it is.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Its process id.
    pub(super) fn pid(&self) -> i32 {
        self.group.as_raw()
    }

    /// Why it is broken: it ended although nobody asked it to. Quotes the end of its log.
    pub(super) fn failure(&self) -> Option<String> {
        let ended = (*self.ended.borrow())?;
        let how = ended.map_or_else(|| "was killed".to_owned(), |status| status.to_string());
        Some(format!(
            "{} ended ({how}); the end of {}:\n{}",
            self.name,
            self.log.display(),
            self.tail()
        ))
    }

    /// The last lines of its log.
    pub(super) fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// Asks it to end, and kills it `patience` later. Says so where even that did not end it.
    pub(super) async fn stop(mut self, patience: Duration) -> Result<(), String> {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            if self.ended.borrow().is_some() {
                return Ok(());
            }
            match killpg(self.group, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(format!("{} cannot be ended: {error}", self.name)),
            }
            if timeout(patience, self.ended.wait_for(Option::is_some)).await.is_ok() {
                return Ok(());
            }
        }
        Err(format!("{} does not end", self.name))
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: File) {
    if let Err(error) = tokio::io::copy(&mut from, &mut to).await {
        tracing::warn!(%error, "a log of the control plane is incomplete");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    async fn shell(folder: &Path, script: &str) -> (Spawner, Process) {
        let spawner = Spawner::start().unwrap();
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let process = Process::start(&spawner, "test", argv, folder).await.unwrap();
        (spawner, process)
    }

    #[tokio::test]
    async fn a_process_that_ends_is_reported_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let (_spawner, mut process) = shell(folder.path(), "echo why it failed >&2; exit 3").await;
        timeout(SOON, process.ended.wait_for(Option::is_some))
            .await
            .unwrap()
            .unwrap();
        let told = async {
            while !process
                .failure()
                .is_some_and(|failure| failure.contains("why it failed"))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, told).await.unwrap();
        assert!(process.failure().unwrap().contains('3'));
        process.stop(SOON).await.unwrap();
    }

    #[tokio::test]
    async fn a_process_that_ignores_the_request_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (_spawner, process) = shell(folder.path(), "trap '' TERM; echo ready; while :; do sleep 1; done").await;
        let ready = async {
            while !process.tail().contains("ready") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, ready).await.unwrap();
        assert_eq!(process.failure(), None);
        process.stop(Duration::from_millis(300)).await.unwrap();
    }
}
