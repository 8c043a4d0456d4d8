//! Ownership and selection.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::core::{Selector, SelectorExt};
use kube::{Resource, ResourceExt};
use std::collections::BTreeMap;

/// The reference of the controller that manages this object, if one does.
pub(crate) fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    let owners = object.meta().owner_references.as_deref()?;
    owners.iter().find(|owner| owner.controller == Some(true))
}

/// Whether the object with `uid` manages `object`.
pub(crate) fn is_controlled_by<K: Resource>(object: &K, uid: &str) -> bool {
    controller_of(object).is_some_and(|owner| owner.uid == uid)
}

/// The reference that makes `owner` the managing controller.
pub(crate) fn controller_ref<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

pub(crate) fn is_deleting<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// Whether `labels` satisfy `selector`. A selector that does not parse selects nothing.
pub(crate) fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

/// As [`selects`], but an empty selector selects nothing: a workload that selects everything would adopt the world.
pub(crate) fn selects_some(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let empty = selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
    !empty && selects(selector, labels)
}

/// What a controller makes of an object it may own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Owned and matching.
    Mine,
    /// Matching and without a controller.
    Adopt,
    /// Owned but no longer matching.
    Release,
    /// None of our business.
    Foreign,
}

/// Kubernetes' rules of adoption and release. `owner_deleting` owners adopt nothing.
pub(crate) fn claim<K: Resource>(object: &K, owner_uid: &str, owner_deleting: bool, selector: &LabelSelector) -> Claim {
    let matches = selects_some(selector, object.labels());
    match controller_of(object) {
        Some(owner) if owner.uid != owner_uid => Claim::Foreign,
        Some(_) if matches => Claim::Mine,
        Some(_) if owner_deleting => Claim::Mine,
        Some(_) => Claim::Release,
        None if matches && !owner_deleting && !is_deleting(object) => Claim::Adopt,
        None => Claim::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{labels, pod};
    use k8s_openapi::api::core::v1::Pod;

    fn owned(uid: &str, app: &str) -> Pod {
        let mut pod = pod("p");
        pod.metadata.labels = Some(labels(&[("app", app)]));
        if !uid.is_empty() {
            pod.metadata.owner_references = Some(vec![OwnerReference {
                uid: uid.into(),
                controller: Some(true),
                ..OwnerReference::default()
            }]);
        }
        pod
    }

    #[test]
    fn claims() {
        let selector = LabelSelector {
            match_labels: Some(labels(&[("app", "a")])),
            ..LabelSelector::default()
        };
        for (owner, app, deleting, expected) in [
            ("me", "a", false, Claim::Mine),
            ("me", "b", false, Claim::Release),
            ("me", "b", true, Claim::Mine),
            ("", "a", false, Claim::Adopt),
            ("", "a", true, Claim::Foreign),
            ("", "b", false, Claim::Foreign),
            ("other", "a", false, Claim::Foreign),
        ] {
            assert_eq!(
                claim(&owned(owner, app), "me", deleting, &selector),
                expected,
                "{owner} {app} {deleting}"
            );
        }
        assert_eq!(
            claim(&owned("", "a"), "me", false, &LabelSelector::default()),
            Claim::Foreign
        );
    }
}
