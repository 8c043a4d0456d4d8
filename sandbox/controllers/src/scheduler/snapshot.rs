//! The cluster at one moment, as the scheduler sees it.

use super::requests::{self, Amounts};
use crate::model::pod::{is_finished, node_name};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::ResourceExt;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A node and what runs there.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeInfo {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Taint>,
    pub(crate) unschedulable: bool,
    pub(crate) allocatable: Amounts,
    pub(crate) used: Amounts,
    /// Pods that hold resources here, terminating ones among them.
    pub(crate) pods: Vec<Arc<Pod>>,
}

/// All nodes, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) nodes: Vec<NodeInfo>,
}

impl Snapshot {
    /// `assumed` places pods (by uid) that were bound a moment ago and do not show their node yet.
    pub(crate) fn new(nodes: &[Arc<Node>], pods: &[Arc<Pod>], assumed: &HashMap<String, String>) -> Self {
        let mut infos: BTreeMap<String, NodeInfo> = nodes
            .iter()
            .map(|node| (node.name_any(), NodeInfo::new(node)))
            .collect();
        for pod in pods.iter().filter(|pod| !is_finished(pod)) {
            let mut name = node_name(pod);
            if name.is_empty() {
                let uid = pod.metadata.uid.as_deref().unwrap_or_default();
                name = assumed.get(uid).map_or("", String::as_str);
            }
            if let Some(info) = infos.get_mut(name) {
                info.place(Arc::clone(pod));
            }
        }
        Self {
            nodes: infos.into_values().collect(),
        }
    }
}

impl NodeInfo {
    fn new(node: &Node) -> Self {
        let spec = node.spec.clone().unwrap_or_default();
        let status = node.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        Self {
            name: node.name_any(),
            labels: node.labels().clone(),
            taints: spec.taints.unwrap_or_default(),
            unschedulable: spec.unschedulable.unwrap_or(false),
            allocatable: requests::amounts(allocatable),
            used: Amounts::new(),
            pods: Vec::new(),
        }
    }

    /// Accounts for a pod on this node.
    pub(crate) fn place(&mut self, pod: Arc<Pod>) {
        requests::add(&mut self.used, &requests::of(&pod));
        self.pods.push(pod);
    }
}
