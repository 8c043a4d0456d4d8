//! CPU and memory of containers, over a window.

use super::procfs::{ProcessInfo, processes, resident_bytes, tree};
use super::shared::{Agent, ContainerKey};
use jiff::Timestamp;
use showrunner_apiserver::{ContainerUsage, PodUsage};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// CPU time by process, where a process is its id and its start time.
type CpuTimes = HashMap<(i32, u64), u64>;

/// CPU time that processes used since an earlier look. A process that was not there then counts in full.
fn used(before: &CpuTimes, now: &[&ProcessInfo]) -> u64 {
    now.iter()
        .map(|process| {
            let earlier = before.get(&(process.pid, process.start)).copied().unwrap_or(0);
            process.cpu_nanos.saturating_sub(earlier)
        })
        .sum()
}

fn times(processes: &[&ProcessInfo]) -> CpuTimes {
    processes
        .iter()
        .map(|process| ((process.pid, process.start), process.cpu_nanos))
        .collect()
}

/// The latest measurements.
#[derive(Debug, Default)]
pub(crate) struct Usage(Mutex<Vec<PodUsage>>);

impl Usage {
    pub(crate) fn latest(&self) -> Vec<PodUsage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, latest: Vec<PodUsage>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = latest;
    }
}

/// Measures until `stop`. It also learns which groups the containers' descendants made for themselves, and forgets
/// recorded groups that are empty.
pub(crate) async fn sample(agent: Arc<Agent>, usage: Arc<Usage>, stop: CancellationToken) {
    let mut before: HashMap<(ContainerKey, i32), (Instant, CpuTimes)> = HashMap::new();
    let mut ticks = tokio::time::interval(agent.config.usage_window);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let all = processes();
        let now = Instant::now();
        let timestamp = Timestamp::now();
        let running = agent.running().clone();
        let mut next = HashMap::new();
        let mut pods: BTreeMap<(String, String), (Duration, Vec<ContainerUsage>)> = BTreeMap::new();
        for (key, container) in running {
            let members = tree(&all, container.pid, &container.groups);
            agent.learn_groups(&key, &all);
            let identity = (key.clone(), container.pid);
            if let Some((since, earlier)) = before.get(&identity) {
                let window = now - *since;
                let cpu = used(earlier, &members) as f64 / window.as_secs_f64().max(1e-3);
                let entry = pods
                    .entry((key.pod.namespace.clone(), key.pod.name.clone()))
                    .or_insert((window, Vec::new()));
                entry.0 = entry.0.min(window);
                entry.1.push(ContainerUsage {
                    container: key.container.clone(),
                    cpu_nanocores: cpu as u64,
                    memory_bytes: members.iter().map(|process| resident_bytes(process.pid)).sum(),
                });
            }
            next.insert(identity, (now, times(&members)));
        }
        before = next;
        let latest = pods
            .into_iter()
            .map(|((namespace, pod), (window, containers))| PodUsage {
                namespace,
                pod,
                timestamp,
                window,
                containers,
            });
        usage.set(latest.collect());
        for group in agent.groups.known() {
            agent.groups.remove_if_empty(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_processes_count_and_dead_ones_do_not_go_negative() {
        let process = |pid, start, cpu_nanos| ProcessInfo {
            pid,
            parent: 1,
            group: 1,
            state: 'R',
            cpu_nanos,
            start,
        };
        let (a, b) = (process(1, 10, 500), process(2, 20, 300));
        let before = times(&[&a, &b]);
        let later = process(1, 10, 900);
        let recycled = process(2, 99, 50);
        assert_eq!(used(&before, &[&later, &recycled]), 400 + 50);
        assert_eq!(used(&before, &[]), 0);
    }
}
