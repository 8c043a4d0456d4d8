//! From an action to what is sent to the cluster: pure.

use std::time::Duration;

use chaos_mesh_rs::{
    NetworkChaos, PodChaos,
    fault::{brown_out, delay, partition, pod_kill},
    selector::PodSelector,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use showrunner_crds::{duration::GoDuration, labels, scenario::FaultAction};

use super::Undo;

/// Time beyond a fault's own duration after which Chaos Mesh takes it back by itself: the net under our own undo.
pub(super) const BACKSTOP: Duration = Duration::from_secs(120);

/// One mutation.
#[derive(Clone, Debug)]
pub enum Experiment {
    /// A NetworkChaos to create.
    Network(Box<NetworkChaos>),
    /// A PodChaos to create.
    Pod(Box<PodChaos>),
    /// Caches to flush, by pod name.
    Flush(Vec<String>),
}

impl Experiment {
    /// What takes it back.
    #[must_use]
    pub fn undo(&self) -> Undo {
        let delete = |kind: &str, meta: &kube::api::ObjectMeta| Undo::DeleteChaos {
            kind: kind.to_owned(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        };
        match self {
            Experiment::Network(chaos) => delete("NetworkChaos", &chaos.metadata),
            Experiment::Pod(chaos) => delete("PodChaos", &chaos.metadata),
            Experiment::Flush(_) => Undo::SelfHealing,
        }
    }

    /// Marks the object as the run's, and as its Drill's: whoever deletes the Drill has it taken back.
    #[must_use]
    pub fn of_run(mut self, run: &str, owner: Option<OwnerReference>) -> Self {
        let meta = match &mut self {
            Experiment::Network(chaos) => &mut chaos.metadata,
            Experiment::Pod(chaos) => &mut chaos.metadata,
            Experiment::Flush(_) => return self,
        };
        let labels = meta.labels.get_or_insert_default();
        labels.insert(labels::RUN.to_owned(), run.to_owned());
        meta.owner_references = owner.map(|owner| vec![owner]);
        self
    }
}

/// The mutation that does `action` to pods of one namespace. `name` is the new object's; `lasts` the fault's duration.
#[must_use]
pub fn experiment(action: &FaultAction, name: &str, namespace: &str, pods: &[String], lasts: Duration) -> Experiment {
    let selector = PodSelector::names(namespace, pods.to_vec());
    let millis = |ms: u32| Duration::from_millis(u64::from(ms));
    let network = |mut chaos: NetworkChaos| {
        chaos.spec.duration = Some(GoDuration(lasts + BACKSTOP).to_string());
        Experiment::Network(Box::new(chaos))
    };
    match action {
        FaultAction::RegionLoss { .. } | FaultAction::NetworkPartition { .. } => {
            network(partition(name, namespace, selector))
        }
        FaultAction::NetworkDelay {
            latency_ms, jitter_ms, ..
        } => network(delay(
            name,
            namespace,
            selector,
            millis(*latency_ms),
            millis(*jitter_ms),
        )),
        FaultAction::ServiceBrownOut {
            latency_ms,
            loss_percent,
            ..
        } => network(brown_out(
            name,
            namespace,
            selector,
            millis(*latency_ms),
            f64::from(*loss_percent),
        )),
        FaultAction::PodKill { .. } => Experiment::Pod(Box::new(pod_kill(name, namespace, selector, Duration::ZERO))),
        FaultAction::CacheFlush { .. } => Experiment::Flush(pods.to_vec()),
    }
}

/// Whether a fault keeps an object in the cluster while it lasts; the others happen in an instant.
#[must_use]
pub fn lasting(action: &FaultAction) -> bool {
    !matches!(action, FaultAction::PodKill { .. } | FaultAction::CacheFlush { .. })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn pods() -> Vec<String> {
        vec!["edge-0".into(), "edge-1".into()]
    }

    #[test]
    fn a_lost_region_is_a_partition_of_named_pods_with_a_backstop() {
        let action = FaultAction::RegionLoss { region: "eu".into() };
        let Experiment::Network(chaos) = experiment(&action, "x", "cinema", &pods(), Duration::from_secs(30)) else {
            panic!("not a NetworkChaos");
        };
        assert_eq!(chaos.spec.selector.pods["cinema"], pods());
        assert_eq!(chaos.spec.duration.as_deref(), Some("2m30s"));
        assert!(
            chaos.spec.target.is_none(),
            "a partition without a target isolates entirely"
        );
    }

    #[test]
    fn the_undo_names_the_object_that_is_created() {
        let action = FaultAction::NetworkDelay {
            role: showrunner_crds::platform::Role::Edge,
            region: None,
            latency_ms: 100,
            jitter_ms: 10,
        };
        let undo = experiment(&action, "slow-1", "cinema", &pods(), Duration::ZERO).undo();
        assert_eq!(
            undo,
            Undo::DeleteChaos {
                kind: "NetworkChaos".into(),
                namespace: "cinema".into(),
                name: "slow-1".into()
            }
        );
    }
}
