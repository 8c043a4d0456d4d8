//! Settings, with Kubernetes' defaults unless said otherwise.

use showrunner_autoscaling::hpa;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Settings of all controllers and the scheduler.
#[derive(Clone, Debug)]
pub struct ControllersConfig {
    /// The field manager of all writes.
    pub field_manager: String,
    /// How many objects one controller works on at the same time.
    pub workers: usize,
    /// How long an object rests after an event before it is looked at, so that a burst becomes one reconciliation.
    pub debounce: Duration,
    /// How often autoscalers are evaluated (upstream: 15 s).
    pub hpa_sync_period: Duration,
    /// The flags of the autoscaling algorithm itself (tolerance, initialisation and stabilisation periods).
    pub hpa_settings: hpa::Settings,
    /// How long a node may be silent before its state counts as unknown (upstream: 40 s).
    pub node_grace_period: Duration,
    /// How often silent nodes are looked for (upstream: 5 s).
    pub node_monitor_period: Duration,
    /// For a pod that says nothing about an unreachable or not ready node: how long it stays (upstream's default
    /// tolerations: 300 s).
    pub default_toleration: Duration,
    /// How long pods bound to a node that does not exist are kept (upstream's pod collector: 40 s).
    pub orphan_pod_grace: Duration,
    /// Where load balancer addresses come from: network and prefix length.
    pub load_balancer_range: (Ipv4Addr, u8),
    /// Create the claims of a StatefulSet's volumeClaimTemplates *and* mark them Bound. There is no volume provisioner
    /// in a sandbox; against a cluster that has one, switch this off.
    pub bind_claims: bool,
    /// Longest pause before an unschedulable pod is tried again without any change in the cluster (upstream: 5 min;
    /// changes of nodes and pods trigger a try at once).
    pub unschedulable_retry: Duration,
    /// First pause before a failed Job pod is replaced; doubles with each failure, up to ten
    /// minutes (upstream: 10 s).
    pub job_backoff: Duration,
}

impl Default for ControllersConfig {
    fn default() -> Self {
        Self {
            field_manager: "sandbox-controllers".into(),
            workers: 8,
            debounce: Duration::from_millis(2),
            hpa_sync_period: Duration::from_secs(15),
            hpa_settings: hpa::Settings::default(),
            node_grace_period: Duration::from_secs(40),
            node_monitor_period: Duration::from_secs(5),
            default_toleration: Duration::from_mins(5),
            orphan_pod_grace: Duration::from_secs(40),
            load_balancer_range: (Ipv4Addr::new(127, 30, 0, 0), 16),
            bind_claims: true,
            unschedulable_retry: Duration::from_mins(1),
            job_backoff: Duration::from_secs(10),
        }
    }
}
