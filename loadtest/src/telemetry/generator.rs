//! How busy the generator itself is.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use tokio::time::Instant;

/// Shares of CPU since the last look.
#[derive(Debug)]
pub struct GeneratorProbe {
    cores: f64,
    looked: Instant,
    used: Duration,
    machine: Option<MachineTicks>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MachineTicks {
    busy: u64,
    all: u64,
}

impl Default for GeneratorProbe {
    fn default() -> Self {
        Self::new()
    }
}

impl GeneratorProbe {
    /// Starts counting now.
    #[must_use]
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        Self {
            cores,
            looked: Instant::now(),
            used: process_time(),
            machine: machine_ticks(),
        }
    }

    /// (share of all cores this process used, share anything used), since the last call.
    pub fn sample(&mut self) -> (f64, Option<f64>) {
        let (now, used, machine) = (Instant::now(), process_time(), machine_ticks());
        let passed = now.duration_since(self.looked).as_secs_f64().max(1e-6);
        let own = used.saturating_sub(self.used).as_secs_f64() / passed / self.cores;
        let all = match (self.machine, machine) {
            (Some(before), Some(after)) if after.all > before.all => {
                Some(after.busy.saturating_sub(before.busy) as f64 / (after.all - before.all) as f64)
            }
            _ => None,
        };
        (self.looked, self.used, self.machine) = (now, used, machine);
        (own.clamp(0.0, 1.0), all)
    }
}

/// User and system time of this process so far.
fn process_time() -> Duration {
    let micros = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
    });
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn machine_ticks() -> Option<MachineTicks> {
    parse_ticks(&fs::read_to_string("/proc/stat").ok()?)
}

/// The `cpu` line: user nice system idle iowait irq softirq steal.
fn parse_ticks(stat: &str) -> Option<MachineTicks> {
    let ticks: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    let all: u64 = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4).unwrap_or(&0);
    Some(MachineTicks {
        busy: all.saturating_sub(idle),
        all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc_stat() {
        assert_eq!(
            parse_ticks("cpu  10 0 20 60 10 0 0 0 0 0\ncpu0 1"),
            Some(MachineTicks { busy: 30, all: 100 })
        );
        assert_eq!(parse_ticks("nonsense"), None);
    }

    #[test]
    fn sees_itself_work() {
        let mut probe = GeneratorProbe::new();
        let end = std::time::Instant::now() + Duration::from_millis(60);
        let mut work = 0u64;
        while std::time::Instant::now() < end {
            work = std::hint::black_box(work.wrapping_mul(31).wrapping_add(7));
        }
        assert!(probe.sample().0 > 0.0);
    }
}
