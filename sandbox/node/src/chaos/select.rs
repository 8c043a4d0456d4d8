//! Which pods an experiment is about: pure, and the same choice for the same seed.

use chaos_mesh_rs::selector::{Mode, ModeError, PodSelector};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
use kube::ResourceExt;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

/// A selector that cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// A field that pods cannot be selected by.
    #[error("pods cannot be selected by field `{0}`")]
    UnknownField(String),
    /// An operator that set-based selectors do not have.
    #[error("`{0}` is no operator of an expression selector (In, NotIn, Exists and DoesNotExist are)")]
    UnknownOperator(String),
    /// The mode's value.
    #[error(transparent)]
    Mode(#[from] ModeError),
}

/// The pods that match, sorted by namespace and name. `own` is the experiment's namespace.
pub fn matching<'a>(
    selector: &PodSelector,
    own: &str,
    pods: &'a [Pod],
    nodes: &[Node],
) -> Result<Vec<&'a Pod>, SelectError> {
    let mut found = Vec::new();
    for pod in pods {
        if matches(selector, own, pod, nodes)? {
            found.push(pod);
        }
    }
    found.sort_by_key(|pod| (pod.namespace(), pod.name_any()));
    Ok(found)
}

fn matches(selector: &PodSelector, own: &str, pod: &Pod, nodes: &[Node]) -> Result<bool, SelectError> {
    let PodSelector {
        namespaces,
        nodes: node_names,
        pods,
        node_selectors,
        field_selectors,
        label_selectors,
        expression_selectors,
        annotation_selectors,
        pod_phase_selectors,
    } = selector;
    let namespace = pod.namespace().unwrap_or_default();
    if !pods.is_empty() {
        return Ok(pods
            .get(&namespace)
            .is_some_and(|names| names.contains(&pod.name_any())));
    }
    let in_namespace = if namespaces.is_empty() {
        namespace == own
    } else {
        namespaces.contains(&namespace)
    };
    let node_name = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default();
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default();
    let node_matches = node_selectors.is_empty()
        || nodes
            .iter()
            .any(|node| node.name_any() == node_name && contains(node.labels(), node_selectors));
    let mut matched = in_namespace
        && node_matches
        && (node_names.is_empty() || node_names.iter().any(|name| name == node_name))
        && contains(pod.labels(), label_selectors)
        && contains(pod.annotations(), annotation_selectors)
        && (pod_phase_selectors.is_empty() || pod_phase_selectors.iter().any(|wanted| wanted == phase));
    // Malformed parts are errors whether or not the rest matches.
    for requirement in expression_selectors {
        matched &= expression(requirement, pod.labels())?;
    }
    for (path, wanted) in field_selectors {
        matched &= field(pod, path)? == *wanted;
    }
    Ok(matched)
}

fn contains(actual: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| actual.get(key) == Some(value))
}

fn expression(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> Result<bool, SelectError> {
    let value = labels.get(&requirement.key);
    let listed = || value.is_some_and(|value| requirement.values.iter().flatten().any(|wanted| wanted == value));
    match requirement.operator.as_str() {
        "In" => Ok(listed()),
        // As in Kubernetes, a pod without the label is not in.
        "NotIn" => Ok(!listed()),
        "Exists" => Ok(value.is_some()),
        "DoesNotExist" => Ok(value.is_none()),
        other => Err(SelectError::UnknownOperator(other.to_owned())),
    }
}

fn field(pod: &Pod, path: &str) -> Result<String, SelectError> {
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let value = match path {
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.metadata.namespace.clone(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.restartPolicy" => spec.and_then(|spec| spec.restart_policy.clone()),
        "spec.schedulerName" => spec.and_then(|spec| spec.scheduler_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.phase" => status.and_then(|status| status.phase.clone()),
        "status.podIP" => status.and_then(|status| status.pod_ip.clone()),
        other => return Err(SelectError::UnknownField(other.to_owned())),
    };
    Ok(value.unwrap_or_default())
}

/// Chooses among the matching pods. The same seed and name choose the same pods.
pub fn choose<'a>(
    mut pods: Vec<&'a Pod>,
    mode: Mode,
    value: Option<&str>,
    seed: u64,
    name: &str,
) -> Result<Vec<&'a Pod>, SelectError> {
    let most = mode.count(value, pods.len())?;
    let mut rng = SmallRng::seed_from_u64(seed ^ fnv1a(name));
    let count = if mode == Mode::RandomMaxPercent {
        rng.random_range(0..=most)
    } else {
        most
    };
    if count < pods.len() {
        pods.shuffle(&mut rng);
        pods.truncate(count);
        pods.sort_by_key(|pod| (pod.namespace(), pod.name_any()));
    }
    Ok(pods)
}

/// A hash that never changes, unlike the standard library's.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn pods() -> Vec<Pod> {
        let pod = |namespace: &str, name: &str, app: &str, node: &str, phase: &str| {
            serde_json::from_value(json!({
                "metadata": {"namespace": namespace, "name": name, "labels": {"app": app}, "annotations": {"a": name}},
                "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase}
            }))
            .unwrap()
        };
        vec![
            pod("x", "web-2", "web", "n2", "Running"),
            pod("x", "web-1", "web", "n1", "Running"),
            pod("x", "db-1", "db", "n1", "Pending"),
            pod("y", "web-1", "web", "n1", "Running"),
        ]
    }

    fn found(selector: Value) -> Result<Vec<String>, SelectError> {
        let selector: PodSelector = serde_json::from_value(selector).unwrap();
        let nodes = [serde_json::from_value(json!({"metadata": {"name": "n1", "labels": {"zone": "a"}}})).unwrap()];
        let pods = pods();
        let found = matching(&selector, "x", &pods, &nodes)?;
        Ok(found
            .iter()
            .map(|pod| format!("{}/{}", pod.namespace().unwrap(), pod.name_any()))
            .collect())
    }

    #[test]
    fn every_part_of_a_selector() {
        for (selector, expected) in [
            (json!({}), vec!["x/db-1", "x/web-1", "x/web-2"]),
            (
                json!({"namespaces": ["x", "y"], "labelSelectors": {"app": "web"}}),
                vec!["x/web-1", "x/web-2", "y/web-1"],
            ),
            (
                json!({"expressionSelectors": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}),
                vec!["x/db-1"],
            ),
            (
                json!({"expressionSelectors": [{"key": "app", "operator": "In", "values": ["db"]}]}),
                vec!["x/db-1"],
            ),
            (
                json!({"expressionSelectors": [{"key": "none", "operator": "Exists"}]}),
                vec![],
            ),
            (json!({"annotationSelectors": {"a": "web-2"}}), vec!["x/web-2"]),
            (json!({"nodes": ["n2"]}), vec!["x/web-2"]),
            (json!({"nodeSelectors": {"zone": "a"}}), vec!["x/db-1", "x/web-1"]),
            (json!({"podPhaseSelectors": ["Pending"]}), vec!["x/db-1"]),
            (
                json!({"fieldSelectors": {"spec.nodeName": "n1", "status.phase": "Running"}}),
                vec!["x/web-1"],
            ),
            (
                json!({"pods": {"y": ["web-1"]}, "labelSelectors": {"app": "db"}}),
                vec!["y/web-1"],
            ),
        ] {
            assert_eq!(found(selector.clone()).unwrap(), expected, "{selector}");
        }
    }

    #[test]
    fn malformed_parts_are_errors() {
        assert!(matches!(
            found(json!({"fieldSelectors": {"spec.x": "1"}})),
            Err(SelectError::UnknownField(_))
        ));
        let operator = json!({"expressionSelectors": [{"key": "a", "operator": "Like"}]});
        assert!(matches!(found(operator), Err(SelectError::UnknownOperator(_))));
    }

    proptest! {
        #[test]
        fn choices_are_repeatable_and_of_the_right_size(seed: u64, percent in 0usize..=100) {
            let pods = pods();
            let all: Vec<&Pod> = pods.iter().collect();
            let value = percent.to_string();
            let pick = |mode| choose(all.clone(), mode, Some(&value), seed, "c").unwrap();
            prop_assert_eq!(pick(Mode::FixedPercent).len(), 4 * percent / 100);
            prop_assert_eq!(pick(Mode::FixedPercent), pick(Mode::FixedPercent));
            prop_assert!(pick(Mode::RandomMaxPercent).len() <= 4 * percent / 100);
            prop_assert_eq!(pick(Mode::One).len(), 1);
            prop_assert_eq!(pick(Mode::All).len(), 4);
        }
    }

    #[test]
    fn different_seeds_choose_differently() {
        let pods = pods();
        let all: Vec<&Pod> = pods.iter().collect();
        let picks: std::collections::BTreeSet<String> = (0..32)
            .map(|seed| choose(all.clone(), Mode::One, None, seed, "c").unwrap()[0].name_any())
            .collect();
        assert!(picks.len() > 1, "{picks:?}");
    }
}
