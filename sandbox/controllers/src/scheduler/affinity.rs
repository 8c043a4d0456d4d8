//! Node affinity, and the terms of pod affinity and anti-affinity.

use super::snapshot::NodeInfo;
use crate::model::meta::selects;
use k8s_openapi::api::core::v1::{
    NodeSelectorRequirement, NodeSelectorTerm, Pod, PodAffinityTerm, WeightedPodAffinityTerm,
};
use kube::ResourceExt;

/// The node satisfies `nodeSelector` and the required node affinity.
pub(super) fn node_matches(pod: &Pod, node: &NodeInfo) -> bool {
    let Some(spec) = pod.spec.as_ref() else { return true };
    let selected = spec
        .node_selector
        .iter()
        .flatten()
        .all(|(key, value)| node.labels.get(key) == Some(value));
    let affinity = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|required| required.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

/// The sum of the weights of the preferred node affinity terms that `node` satisfies.
pub(super) fn node_preference(pod: &Pod, node: &NodeInfo) -> i64 {
    let affinity = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref());
    let preferred =
        affinity.and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
    let fitting = preferred
        .into_iter()
        .flatten()
        .filter(|term| term_matches(&term.preference, node));
    fitting.map(|term| i64::from(term.weight)).sum()
}

/// All expressions and fields hold; an empty term holds nowhere.
fn term_matches(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions
        .iter()
        .all(|expression| holds(expression, node.labels.get(&expression.key).map(String::as_str)))
        && fields
            .iter()
            .all(|field| holds(field, (field.key == "metadata.name").then_some(node.name.as_str())))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|candidate| candidate == value));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let limit = number(values.first().map(String::as_str));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number(value).zip(limit).is_some_and(|(value, limit)| value > limit),
        "Lt" => number(value).zip(limit).is_some_and(|(value, limit)| value < limit),
        _ => false,
    }
}

/// Whether `term`, written on `owner`, is about `other`.
pub(super) fn concerns(term: &PodAffinityTerm, owner: &Pod, other: &Pod) -> bool {
    let (home, away) = (owner.namespace(), other.namespace());
    let listed = term.namespaces.as_deref().unwrap_or_default();
    // An empty namespace selector means all; one with requirements would need the namespaces' labels: taken as all.
    let in_scope = term.namespace_selector.is_some()
        || if listed.is_empty() {
            home == away
        } else {
            away.is_some_and(|away| listed.contains(&away))
        };
    in_scope
        && term
            .label_selector
            .as_ref()
            .is_some_and(|selector| selects(selector, other.labels()))
}

pub(super) fn required_affinity(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.affinity.as_ref()?.pod_affinity.as_ref());
    let terms = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_deref());
    terms.unwrap_or_default()
}

pub(super) fn required_anti_affinity(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.affinity.as_ref()?.pod_anti_affinity.as_ref());
    let terms = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_deref());
    terms.unwrap_or_default()
}

/// Preferred terms with their weights; those of anti-affinity count negative.
pub(super) fn preferred(pod: &Pod) -> Vec<(i64, &PodAffinityTerm)> {
    let Some(affinity) = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()) else {
        return Vec::new();
    };
    let near = affinity.pod_affinity.as_ref();
    let near = near.and_then(|near| near.preferred_during_scheduling_ignored_during_execution.as_deref());
    let far = affinity.pod_anti_affinity.as_ref();
    let far = far.and_then(|far| far.preferred_during_scheduling_ignored_during_execution.as_deref());
    let weigh = |sign: i64| move |term: &'_ WeightedPodAffinityTerm| -> i64 { sign * i64::from(term.weight) };
    let near = near
        .unwrap_or_default()
        .iter()
        .map(|term| (weigh(1)(term), &term.pod_affinity_term));
    let far = far
        .unwrap_or_default()
        .iter()
        .map(|term| (weigh(-1)(term), &term.pod_affinity_term));
    near.chain(far).collect()
}
