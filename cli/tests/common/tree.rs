//! Everything that a command started, and every socket that it listened on: what must be gone afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};

/// How often the processes are looked at. Whoever lives for less leaves children that are seen by their parent's number.
const LOOK: Duration = Duration::from_millis(20);

/// A process: its number, and when it started, since numbers are used again.
type Identity = (i32, u64);

/// A process as `/proc` shows it.
struct Process {
    identity: Identity,
    parent: i32,
    /// Dead, and only not yet taken note of.
    zombie: bool,
}

/// What was seen of a command's descendants.
#[derive(Default)]
struct Seen {
    processes: BTreeMap<Identity, String>,
    /// Inode of a listening socket to its address.
    sockets: BTreeMap<u64, String>,
}

/// Watches a command's descendants as long as it lives.
pub(crate) struct Tree {
    root: Identity,
    seen: Arc<Mutex<Seen>>,
    watcher: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Tree {
    /// Starts to watch the descendants of a running process.
    pub(crate) fn watch(pid: u32) -> Self {
        let root = process(pid.cast_signed()).expect("the command runs").identity;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stop, stopped) = mpsc::channel();
        let watcher = std::thread::spawn({
            let seen = Arc::clone(&seen);
            move || {
                while stopped.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                    look(root, &mut seen.lock().unwrap());
                }
            }
        });
        Self {
            root,
            seen,
            watcher: Some((stop, watcher)),
        }
    }

    /// Waits until a living descendant's command line contains `part`.
    pub(crate) fn until(&self, limit: Duration, part: &str) {
        super::until(limit, part, || {
            self.living().iter().any(|line| line.contains(part)).then_some(())
        });
    }

    /// Addresses that were listened on.
    pub(crate) fn listened(&self) -> BTreeSet<String> {
        self.seen.lock().unwrap().sockets.values().cloned().collect()
    }

    /// Descendants that live, with their command lines.
    pub(crate) fn living(&self) -> Vec<String> {
        let alive: BTreeSet<Identity> = processes()
            .iter()
            .filter(|process| !process.zombie)
            .map(|process| process.identity)
            .collect();
        let mut seen = self.seen.lock().unwrap();
        look(self.root, &mut seen);
        let living = seen.processes.iter().filter(|(identity, _)| alive.contains(identity));
        let mut living: Vec<String> = living.map(|((pid, _), line)| format!("{pid} {line}")).collect();
        living.extend(tagged(self.root));
        living.sort();
        living.dedup();
        living
    }

    /// Sockets that were listened on and still are, whoever holds them.
    pub(crate) fn listening(&self) -> Vec<String> {
        let open = listening();
        let seen = self.seen.lock().unwrap();
        let still = seen.sockets.iter().filter(|(inode, _)| open.contains_key(inode));
        still.map(|(_, address)| address.clone()).collect()
    }

    /// Fails unless everything is gone by the deadline. Whether anything was there to begin with is for the test to say.
    pub(crate) fn gone(&self, limit: Duration) {
        let deadline = std::time::Instant::now() + limit;
        loop {
            let left = (self.living(), self.listening());
            if left.0.is_empty() && left.1.is_empty() {
                return;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "after {} s there are left: {:#?}, listening on {:?}",
                limit.as_secs(),
                left.0,
                left.1
            );
            std::thread::park_timeout(LOOK);
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Some((stop, watcher)) = self.watcher.take() {
            drop(stop);
            let _ = watcher.join();
        }
    }
}

/// Adds what is there now.
fn look(root: Identity, seen: &mut Seen) {
    let all = processes();
    let mut members: BTreeSet<i32> = all
        .iter()
        .filter(|process| process.identity == root || seen.processes.contains_key(&process.identity))
        .map(|process| process.identity.0)
        .collect();
    let mut found = true;
    while found {
        found = false;
        for process in &all {
            if members.contains(&process.parent) && members.insert(process.identity.0) {
                found = true;
            }
        }
    }
    for process in all.iter().filter(|process| members.contains(&process.identity.0)) {
        let line = command_line(process.identity.0);
        if process.identity != root && !line.is_empty() {
            // `setpriv` becomes what it starts: the last line counts.
            seen.processes.insert(process.identity, line);
        }
    }
    let open = listening();
    for pid in members {
        for inode in sockets(pid) {
            if let Some(address) = open.get(&inode) {
                seen.sockets.insert(inode, address.clone());
            }
        }
    }
}

fn process(pid: i32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Process {
        identity: (pid, fields.get(19)?.parse().ok()?),
        parent: fields.get(1)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

fn command_line(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned()
}

/// Processes that carry the mark of the sandbox in their environment, however they came to be.
fn tagged((pid, start): Identity) -> Vec<String> {
    let mark = format!("SHOWRUNNER_SANDBOX={pid}-{start}");
    let marked = |pid: i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == mark.as_bytes())
    };
    processes()
        .iter()
        .filter(|process| !process.zombie && marked(process.identity.0))
        .map(|process| format!("{} {}", process.identity.0, command_line(process.identity.0)))
        .collect()
}

/// Inodes of the sockets that a process holds.
fn sockets(pid: i32) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            inode.parse().ok()
        })
        .collect()
}

/// Every listening TCP socket on 127.0.0.0/8: inode and address.
fn listening() -> BTreeMap<u64, String> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
            let (address, port) = local.split_once(':')?;
            let [a, b, c, d] = u32::from_str_radix(address, 16).ok()?.to_le_bytes();
            let port = u16::from_str_radix(port, 16).ok()?;
            (*state == "0A" && a == 127).then_some((inode.parse().ok()?, format!("{a}.{b}.{c}.{d}:{port}")))
        })
        .collect()
}
