//! Starts processes from one thread that lives as long as the runtime.
//!
//! Children ask the kernel to be killed with their parent (`setpriv --pdeathsig`), and the kernel takes the parent to be
//! the *thread* that forked: a worker thread of an async runtime would not do. Every child carries its owner's mark in its
//! environment too, and so do its own children: see [`crate::crash`].

use crate::crash::{MARK, Owner};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::thread;
use tokio::process::{ChildStderr, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait for the thread.
const QUEUE: usize = 256;
const SETPRIV: [&str; 3] = ["/usr/bin/setpriv", "/bin/setpriv", "/usr/local/bin/setpriv"];

/// What to run.
#[derive(Clone, Debug)]
pub struct SpawnRequest {
    /// Program (an absolute path) and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub directory: PathBuf,
}

/// A process started in a group of its own.
#[derive(Debug)]
pub struct Spawned {
    /// Process id, which is also the id of its group.
    pub pid: i32,
    /// What it prints.
    pub stdout: ChildStdout,
    /// What it complains.
    pub stderr: ChildStderr,
    /// How it ended. An error means that the spawning thread is gone, and with it the process.
    pub exit: oneshot::Receiver<ExitStatus>,
}

struct Job {
    request: SpawnRequest,
    reply: oneshot::Sender<io::Result<Spawned>>,
}

/// Hands jobs to the spawning thread. Its processes are killed when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Spawner {
    jobs: mpsc::Sender<Job>,
}

impl Spawner {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let setpriv = SETPRIV.iter().map(Path::new).find(|path| path.exists());
        if setpriv.is_none() {
            tracing::warn!("setpriv is not installed: pods would outlive a crash of this process until the next start");
        }
        let owner = Owner::this()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("pod-spawner".to_owned()).spawn(move || {
            runtime.block_on(async move {
                while let Some(Job { request, reply }) = queue.recv().await {
                    // Whoever asked may have given up; the process is then killed on drop.
                    let _ = reply.send(start(setpriv, &owner, request));
                }
            });
        })?;
        Ok(Self { jobs })
    }

    /// Starts a process.
    pub async fn spawn(&self, request: SpawnRequest) -> io::Result<Spawned> {
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the spawning thread has ended");
        self.jobs.send(Job { request, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn start(setpriv: Option<&Path>, owner: &Owner, request: SpawnRequest) -> io::Result<Spawned> {
    let SpawnRequest { argv, env, directory } = request;
    let (program, args) = argv
        .split_first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut command = match setpriv {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--", program.as_str()]);
            command
        }
        None => Command::new(program),
    };
    command
        .args(args)
        .env_clear()
        .envs(env)
        .env(MARK, owner.mark())
        .current_dir(directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let missing = || io::Error::other("the process has no id or no pipes");
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    let (ended, exit) = oneshot::channel();
    tokio::spawn(async move {
        match child.wait().await {
            // Nobody may be waiting any more.
            Ok(status) => drop(ended.send(status)),
            Err(error) => tracing::error!(%error, pid, "cannot wait for a process"),
        }
    });
    Ok(Spawned {
        pid,
        stdout,
        stderr,
        exit,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::agent::procfs;
    use tokio::io::AsyncReadExt;

    fn shell(script: &str) -> SpawnRequest {
        SpawnRequest {
            argv: vec!["/bin/sh".into(), "-c".into(), script.into()],
            env: BTreeMap::from([("GREETING".into(), "hi".into())]),
            directory: "/".into(),
        }
    }

    #[tokio::test]
    async fn a_process_has_its_own_group_and_only_its_environment() {
        let spawner = Spawner::start().unwrap();
        let mut spawned = spawner
            .spawn(shell("echo $GREETING-$HOME-$PWD; read x; exit 7"))
            .await
            .unwrap();
        let mut text = String::new();
        spawned.stdout.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hi--/\n");
        assert_eq!(spawned.exit.await.unwrap().code(), Some(7));
        let group = procfs::process(spawned.pid).map(|info| info.group);
        assert!(group.is_none_or(|group| group == spawned.pid));
    }

    #[tokio::test]
    async fn the_thread_takes_its_processes_with_it() {
        let spawner = Spawner::start().unwrap();
        let mut spawned = spawner.spawn(shell("exec sleep 300")).await.unwrap();
        drop(spawner);
        // Reading ends one way or the other: with the process, or with the reactor that watched its pipe.
        let mut rest = Vec::new();
        let deadline = std::time::Duration::from_secs(10);
        let _ = tokio::time::timeout(deadline, spawned.stdout.read_to_end(&mut rest))
            .await
            .unwrap();
        let gone = async {
            while procfs::process(spawned.pid).is_some_and(|process| !process.is_zombie()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(deadline, gone).await.unwrap();
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_reported() {
        let spawner = Spawner::start().unwrap();
        let mut request = shell("");
        request.directory = "/no/such/directory".into();
        assert!(spawner.spawn(request).await.is_err());
    }
}
