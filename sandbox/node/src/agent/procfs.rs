//! Processes as `/proc` shows them.

use std::collections::{HashMap, HashSet};
use std::fs;

/// `/proc` counts CPU time in hundredths of a second on every architecture Linux supports for user space.
const NANOS_PER_TICK: u64 = 10_000_000;

/// One process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessInfo {
    /// Process id.
    pub pid: i32,
    /// Parent's process id.
    pub parent: i32,
    /// Process group.
    pub group: i32,
    /// Single-letter state; `Z` is a zombie.
    pub state: char,
    /// CPU time used, user and system, in nanoseconds.
    pub cpu_nanos: u64,
    /// Start time in ticks since boot: with the pid, an identity.
    pub start: u64,
}

impl ProcessInfo {
    /// Dead but not yet reaped by its parent.
    pub(crate) fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Parses the text of `/proc/PID/stat`.
fn parse(text: &str) -> Option<ProcessInfo> {
    // The command name is in parentheses and may hold anything, parentheses included.
    let (pid, rest) = text.split_once(" (")?;
    let (_, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(ProcessInfo {
        pid: pid.parse().ok()?,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        cpu_nanos: (number(11)? + number(12)?) * NANOS_PER_TICK,
        start: number(19)?,
    })
}

/// The process with this id.
pub(crate) fn process(pid: i32) -> Option<ProcessInfo> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Every process that this user can see.
pub(crate) fn processes() -> Vec<ProcessInfo> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// Resident memory of a process in bytes; 0 when it is gone.
pub(crate) fn resident_bytes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The processes of a container: the leader's descendants and every member of the given groups.
pub(crate) fn tree<'a>(all: &'a [ProcessInfo], leader: i32, groups: &HashSet<i32>) -> Vec<&'a ProcessInfo> {
    let mut children: HashMap<i32, Vec<&ProcessInfo>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process);
    }
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    let mut queue: Vec<&ProcessInfo> = all
        .iter()
        .filter(|process| process.pid == leader || process.group == leader || groups.contains(&process.group))
        .collect();
    while let Some(process) = queue.pop() {
        if seen.insert(process.pid) {
            found.push(process);
            queue.extend(children.get(&process.pid).into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_hostile_command_name_does_not_confuse() {
        let text = "42 (a) b (c) R 7 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 98765 1000 200 184467";
        let info = parse(text).unwrap();
        assert_eq!(
            (info.pid, info.state, info.parent, info.group, info.start),
            (42, 'R', 7, 42, 98765)
        );
        assert_eq!(info.cpu_nanos, 2_000_000_000);
    }

    #[test]
    fn this_process_is_visible() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(processes().iter().any(|process| process.pid == own));
        assert!(resident_bytes(own) > 100_000);
        assert_eq!(resident_bytes(-1), 0);
    }

    #[test]
    fn a_tree_holds_descendants_and_groups() {
        let process = |pid, parent, group| ProcessInfo {
            pid,
            parent,
            group,
            state: 'S',
            cpu_nanos: 0,
            start: 0,
        };
        let all = [
            process(10, 1, 10),
            process(11, 10, 10),
            process(12, 11, 12),
            process(13, 1, 12),
            process(20, 1, 20),
        ];
        let pids = |groups: &[i32]| {
            let mut pids: Vec<i32> = tree(&all, 10, &groups.iter().copied().collect())
                .iter()
                .map(|process| process.pid)
                .collect();
            pids.sort_unstable();
            pids
        };
        assert_eq!(pids(&[]), [10, 11, 12]);
        assert_eq!(pids(&[12]), [10, 11, 12, 13], "an orphan is found by its group");
    }
}
