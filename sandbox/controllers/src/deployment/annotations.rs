//! What a Deployment writes on its ReplicaSets: revision, and the size it was scaled for.

use super::{bounds, wanted};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use std::collections::BTreeMap;

pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";

/// Not copied from the Deployment to its sets.
const OWN: [&str; 5] = [
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "kubectl.kubernetes.io/last-applied-configuration",
];

type Annotations = BTreeMap<String, String>;

pub(crate) fn revision(set: &ReplicaSet) -> i64 {
    number(set, REVISION).unwrap_or(0)
}

pub(crate) fn desired(set: &ReplicaSet) -> Option<i64> {
    number(set, DESIRED)
}

pub(crate) fn maximum(set: &ReplicaSet) -> Option<i64> {
    number(set, MAXIMUM)
}

fn number(set: &ReplicaSet, key: &str) -> Option<i64> {
    set.metadata.annotations.as_ref()?.get(key)?.parse().ok()
}

/// The annotations the set of the current template must carry at `revision`.
pub(crate) fn for_new(deployment: &Deployment, existing: Option<&ReplicaSet>, revision: i64) -> Annotations {
    let mut annotations = existing
        .and_then(|set| set.metadata.annotations.clone())
        .unwrap_or_default();
    let inherited = deployment.metadata.annotations.iter().flatten();
    for (key, value) in inherited.filter(|(key, _)| !OWN.contains(&key.as_str())) {
        annotations.insert(key.clone(), value.clone());
    }
    let old = existing.map_or(0, self::revision);
    if old < revision {
        annotations.insert(REVISION.into(), revision.to_string());
        if old > 0 {
            // A rollback: the set keeps the numbers it had before.
            let history = annotations.get(HISTORY).cloned().unwrap_or_default();
            let history = if history.is_empty() {
                old.to_string()
            } else {
                format!("{history},{old}")
            };
            annotations.insert(HISTORY.into(), history);
        }
    }
    annotations
}

/// The record of the size the set was last scaled for.
pub(crate) fn sizes(deployment: &Deployment) -> Annotations {
    let wanted = wanted(deployment);
    let (surge, _) = bounds(deployment);
    BTreeMap::from([
        (DESIRED.into(), wanted.to_string()),
        (MAXIMUM.into(), (wanted + surge).to_string()),
    ])
}
