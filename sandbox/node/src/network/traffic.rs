//! Counters of what each pod sent and received through the proxies.

use crate::key::PodKey;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Live counters of one pod.
#[derive(Debug, Default)]
pub struct PodCounters {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) opened: AtomicU64,
    pub(crate) open: AtomicU64,
}

/// A reading of one pod's counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodTraffic {
    /// The pod.
    pub pod: PodKey,
    /// Bytes the pod sent, to pods and to the outside.
    pub bytes_sent: u64,
    /// Bytes the pod received.
    pub bytes_received: u64,
    /// Connections ever made to or from the pod.
    pub connections_total: u64,
    /// Connections open now.
    pub connections_open: u64,
}

/// The counters of all pods.
#[derive(Debug, Default)]
pub struct Traffic {
    pods: Mutex<HashMap<PodKey, Arc<PodCounters>>>,
}

impl Traffic {
    /// The counters of `pod`, created at first use.
    pub fn of(&self, pod: &PodKey) -> Arc<PodCounters> {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = pods.get(pod) {
            return Arc::clone(counters);
        }
        Arc::clone(pods.entry(pod.clone()).or_default())
    }

    /// Drops the counters of a pod that is gone.
    pub fn forget(&self, pod: &PodKey) {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner).remove(pod);
    }

    /// A reading of every pod, sorted by name.
    pub fn read(&self) -> Vec<PodTraffic> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<PodTraffic> = pods
            .iter()
            .map(|(pod, counters)| PodTraffic {
                pod: pod.clone(),
                bytes_sent: counters.sent.load(Ordering::Relaxed),
                bytes_received: counters.received.load(Ordering::Relaxed),
                connections_total: counters.opened.load(Ordering::Relaxed),
                connections_open: counters.open.load(Ordering::Relaxed),
            })
            .collect();
        all.sort_by(|a, b| a.pod.cmp(&b.pod));
        all
    }
}

/// Counts one connection of a pod for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenGuard(Arc<PodCounters>);

impl OpenGuard {
    pub(crate) fn new(counters: Arc<PodCounters>) -> Self {
        counters.opened.fetch_add(1, Ordering::Relaxed);
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self(counters)
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
