//! The scheduler: filters, scores, one decision per pod.
//!
//! Not there: preemption, volume topology, host ports, resource claims.

mod affinity;
mod filter;
mod requests;
pub(crate) mod run;
mod score;
pub(crate) mod snapshot;
mod spread;
mod tolerate;

pub(crate) use tolerate::matches as tolerates;

use k8s_openapi::api::core::v1::Pod;
use snapshot::Snapshot;
use std::collections::BTreeMap;

/// Why no node will have the pod: how many nodes there are, and each reason with the number of nodes it rules out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) nodes: usize,
    pub(crate) reasons: BTreeMap<String, usize>,
}

impl std::fmt::Display for Why {
    /// The wording of upstream's scheduler, which people search for.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let mut reasons: Vec<String> = self
            .reasons
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        reasons.sort();
        write!(f, "0/{} nodes are available: {}.", self.nodes, reasons.join(", "))
    }
}

/// The best node for `pod`. Among equals the one with the fewest pods, then the first by name: equal snapshots give
/// equal decisions.
pub(crate) fn schedule(pod: &Pod, snapshot: &Snapshot) -> Result<String, Why> {
    let request = requests::of(pod);
    let filter = filter::Filter::new(pod, &request, snapshot);
    let mut why = Why {
        nodes: snapshot.nodes.len(),
        ..Why::default()
    };
    let mut feasible = Vec::new();
    for node in &snapshot.nodes {
        let reasons = filter.refusals(node);
        if reasons.is_empty() {
            feasible.push(node);
        }
        for reason in reasons {
            *why.reasons.entry(reason).or_default() += 1;
        }
    }
    let scores = score::scores(pod, &request, &feasible, snapshot);
    let best = feasible.iter().zip(scores).max_by(|(a, a_score), (b, b_score)| {
        let fewer = b.pods.len().cmp(&a.pods.len());
        a_score.cmp(b_score).then(fewer).then_with(|| b.name.cmp(&a.name))
    });
    best.map(|(node, _)| node.name.clone()).ok_or(why)
}

#[cfg(test)]
mod tests;
