//! What the agent knows of a pod it runs.

use jiff::Timestamp;
use std::net::Ipv4Addr;

/// How a container's run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Termination {
    /// Exit code; 128 + signal for a killed process, as shells and container runtimes count.
    pub exit_code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, …
    pub reason: String,
    /// Details for the reader.
    pub message: Option<String>,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// The run's id.
    pub container_id: String,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RunState {
    /// Not running, about to (try to) be.
    Waiting {
        /// A CamelCase reason.
        reason: String,
        /// Details for the reader.
        message: Option<String>,
    },
    /// Running.
    Running {
        /// Since when.
        since: Timestamp,
        /// The run's id.
        container_id: String,
    },
    /// Ended, and not to be restarted.
    Terminated(Termination),
}

impl RunState {
    /// A waiting state.
    pub(super) fn waiting(reason: &str, message: Option<String>) -> Self {
        Self::Waiting {
            reason: reason.to_owned(),
            message,
        }
    }
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContainerRecord {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// What it is doing.
    pub state: RunState,
    /// How its previous run ended.
    pub last: Option<Termination>,
    /// How often it was restarted.
    pub restarts: i32,
    /// Its readiness, by probe or by default.
    pub ready: bool,
    /// Whether its startup is over.
    pub started: bool,
    /// A native sidecar: an init container that keeps running.
    pub sidecar: bool,
}

impl ContainerRecord {
    /// A container that has not run yet.
    pub(super) fn new(name: &str, image: &str, sidecar: bool) -> Self {
        Self {
            name: name.to_owned(),
            image: image.to_owned(),
            state: RunState::waiting("ContainerCreating", None),
            last: None,
            restarts: 0,
            ready: false,
            started: false,
            sidecar,
        }
    }
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodState {
    /// When the agent took it on.
    pub started_at: Timestamp,
    /// Its address, as the API server is told it.
    pub pod_ip: Option<Ipv4Addr>,
    /// Its node's address.
    pub host_ip: Ipv4Addr,
    /// Init containers, in order.
    pub init: Vec<ContainerRecord>,
    /// Containers, in the spec's order.
    pub containers: Vec<ContainerRecord>,
    /// The pod is being ended and will not restart anything.
    pub terminating: bool,
}

impl PodState {
    /// The record of a container, init or not.
    pub(super) fn container_mut(&mut self, name: &str) -> Option<&mut ContainerRecord> {
        self.init
            .iter_mut()
            .chain(&mut self.containers)
            .find(|record| record.name == name)
    }

    /// The record of a container, init or not.
    pub(super) fn container(&self, name: &str) -> Option<&ContainerRecord> {
        self.init
            .iter()
            .chain(&self.containers)
            .find(|record| record.name == name)
    }

    /// Whether every init container has done its part.
    pub(super) fn initialized(&self) -> bool {
        self.init.iter().all(|record| match &record.state {
            RunState::Terminated(end) => end.exit_code == 0 && !record.sidecar,
            RunState::Running { .. } => record.sidecar && record.started,
            RunState::Waiting { .. } => record.sidecar && record.last.is_some(),
        })
    }
}
