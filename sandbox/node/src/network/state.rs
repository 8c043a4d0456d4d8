//! What every connection consults: faults, bandwidth limits, and the buckets they share.

use super::bucket::TokenBucket;
use super::fault::{Effective, FaultSet};
use crate::key::{Peer, PodKey};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Bandwidth a pod asked for by annotation, in bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodLimits {
    /// `kubernetes.io/egress-bandwidth`.
    pub egress: Option<u64>,
    /// `kubernetes.io/ingress-bandwidth`.
    pub ingress: Option<u64>,
}

/// Everything that shapes traffic, replaced as a whole on each change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    /// Faults in force.
    pub(crate) faults: FaultSet,
    /// Bandwidth by pod.
    pub(crate) limits: HashMap<PodKey, PodLimits>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum BucketKey {
    Egress(PodKey),
    Ingress(PodKey),
    Fault { fault: String, rule: usize, sender: Peer },
}

/// A bucket shared between connections.
pub(crate) type SharedBucket = Arc<Mutex<TokenBucket>>;

/// What one way of a connection is under, resolved for the current conditions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    pub(crate) effective: Effective,
    pub(crate) buckets: Vec<SharedBucket>,
}

impl Way {
    /// Bytes pass as fast as the kernel moves them.
    pub(crate) fn is_clear(&self) -> bool {
        self.effective.is_clear() && self.buckets.is_empty()
    }
}

/// The shared state and its change signal.
#[derive(Debug)]
pub(crate) struct SharedState {
    conditions: watch::Sender<Arc<Conditions>>,
    buckets: Mutex<HashMap<BucketKey, SharedBucket>>,
    burst: Duration,
}

impl SharedState {
    pub(crate) fn new(burst: Duration) -> Self {
        Self {
            conditions: watch::Sender::new(Arc::default()),
            buckets: Mutex::default(),
            burst,
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Conditions>> {
        self.conditions.subscribe()
    }

    pub(crate) fn current(&self) -> Arc<Conditions> {
        Arc::clone(&self.conditions.borrow())
    }

    /// Changes the conditions; connections learn of it only if `change` says that something changed.
    pub(crate) fn modify(&self, change: impl FnOnce(&mut Conditions) -> bool) -> bool {
        self.conditions.send_if_modified(|current| {
            let mut next = Conditions::clone(current);
            let changed = change(&mut next);
            if changed {
                *current = Arc::new(next);
            }
            changed
        })
    }

    /// Resolves what bytes from `from` to `to` are under.
    pub(crate) fn way(&self, conditions: &Conditions, from: &Peer, to: &Peer) -> Way {
        let effective = conditions.faults.effective(from, to);
        let mut wanted = Vec::new();
        for limit in &effective.rates {
            let key = BucketKey::Fault {
                fault: limit.fault.clone(),
                rule: limit.rule,
                sender: from.clone(),
            };
            wanted.push((key, limit.bytes_per_second));
        }
        if let Peer::Pod(pod) = from
            && let Some(rate) = conditions.limits.get(pod).and_then(|limits| limits.egress)
        {
            wanted.push((BucketKey::Egress(pod.clone()), rate));
        }
        if let Peer::Pod(pod) = to
            && let Some(rate) = conditions.limits.get(pod).and_then(|limits| limits.ingress)
        {
            wanted.push((BucketKey::Ingress(pod.clone()), rate));
        }
        let buckets = if wanted.is_empty() {
            Vec::new()
        } else {
            self.buckets(wanted)
        };
        Way { effective, buckets }
    }

    fn buckets(&self, wanted: Vec<(BucketKey, u64)>) -> Vec<SharedBucket> {
        let mut all = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        // Buckets no connection holds any more belong to faults and pods that are gone.
        if all.len() > 1024 {
            all.retain(|_, bucket| Arc::strong_count(bucket) > 1);
        }
        wanted
            .into_iter()
            .map(|(key, rate)| {
                let bucket = all
                    .entry(key)
                    .or_insert_with(|| Arc::new(Mutex::new(TokenBucket::new(rate, self.burst))));
                let mut inner = bucket.lock().unwrap_or_else(PoisonError::into_inner);
                if inner.rate() != rate {
                    inner.set_rate(rate);
                }
                drop(inner);
                Arc::clone(bucket)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::network::fault::{FaultRule, Impairment, PeerSet};

    #[test]
    fn connections_of_one_pod_share_its_egress_bucket() {
        let state = SharedState::new(Duration::ZERO);
        let (a, b) = (PodKey::new("ns", "a"), PodKey::new("ns", "b"));
        state.modify(|c| {
            c.limits
                .insert(
                    a.clone(),
                    PodLimits {
                        egress: Some(1000),
                        ingress: None,
                    },
                )
                .is_none()
        });
        let conditions = state.current();
        let out = state.way(&conditions, &Peer::Pod(a.clone()), &Peer::External);
        let other = state.way(&conditions, &Peer::Pod(a.clone()), &Peer::Pod(b.clone()));
        assert!(Arc::ptr_eq(&out.buckets[0], &other.buckets[0]));
        assert!(
            state.way(&conditions, &Peer::External, &Peer::Pod(a)).is_clear(),
            "ingress is unlimited"
        );
        assert!(state.way(&conditions, &Peer::Pod(b), &Peer::External).is_clear());
    }

    #[test]
    fn a_fault_rate_is_per_sender() {
        let state = SharedState::new(Duration::ZERO);
        let rule = FaultRule {
            from: PeerSet::Any,
            to: PeerSet::Any,
            impairment: Impairment {
                rate: Some(5),
                ..Impairment::default()
            },
        };
        state.modify(|c| {
            c.faults.set("slow", vec![rule]);
            true
        });
        let conditions = state.current();
        let way = |from: &str| state.way(&conditions, &Peer::Pod(PodKey::new("ns", from)), &Peer::External);
        assert!(Arc::ptr_eq(&way("a").buckets[0], &way("a").buckets[0]));
        assert!(!Arc::ptr_eq(&way("a").buckets[0], &way("b").buckets[0]));
    }
}
