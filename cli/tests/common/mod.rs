//! What tests of the real binary share.
#![allow(clippy::unwrap_used, clippy::expect_used)]

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

/// Listening TCP sockets on the addresses that a sandbox uses (127.10 to 127.99).
pub(crate) fn listening() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
            let address = u32::from_str_radix(local.split(':').next()?, 16).ok()?.to_le_bytes();
            (state == "0A" && address[0] == 127 && (10..100).contains(&address[1])).then(|| local.to_owned())
        })
        .collect()
}
