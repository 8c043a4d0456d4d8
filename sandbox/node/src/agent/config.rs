//! Settings of the runtime and of its nodes.

use super::backoff::CrashBackoff;
use super::images::ImageTable;
use crate::network::NetworkConfig;
use k8s_openapi::api::core::v1::Taint;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Settings shared by all nodes of one process.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Everything the runtime writes lies here. An absolute path.
    pub root: PathBuf,
    /// Which program stands for which image.
    pub images: ImageTable,
    /// The network's settings, its seed among them.
    pub network: NetworkConfig,
    /// The restart back-off.
    pub crash_backoff: CrashBackoff,
    /// What a process gets between SIGTERM and SIGKILL even when its pod is deleted at once.
    pub minimum_grace: Duration,
    /// How often a node renews its Lease.
    pub heartbeat: Duration,
    /// How long a Lease lasts without renewal.
    pub lease_duration: Duration,
    /// The window of CPU usage.
    pub usage_window: Duration,
    /// Bytes of one log file; a container's run keeps two.
    pub log_limit: u64,
}

impl RuntimeConfig {
    /// The kubelet's defaults, under `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            images: ImageTable::default(),
            network: NetworkConfig::default(),
            crash_backoff: CrashBackoff::default(),
            minimum_grace: Duration::from_secs(1),
            heartbeat: Duration::from_secs(10),
            lease_duration: Duration::from_secs(40),
            usage_window: Duration::from_secs(5),
            log_limit: 10 * 1024 * 1024,
        }
    }
}

/// One node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The Node's name.
    pub name: String,
    /// Labels besides the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
    /// CPU in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// How many pods fit.
    pub pods: u32,
}

impl NodeConfig {
    /// A node of 64 cores and 64 GiB: scheduling on one machine is about placement, not about its size.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            cpu_millis: 64_000,
            memory_bytes: 64 << 30,
            pods: 110,
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }
}
