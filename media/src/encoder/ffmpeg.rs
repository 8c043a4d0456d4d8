//! One run of ffmpeg as a child process: own process group, killed with the agent, its last words kept.

use std::{
    collections::VecDeque,
    env, io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use futures::StreamExt;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::process::{Child, ChildStderr, Command};
use tokio_util::codec::{FramedRead, LinesCodec};
use tracing::{debug, warn};

/// Lines of standard error kept.
const MOST_LINES: usize = 20;
/// Bytes of one of them.
const LONGEST_LINE: usize = 1024;

/// A running ffmpeg.
#[derive(Debug)]
pub struct Ffmpeg {
    child: Child,
    last_words: Arc<Mutex<VecDeque<String>>>,
}

impl Ffmpeg {
    /// Starts `program`. With `setpriv` in the path the kernel kills it when the agent dies, even by SIGKILL.
    pub fn start(program: &Path, arguments: &[String]) -> io::Result<Self> {
        let mut command = match find_in_path("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0);
        let mut child = command.spawn()?;
        let last_words = Arc::default();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(listen(stderr, Arc::clone(&last_words)));
        }
        Ok(Self { child, last_words })
    }

    /// Process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Kills the process group and reaps the child. SIGKILL at once: what ffmpeg would still write when asked to stop is a
    /// segment cut short.
    pub async fn kill(&mut self) {
        if let Some(group) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        if let Err(error) = self.child.kill().await {
            warn!(%error, "ffmpeg could not be killed");
        }
    }

    /// The last lines it wrote to standard error.
    pub fn last_words(&self) -> Vec<String> {
        self.last_words
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}

async fn listen(stderr: ChildStderr, last_words: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = FramedRead::new(stderr, LinesCodec::new_with_max_length(LONGEST_LINE));
    while let Some(line) = lines.next().await {
        let Ok(line) = line else { continue };
        debug!(target: "ffmpeg", "{line}");
        let mut kept = last_words.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

/// Whether there is such a program: at that path, or of that name in `PATH`.
pub fn is_there(program: &Path) -> bool {
    if program.components().count() > 1 {
        program.is_file()
    } else {
        program.to_str().and_then(find_in_path).is_some()
    }
}

/// The first executable of that name in `PATH`.
pub fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}
