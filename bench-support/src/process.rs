//! Server and clients as processes of their own, each pinned to a core: nothing that one costs is booked on the other.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// The core of the server.
pub const SERVER_CORE: usize = 0;
/// The core of clients.
pub const CLIENT_CORE: usize = 1;

/// This program again in another role, on one core.
pub fn role(core: usize, role: &str, arguments: &[String]) -> Command {
    let mut command = pinned(core, &std::env::current_exe().unwrap().to_string_lossy());
    command.arg("--role").arg(role).args(arguments);
    command
}

/// This program again in another role, wherever the scheduler likes.
pub fn role_anywhere(role: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--role").arg(role).args(arguments);
    command
}

/// Any program on one core.
pub fn pinned(core: usize, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), program]);
    command
}

/// The role this process was started in, and its arguments.
pub fn own_role() -> Option<(String, Vec<String>)> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--role").skip(1);
    Some((arguments.next()?, arguments.collect()))
}

/// A server process; ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    began: Instant,
    spins: bool,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts this program in the role `server`.
    /// One that spins never sleeps, so that no client pays for waking it.
    pub fn start(spins: bool) -> Self {
        let arguments: &[String] = if spins { &["--spin".to_owned()] } else { &[] };
        let mut child = role(SERVER_CORE, "server", arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            address: line.trim().parse().unwrap(),
            began: Instant::now(),
            spins,
            child,
        }
    }

    /// Seconds so far that it was busy: of CPU, or what is not idle by its own account where it never sleeps.
    fn busy(&self) -> f64 {
        if self.spins {
            self.began.elapsed().as_secs_f64() - self.idle()
        } else {
            cpu_of(self.child.id())
        }
    }

    /// What it answers to `/idle`.
    fn idle(&self) -> f64 {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(b"GET /idle HTTP/1.1\r\n\r\n").unwrap();
        let (mut text, mut buffer) = (String::new(), [0; 4096]);
        while !text.contains("\r\n\r\n") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the server closed the connection");
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        text.rsplit("\r\n").next().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client did.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it printed.
    pub output: String,
    /// CPU seconds it took.
    pub cpu: f64,
    /// Share of its core that the server was busy.
    pub server_share: f64,
}

/// Runs a client to its end.
pub fn run(server: &Server, mut command: Command) -> Option<Run> {
    let (cpu, server_busy, began) = (children_cpu(), server.busy(), Instant::now());
    let output = command.stderr(Stdio::inherit()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    Some(Run {
        output: String::from_utf8(output.stdout).ok()?,
        cpu: children_cpu() - cpu,
        server_share: (server.busy() - server_busy) / began.elapsed().as_secs_f64(),
    })
}

/// CPU seconds of children that have ended.
fn children_cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

/// CPU seconds of this process.
pub fn own_cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

/// CPU seconds so far of a process that runs, in ticks of a hundredth of a second.
pub fn cpu_of(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold spaces. After it: state is field 3, user time 14, system time 15.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok());
    (ticks(14).unwrap_or(0.0) + ticks(15).unwrap_or(0.0)) / 100.0
}

/// Resident memory of this process in bytes.
pub fn resident() -> u64 {
    resident_of(std::process::id()).unwrap()
}

/// Resident memory of a process in bytes; nothing if it is gone.
pub fn resident_of(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}
