//! Which of the possible nodes is best: upstream's scores and weights, each normalised to 0..=100.

use super::affinity::{concerns, node_preference, preferred};
use super::requests::{self, Amounts};
use super::snapshot::{NodeInfo, Snapshot};
use super::spread::Spread;
use super::tolerate::matches;
use k8s_openapi::api::core::v1::{Pod, Toleration};

const MOST: i64 = 100;
/// What a pod without requests is taken to use, so that such pods spread out too: 100 millicores, 200 MB.
const DEFAULTS: [(&str, i64); 2] = [("cpu", 100), ("memory", 200 * 1024 * 1024 * 1000)];

/// One score per node of `nodes`, higher is better.
pub(super) fn scores(pod: &Pod, request: &Amounts, nodes: &[&NodeInfo], snapshot: &Snapshot) -> Vec<i64> {
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default();
    let spreads = Spread::of(pod, "ScheduleAnyway", snapshot);
    let terms = preferred(pod);
    let parts: [(i64, Vec<i64>); 5] = [
        (1, nodes.iter().map(|node| least_allocated(request, node)).collect()),
        (
            2,
            spread_out(nodes.iter().map(|node| node_preference(pod, node)).collect(), false),
        ),
        (
            3,
            spread_out(nodes.iter().map(|node| disliked(node, tolerations)).collect(), true),
        ),
        (2, crowding(&spreads, nodes)),
        (
            2,
            spread_out(
                nodes.iter().map(|node| company(pod, &terms, node, snapshot)).collect(),
                false,
            ),
        ),
    ];
    (0..nodes.len())
        .map(|index| parts.iter().map(|(weight, part)| weight * part[index]).sum())
        .collect()
}

/// The share of CPU and memory that stays free.
fn least_allocated(request: &Amounts, node: &NodeInfo) -> i64 {
    let free = DEFAULTS.iter().filter_map(|(resource, default)| {
        let has = node.allocatable.get(*resource).copied().filter(|has| *has > 0)?;
        let wants = request.get(*resource).copied().unwrap_or(*default);
        let used: i64 = node
            .pods
            .iter()
            .map(|pod| requests::of(pod).get(*resource).copied().unwrap_or(*default))
            .fold(wants, i64::saturating_add);
        Some(((i128::from(has - used.min(has)) * i128::from(MOST)) / i128::from(has)) as i64)
    });
    let shares: Vec<i64> = free.collect();
    if shares.is_empty() {
        0
    } else {
        shares.iter().sum::<i64>() / shares.len() as i64
    }
}

/// `PreferNoSchedule` taints the pod does not tolerate.
fn disliked(node: &NodeInfo, tolerations: &[Toleration]) -> i64 {
    let soft = node.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
    soft.filter(|taint| !tolerations.iter().any(|toleration| matches(toleration, taint)))
        .count() as i64
}

/// The weights of preferred pod affinity in the domains of `node`.
fn company(
    pod: &Pod,
    terms: &[(i64, &k8s_openapi::api::core::v1::PodAffinityTerm)],
    node: &NodeInfo,
    snapshot: &Snapshot,
) -> i64 {
    let mut sum = 0;
    for (weight, term) in terms {
        let Some(domain) = node.labels.get(&term.topology_key) else {
            continue;
        };
        let same = snapshot
            .nodes
            .iter()
            .filter(|other| other.labels.get(&term.topology_key) == Some(domain));
        let there = same
            .flat_map(|other| &other.pods)
            .filter(|other| concerns(term, pod, other))
            .count();
        sum += weight * there as i64;
    }
    sum
}

fn crowding(spreads: &[Spread<'_>], nodes: &[&NodeInfo]) -> Vec<i64> {
    let crowds: Vec<Option<i64>> = nodes
        .iter()
        .map(|node| spreads.iter().map(|spread| spread.crowd(node)).sum())
        .collect();
    // A node outside every domain gets nothing.
    let worst = crowds.iter().flatten().copied().max().unwrap_or(0) + 1;
    spread_out(crowds.into_iter().map(|crowd| crowd.unwrap_or(worst)).collect(), true)
}

/// Stretches values over 0..=100; all 0 when they do not differ.
fn spread_out(values: Vec<i64>, reverse: bool) -> Vec<i64> {
    let (Some(&least), Some(&most)) = (values.iter().min(), values.iter().max()) else {
        return values;
    };
    if least == most {
        return vec![0; values.len()];
    }
    let gain = |value: i64| if reverse { most - value } else { value - least };
    values
        .into_iter()
        .map(|value| gain(value) * MOST / (most - least))
        .collect()
}
