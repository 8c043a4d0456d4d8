//! What all pods of one runtime share.

use super::config::RuntimeConfig;
use super::events::Recorder;
use super::groups::{Groups, signal_group, signal_process};
use super::logs::LogFile;
use super::procfs::{ProcessInfo, processes, tree};
use super::sources::Sources;
use super::spawn::Spawner;
use crate::key::PodKey;
use crate::network::Network;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::Client;
use kube::runtime::reflector::{ObjectRef, Store};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The identity of a running container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ContainerKey {
    pub(crate) pod: PodKey,
    pub(crate) container: String,
}

/// The logs of a container: of its current run and of the one before.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerLogs {
    /// Only a running container has one, so that its end is visible to followers.
    pub(crate) live: Option<Arc<LogFile>>,
    pub(crate) current: Option<PathBuf>,
    pub(crate) previous: Option<PathBuf>,
}

/// A running container.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) pid: i32,
    /// Groups its descendants made for themselves, as far as they were seen.
    pub(crate) groups: HashSet<i32>,
}

pub(crate) struct Agent {
    pub(crate) config: RuntimeConfig,
    pub(crate) client: Client,
    pub(crate) network: Network,
    pub(crate) spawner: Spawner,
    pub(crate) groups: Groups,
    pub(crate) recorder: Recorder,
    pub(crate) pods: Store<Pod>,
    pub(crate) config_maps: Store<ConfigMap>,
    pub(crate) secrets: Store<Secret>,
    /// Moves when a ConfigMap, a Secret or the set of Services changes.
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) running: Mutex<BTreeMap<ContainerKey, Running>>,
    pub(crate) logs: Mutex<HashMap<ContainerKey, ContainerLogs>>,
}

impl Agent {
    pub(crate) fn running(&self) -> MutexGuard<'_, BTreeMap<ContainerKey, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn logs(&self) -> MutexGuard<'_, HashMap<ContainerKey, ContainerLogs>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns which groups a container's descendants made for themselves. Once their parents are gone, nothing else ties
    /// them to the container.
    pub(crate) fn learn_groups(&self, key: &ContainerKey, all: &[ProcessInfo]) {
        let Some(running) = self.running().get(key).cloned() else {
            return;
        };
        for process in tree(all, running.pid, &running.groups) {
            if process.group != running.pid && !running.groups.contains(&process.group) {
                self.groups.add(process.group);
                if let Some(running) = self.running().get_mut(key) {
                    running.groups.insert(process.group);
                }
            }
        }
    }

    /// Kills every process of a container: its group, its descendants, and the groups they were seen in.
    pub(crate) fn kill_tree(&self, leader: i32, groups: &HashSet<i32>) {
        let all = processes();
        let members = tree(&all, leader, groups);
        for process in &members {
            if process.group != leader {
                self.groups.add(process.group);
            }
        }
        signal_group(leader, Signal::SIGKILL);
        for process in members {
            signal_process(process.pid, Signal::SIGKILL);
        }
    }
}

impl Sources for Agent {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        self.config_maps.get(&ObjectRef::new(name).within(namespace))
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>> {
        self.secrets.get(&ObjectRef::new(name).within(namespace))
    }
}
