//! What is left of a process that was killed, and how nothing is.
//!
//! A process that is killed cannot end its pods. Three nets catch them, each for what slips through the one before:
//!
//! 1. The kernel kills each pod's own process with its parent (`setpriv --pdeathsig`). That does not reach what this
//!    process started in turn.
//! 2. A [`Supervisor`], a small process beside, notices by a pipe that closes. It kills every process that carries the
//!    owner's [`MARK`] in its environment, which children inherit whatever session or group they make for themselves, and
//!    every group that was recorded.
//! 3. The next start does the same for every folder whose [`Owner`] is gone.
//!
//! A number that the system has given to somebody else since is left alone: a process counts by its number and the time of
//! its start.

use crate::agent::groups::{boot_id, signal_process};
use crate::agent::procfs::{process, processes};
use crate::agent::reap_stale;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The environment variable that every process of a sandbox carries.
pub const MARK: &str = "SHOWRUNNER_SANDBOX";
/// The file in a sandbox's folder that says whose it is.
const FILE: &str = "owner";
/// How often processes are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a process that closed its pipe may take to end.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long killed processes may take to be gone.
const DEATH: Duration = Duration::from_secs(10);

/// The process that a sandbox belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Process id.
    pub pid: i32,
    /// Start time in ticks since boot.
    pub start: u64,
    /// The boot that these are numbers of.
    boot: String,
    /// The process namespace that these are numbers of.
    namespace: String,
}

fn namespace() -> String {
    fs::read_link("/proc/self/ns/pid").map_or_else(|_| String::new(), |link| link.display().to_string())
}

impl Owner {
    /// This process.
    pub fn this() -> io::Result<Self> {
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        Self::of(pid).ok_or_else(|| io::Error::other("/proc does not show this process"))
    }

    /// A process that runs.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self {
            pid,
            start: process(pid)?.start,
            boot: boot_id(),
            namespace: namespace(),
        })
    }

    /// Who `root` belongs to; an error of kind `NotFound` when it does not say.
    pub fn read(root: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(root.join(FILE))?;
        serde_json::from_str(&text).map_err(io::Error::other)
    }

    /// States that `root` belongs to this owner. The file is there whole or not at all.
    pub fn write(&self, root: &Path) -> io::Result<()> {
        let next = root.join(format!("{FILE}.new"));
        fs::write(&next, serde_json::to_vec(self)?)?;
        fs::rename(next, root.join(FILE))
    }

    /// What its processes have in [`MARK`].
    pub fn mark(&self) -> String {
        format!("{}-{}", self.pid, self.start)
    }

    /// Whether it may still run. Of another process namespace nothing can be known.
    pub fn may_run(&self) -> bool {
        if self.boot != boot_id() {
            return false;
        }
        self.namespace != namespace()
            || process(self.pid).is_some_and(|process| process.start == self.start && !process.is_zombie())
    }

    /// Its living processes.
    pub fn processes(&self) -> Vec<i32> {
        if self.boot != boot_id() || self.namespace != namespace() {
            return Vec::new();
        }
        let own = std::process::id().cast_signed();
        let entry = format!("{MARK}={}", self.mark());
        let marked = |pid: i32| {
            // Of other users' processes nothing can be read; a sandbox has none.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|found| found == entry.as_bytes())
        };
        processes()
            .iter()
            .filter(|process| process.pid != own && !process.is_zombie() && marked(process.pid))
            .map(|process| process.pid)
            .collect()
    }
}

/// Kills everything that an owner's sandbox in `root` has running, and waits until it is gone. Returns how many processes
/// and groups that were. An error of kind `TimedOut` when something survives.
pub fn end_all(owner: &Owner, root: &Path) -> io::Result<usize> {
    let mut ended = reap_stale(root)?.len();
    let deadline = Instant::now() + DEATH;
    let mut nobody = 0;
    // A process may fork while it is being looked for: only two looks in a row that find nobody count.
    while nobody < 2 {
        let left = owner.processes();
        if left.is_empty() {
            nobody += 1;
        } else {
            nobody = 0;
            if Instant::now() > deadline {
                let message = format!("processes survive SIGKILL: {left:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
        for pid in &left {
            signal_process(*pid, Signal::SIGKILL);
        }
        ended = ended.max(left.len());
        sleep(LOOK);
    }
    Ok(ended)
}

/// Waits until `owner` closes the other end of `pipe`, which it does in any way that it ends, and kills what it leaves. An
/// owner that goes on after that has ended its sandbox itself.
pub fn supervise(owner: &Owner, root: &Path, mut pipe: impl Read) -> io::Result<usize> {
    let mut nothing = [0; 64];
    loop {
        match pipe.read(&mut nothing) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A pipe that cannot be read is one that nobody holds.
            Err(_) => break,
        }
    }
    let deadline = Instant::now() + FAREWELL;
    while owner.may_run() {
        if Instant::now() > deadline {
            return Ok(0);
        }
        sleep(LOOK);
    }
    end_all(owner, root)
}

/// A process beside this one that kills what it leaves.
#[derive(Debug)]
pub struct Supervisor {
    process: Child,
}

impl Supervisor {
    /// Starts `program` (and arguments), which must call [`supervise`] on its standard input, with the root whose path is
    /// appended to its arguments and the owner that is written there.
    pub fn start(program: &[String], root: &Path) -> io::Result<Self> {
        let (program, arguments) = program
            .split_first()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let process = Command::new(program)
            .args(arguments)
            .arg(root)
            // Ctrl-C at a terminal goes to a group: the supervisor outlives the one it watches.
            .process_group(0)
            .current_dir("/")
            .env_remove(MARK)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { process })
    }
}

impl Drop for Supervisor {
    /// Lets it go: it ends once this process has, or after a while by itself.
    fn drop(&mut self) {
        drop(self.process.stdin.take());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn gone(pid: i32) -> bool {
        process(pid).is_none_or(|process| process.is_zombie())
    }

    /// A stand-in for an owner, and an orphan of its: in a session of its own, its parents dead.
    struct Abandoned {
        stand_in: Child,
        owner: Owner,
        orphan: i32,
    }

    fn abandoned() -> Abandoned {
        let stand_in = Command::new("sleep").arg("300").spawn().unwrap();
        let owner = Owner::of(stand_in.id().cast_signed()).unwrap();
        let output = Command::new("sh")
            .args(["-c", "setsid sh -c 'sleep 300 >/dev/null 2>&1 & echo $!'"])
            .env(MARK, owner.mark())
            .output()
            .unwrap();
        let orphan = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        Abandoned {
            stand_in,
            owner,
            orphan,
        }
    }

    #[test]
    fn orphans_are_found_by_their_mark_and_others_are_not() {
        let (mut one, mut other) = (abandoned(), abandoned());
        let root = tempfile::tempdir().unwrap();
        assert_eq!(one.owner.processes(), [one.orphan]);
        assert_eq!(end_all(&one.owner, root.path()).unwrap(), 1);
        assert!(gone(one.orphan) && !gone(other.orphan), "the other's is not touched");
        assert_eq!(end_all(&other.owner, root.path()).unwrap(), 1);
        for stand_in in [&mut one.stand_in, &mut other.stand_in] {
            stand_in.kill().unwrap();
            stand_in.wait().unwrap();
        }
    }

    #[test]
    fn a_supervisor_waits_for_the_pipe_and_for_the_owners_end() {
        let mut left = abandoned();
        let root = tempfile::tempdir().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let (owner, path) = (left.owner.clone(), root.path().to_owned());
        let supervisor = std::thread::spawn(move || supervise(&owner, &path, reader));
        left.stand_in.kill().unwrap();
        left.stand_in.wait().unwrap();
        assert!(!supervisor.is_finished() && !gone(left.orphan), "the pipe is open");
        drop(writer);
        assert_eq!(supervisor.join().unwrap().unwrap(), 1);
        assert!(gone(left.orphan));
    }

    #[test]
    fn a_supervisor_that_comes_late_ends_what_a_dead_owner_left() {
        let mut left = abandoned();
        let root = tempfile::tempdir().unwrap();
        left.owner.write(root.path()).unwrap();
        left.stand_in.kill().unwrap();
        left.stand_in.wait().unwrap();
        let owner = Owner::read(root.path()).unwrap();
        assert_eq!(supervise(&owner, root.path(), io::empty()).unwrap(), 1);
        assert!(gone(left.orphan));
    }

    #[test]
    fn owners_are_told_from_namesakes() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Owner::read(root.path()).unwrap_err().kind(), io::ErrorKind::NotFound);
        let this = Owner::this().unwrap();
        this.write(root.path()).unwrap();
        assert_eq!(Owner::read(root.path()).unwrap(), this);
        assert!(this.may_run());
        let namesake = Owner {
            start: this.start - 1,
            ..this.clone()
        };
        assert!(!namesake.may_run());
        let before_boot = Owner {
            boot: "another".into(),
            ..this.clone()
        };
        assert!(!before_boot.may_run());
        let elsewhere = Owner {
            namespace: "pid:[1]".into(),
            pid: 1,
            ..this
        };
        assert!(elsewhere.may_run(), "it cannot be known");
        assert!(elsewhere.processes().is_empty());
    }
}
