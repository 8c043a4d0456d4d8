//! Which nodes can hold a pod at all, in the order of upstream's filter plugins; the first that refuses gives the reason.

use super::affinity::{concerns, node_matches, required_affinity, required_anti_affinity};
use super::requests::Amounts;
use super::snapshot::{NodeInfo, Snapshot};
use super::spread::Spread;
use super::tolerate::untolerated;
use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};
use std::collections::HashSet;

const AFFINITY: &str = "node(s) didn't match pod affinity rules";
const ANTI_AFFINITY: &str = "node(s) didn't match pod anti-affinity rules";
const OTHERS: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

/// (topology key, value) of a domain.
type Domain<'a> = (&'a str, &'a str);

/// Everything about the pod and the cluster that is the same for every node.
pub(super) struct Filter<'a> {
    pod: &'a Pod,
    request: &'a Amounts,
    tolerations: &'a [Toleration],
    spreads: Vec<Spread<'a>>,
    /// Per affinity term: its key and the values where a matching pod is; `None` for a term the pod may satisfy itself.
    near: Vec<Option<(&'a str, HashSet<&'a str>)>>,
    /// Domains with pods this one keeps away from.
    avoided: HashSet<Domain<'a>>,
    /// Domains whose pods keep away from this one.
    closed: HashSet<Domain<'a>>,
}

impl<'a> Filter<'a> {
    pub(super) fn new(pod: &'a Pod, request: &'a Amounts, snapshot: &'a Snapshot) -> Self {
        let tolerations = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.tolerations.as_deref())
            .unwrap_or_default();
        let mut filter = Self {
            pod,
            request,
            tolerations,
            spreads: Spread::of(pod, "DoNotSchedule", snapshot),
            near: Vec::new(),
            avoided: HashSet::new(),
            closed: HashSet::new(),
        };
        let all = || {
            snapshot
                .nodes
                .iter()
                .flat_map(|node| node.pods.iter().map(move |other| (node, other)))
        };
        let affinity = required_affinity(pod);
        let lonely = affinity.iter().all(|term| concerns(term, pod, pod))
            && !all().any(|(_, other)| affinity.iter().all(|term| concerns(term, pod, other)));
        for term in affinity {
            let key = term.topology_key.as_str();
            let values: HashSet<&str> = all()
                .filter(|(_, other)| concerns(term, pod, other))
                .filter_map(|(node, _)| node.labels.get(key).map(String::as_str))
                .collect();
            // The first of a group that wants to be together has nobody to join.
            filter
                .near
                .push((!(lonely && values.is_empty())).then_some((key, values)));
        }
        for (node, other) in all() {
            let domain = |key: &'a str| node.labels.get(key).map(|value| (key, value.as_str()));
            let mine = required_anti_affinity(pod)
                .iter()
                .filter(|term| concerns(term, pod, other));
            filter
                .avoided
                .extend(mine.filter_map(|term| domain(&term.topology_key)));
            let theirs = required_anti_affinity(other)
                .iter()
                .filter(|term| concerns(term, other, pod));
            filter
                .closed
                .extend(theirs.filter_map(|term| domain(&term.topology_key)));
        }
        filter
    }

    /// Why `node` cannot hold the pod; empty when it can.
    pub(super) fn refusals(&self, node: &NodeInfo) -> Vec<String> {
        let cordon = Taint {
            key: "node.kubernetes.io/unschedulable".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        if node.unschedulable && untolerated(std::slice::from_ref(&cordon), self.tolerations, &["NoSchedule"]).is_some()
        {
            return vec!["node(s) were unschedulable".into()];
        }
        if let Some(taint) = untolerated(&node.taints, self.tolerations, &["NoSchedule", "NoExecute"]) {
            let value = taint.value.as_deref().unwrap_or("");
            return vec![format!("node(s) had untolerated taint {{{}: {value}}}", taint.key)];
        }
        if !node_matches(self.pod, node) {
            return vec!["node(s) didn't match Pod's node affinity/selector".into()];
        }
        let lacking = self.lacking(node);
        if !lacking.is_empty() {
            return lacking;
        }
        if let Some(reason) = self.spreads.iter().find_map(|spread| spread.refusal(node)) {
            return vec![reason.into()];
        }
        let value = |key: &str| node.labels.get(key).map(String::as_str);
        let near = |term: &Option<(&str, HashSet<&str>)>| {
            term.as_ref()
                .is_none_or(|(key, values)| value(key).is_some_and(|value| values.contains(value)))
        };
        if !self.near.iter().all(near) {
            return vec![AFFINITY.into()];
        }
        if self.avoided.iter().any(|(key, domain)| value(key) == Some(domain)) {
            return vec![ANTI_AFFINITY.into()];
        }
        if self.closed.iter().any(|(key, domain)| value(key) == Some(domain)) {
            return vec![OTHERS.into()];
        }
        Vec::new()
    }

    fn lacking(&self, node: &NodeInfo) -> Vec<String> {
        let mut reasons = Vec::new();
        // A node that does not say how many pods it can hold is taken at its word for everything else.
        if node
            .allocatable
            .get("pods")
            .is_some_and(|most| (node.pods.len() as i64 + 1).saturating_mul(1000) > *most)
        {
            reasons.push("Too many pods".into());
        }
        for (resource, amount) in self.request.iter().filter(|(_, amount)| **amount > 0) {
            let has = node.allocatable.get(resource).copied().unwrap_or(0);
            let used = node.used.get(resource).copied().unwrap_or(0);
            if amount.saturating_add(used) > has {
                reasons.push(format!("Insufficient {resource}"));
            }
        }
        reasons
    }
}
