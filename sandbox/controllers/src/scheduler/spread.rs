//! Topology spread constraints.

use super::affinity::node_matches;
use super::snapshot::{NodeInfo, Snapshot};
use crate::model::meta::{is_deleting, selects};
use k8s_openapi::api::core::v1::{Pod, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use std::collections::HashMap;

/// One constraint with the pods counted per domain.
pub(super) struct Spread<'a> {
    key: &'a str,
    max_skew: i64,
    counts: HashMap<&'a str, i64>,
    least: i64,
    own: i64,
}

impl<'a> Spread<'a> {
    /// The constraints of `pod` with the given `whenUnsatisfiable`, counted over the nodes that could hold it.
    pub(super) fn of(pod: &'a Pod, when: &str, snapshot: &'a Snapshot) -> Vec<Self> {
        let constraints = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.topology_spread_constraints.as_deref());
        let relevant: Vec<&TopologySpreadConstraint> = constraints
            .unwrap_or_default()
            .iter()
            .filter(|constraint| constraint.when_unsatisfiable == when)
            .collect();
        let keys: Vec<&str> = relevant
            .iter()
            .map(|constraint| constraint.topology_key.as_str())
            .collect();
        relevant
            .into_iter()
            .map(|constraint| Self::count(pod, constraint, &keys, snapshot))
            .collect()
    }

    fn count(pod: &'a Pod, constraint: &'a TopologySpreadConstraint, keys: &[&str], snapshot: &'a Snapshot) -> Self {
        let selector = selector(pod, constraint);
        let matching = |other: &Pod| {
            other.namespace() == pod.namespace() && !is_deleting(other) && selects(&selector, other.labels())
        };
        let honour = constraint.node_affinity_policy.as_deref() != Some("Ignore");
        let mut counts: HashMap<&str, i64> = HashMap::new();
        for node in &snapshot.nodes {
            let eligible =
                keys.iter().all(|key| node.labels.contains_key(*key)) && (!honour || node_matches(pod, node));
            if let Some(domain) = node.labels.get(&constraint.topology_key).filter(|_| eligible) {
                *counts.entry(domain).or_default() += node.pods.iter().filter(|other| matching(other)).count() as i64;
            }
        }
        let enough = constraint
            .min_domains
            .is_none_or(|least| counts.len() as i64 >= i64::from(least));
        let least = if enough {
            counts.values().copied().min().unwrap_or(0)
        } else {
            0
        };
        Self {
            key: &constraint.topology_key,
            max_skew: i64::from(constraint.max_skew),
            least,
            own: i64::from(selects(&selector, pod.labels())),
            counts,
        }
    }

    /// Why `node` is refused, if it is.
    pub(super) fn refusal(&self, node: &NodeInfo) -> Option<&'static str> {
        let Some(domain) = node.labels.get(self.key) else {
            return Some("node(s) didn't match pod topology spread constraints (missing required label)");
        };
        let here = self.counts.get(domain.as_str()).copied().unwrap_or(0);
        (here + self.own - self.least > self.max_skew).then_some("node(s) didn't match pod topology spread constraints")
    }

    /// How many matching pods share the domain of `node`; `None` where it has none.
    pub(super) fn crowd(&self, node: &NodeInfo) -> Option<i64> {
        let domain = node.labels.get(self.key)?;
        Some(self.counts.get(domain.as_str()).copied().unwrap_or(0))
    }
}

/// The selector, narrowed by `matchLabelKeys` to pods with the same values as this one.
fn selector(pod: &Pod, constraint: &TopologySpreadConstraint) -> LabelSelector {
    let mut selector = constraint.label_selector.clone().unwrap_or_default();
    for key in constraint.match_label_keys.iter().flatten() {
        if let Some(value) = pod.labels().get(key) {
            selector
                .match_labels
                .get_or_insert_default()
                .insert(key.clone(), value.clone());
        }
    }
    selector
}
