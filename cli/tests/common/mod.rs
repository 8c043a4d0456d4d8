//! What tests of the real binary share.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub(crate) mod tree;
pub(crate) mod up;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The repository, from which examples and scenarios are named.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The binary, in the repository.
pub(crate) fn showrunner() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_showrunner"));
    command.current_dir(repository());
    command
}

/// A child that is killed if a test fails; its pods die with it.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

impl Running {
    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self, limit: Duration) -> ExitStatus {
        until(limit, "the process to end", || self.0.try_wait().unwrap())
    }
}

/// What a command has said so far.
#[derive(Clone, Default)]
pub(crate) struct Said(std::sync::Arc<std::sync::Mutex<String>>);

impl Said {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn contains(&self, part: &str) -> bool {
        self.0.lock().unwrap().contains(part)
    }
}

/// Reads what a command says, so that it never waits for a reader.
pub(crate) fn follow(mut pipe: impl std::io::Read + Send + 'static) -> Said {
    let said = Said::default();
    let into = said.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            into.0
                .lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    });
    said
}

/// Looks until there is something, or fails.
pub(crate) fn until<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {} s in vain for {what}",
            limit.as_secs()
        );
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Fails unless a sandbox stands there with all that must be gone later: otherwise the checks that follow could not fail.
pub(crate) fn stands(tree: &tree::Tree) {
    let living = tree.living().join("\n");
    // Caches have a worker each, encoders an ffmpeg: children of the pods' processes.
    for part in [" media origin", " media encoder", "varnishd", "ffmpeg "] {
        assert!(living.contains(part), "{part:?} does not run:\n{living}");
    }
    let listened = tree.listened();
    for network in ["127.0.0.1:", "127.10.", "127.20.", "127.30.", "127.4"] {
        assert!(
            listened.iter().any(|address| address.starts_with(network)),
            "nothing on {network}: {listened:?}"
        );
    }
}

/// Command lines of the pods of a sandbox, by the process that runs it.
pub(crate) fn pods_of(pid: u32) -> Vec<String> {
    let marker = format!("showrunner-{pid}/");
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&marker))
        .collect()
}
