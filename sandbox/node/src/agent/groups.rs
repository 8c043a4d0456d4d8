//! The process groups of all containers, on disk too, so that a later start can end what a crash left behind.

use super::procfs::{ProcessInfo, process, processes};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const FILE: &str = "process-groups";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Groups that belong to containers, with the start time of each group's leader.
#[derive(Debug)]
pub(super) struct Groups {
    file: PathBuf,
    known: Mutex<BTreeMap<i32, u64>>,
}

impl Groups {
    /// An empty register, kept in `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self {
            file: root.join(FILE),
            known: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a group by its leader.
    pub(super) fn add(&self, leader: i32) {
        // A group may outlive its leader; then any member's start time is late enough to tell it from a later namesake.
        let start = process(leader).map_or(0, |info| info.start);
        let mut known = self.lock();
        if known.insert(leader, start).is_none()
            && let Err(error) = self.write(&known)
        {
            tracing::warn!(%error, file = %self.file.display(), "cannot record process groups; a crash would leave them");
        }
    }

    /// Forgets a group that has no members left; whether it was empty.
    pub(super) fn remove_if_empty(&self, group: i32) -> bool {
        if !members(&processes(), &HashSet::from([group])).is_empty() {
            return false;
        }
        let mut known = self.lock();
        if known.remove(&group).is_some()
            && let Err(error) = self.write(&known)
        {
            tracing::warn!(%error, "cannot record process groups");
        }
        true
    }

    /// Groups known now.
    pub(super) fn known(&self) -> HashSet<i32> {
        self.lock().keys().copied().collect()
    }

    /// Living processes of known groups.
    pub(super) fn survivors(&self) -> Vec<i32> {
        members(&processes(), &self.known())
    }

    fn write(&self, known: &BTreeMap<i32, u64>) -> io::Result<()> {
        let next = self.file.with_extension("new");
        let mut file = fs::File::create(&next)?;
        writeln!(file, "{}", boot_id())?;
        for (group, start) in known {
            writeln!(file, "{group} {start}")?;
        }
        fs::rename(next, &self.file)
    }
}

pub(crate) fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned()
}

fn members(all: &[ProcessInfo], groups: &HashSet<i32>) -> Vec<i32> {
    all.iter()
        .filter(|p| groups.contains(&p.group) && !p.is_zombie())
        .map(|p| p.pid)
        .collect()
}

/// Sends a signal to a group. A group that is gone is no error.
pub(super) fn signal_group(group: i32, signal: Signal) {
    // 0 and 1 would mean this process's own group and everyone.
    if group > 1 {
        let _ = killpg(Pid::from_raw(group), signal);
    }
}

/// Sends a signal to one process. A process that is gone is no error.
pub(crate) fn signal_process(pid: i32, signal: Signal) {
    if pid > 1 {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Kills what an earlier run recorded in `root` and did not end itself. Returns the groups that were still alive.
///
/// A group counts only if this machine has not been booted since and no member is older than the recorded leader, so that
/// a recycled number is left alone.
pub fn reap_stale(root: &Path) -> io::Result<Vec<i32>> {
    let file = root.join(FILE);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut lines = text.lines();
    let mut reaped = Vec::new();
    if lines.next() == Some(boot_id().as_str()) {
        let all = processes();
        for line in lines {
            let Some((group, start)) = line.split_once(' ') else {
                continue;
            };
            let (Ok(group), Ok(start)) = (group.parse::<i32>(), start.parse::<u64>()) else {
                continue;
            };
            let in_group: Vec<&ProcessInfo> = all.iter().filter(|p| p.group == group && !p.is_zombie()).collect();
            let leader_is_other = in_group.iter().any(|p| p.pid == group && p.start != start);
            if in_group.is_empty() || leader_is_other || in_group.iter().any(|p| p.start < start) {
                continue;
            }
            signal_group(group, Signal::SIGKILL);
            reaped.push(group);
        }
    }
    fs::remove_file(file)?;
    Ok(reaped)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    fn sleeper() -> std::process::Child {
        Command::new("sleep").arg("300").process_group(0).spawn().unwrap()
    }

    #[test]
    fn a_stale_group_is_killed_and_a_recycled_number_is_not() {
        let root = tempfile::tempdir().unwrap();
        let (mut stale, mut recycled) = (sleeper(), sleeper());
        let groups = Groups::new(root.path());
        let id = |child: &std::process::Child| i32::try_from(child.id()).unwrap();
        groups.add(id(&stale));
        groups.add(id(&recycled));
        // The file says that the second leader started at another time: its number was used again since.
        let text = fs::read_to_string(root.path().join(FILE)).unwrap();
        let start = process(id(&recycled)).unwrap().start;
        let line = format!("{} {start}", id(&recycled));
        let other = format!("{} {}", id(&recycled), start - 1);
        fs::write(root.path().join(FILE), text.replace(&line, &other)).unwrap();

        assert_eq!(reap_stale(root.path()).unwrap(), [id(&stale)]);
        assert!(!stale.wait().unwrap().success());
        assert!(recycled.try_wait().unwrap().is_none(), "still running");
        assert_eq!(groups.survivors(), [id(&recycled)]);
        recycled.kill().unwrap();
        recycled.wait().unwrap();
        assert!(groups.survivors().is_empty());
        assert_eq!(
            reap_stale(root.path()).unwrap(),
            Vec::<i32>::new(),
            "a second time there is nothing to do"
        );
    }

    #[test]
    fn a_file_from_before_a_reboot_kills_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mut child = sleeper();
        let pid = i32::try_from(child.id()).unwrap();
        let start = process(pid).unwrap().start;
        fs::write(root.path().join(FILE), format!("another-boot\n{pid} {start}\n")).unwrap();
        assert!(reap_stale(root.path()).unwrap().is_empty());
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
