//! Which objects are ours, pure: label *and* owner say so, in another cluster label *and* label.

use std::collections::BTreeSet;

use kube::{ResourceExt, core::DynamicObject};
use showrunner_crds::{annotations, labels};

use crate::validate::{RemoteCluster, ValidatedPlatform};

/// Whose objects are ours, by the platform's UID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// In the platform's own cluster: those it controls.
    Owner(String),
    /// In another: those labelled with it, except what came by another kubeconfig that is in use, too.
    Label {
        /// The platform's UID.
        uid: String,
        /// Marks of other kubeconfigs.
        others: BTreeSet<String>,
    },
}

impl Claim {
    /// What is the platform's in a cluster, as long as it names `named`.
    pub(crate) fn of(uid: &str, cluster: Option<&RemoteCluster>, named: &BTreeSet<RemoteCluster>) -> Self {
        let Some(cluster) = cluster else {
            return Self::Owner(uid.to_owned());
        };
        // One cluster by two Secrets: what one keeps, the other must not take away.
        let others = named.iter().filter(|other| other.namespace == cluster.namespace);
        let others = others.map(RemoteCluster::mark).filter(|mark| *mark != cluster.mark());
        Self::Label {
            uid: uid.to_owned(),
            others: others.collect(),
        }
    }

    /// The same for a platform as it is now.
    pub(crate) fn by(platform: &ValidatedPlatform, cluster: Option<&RemoteCluster>) -> Option<Self> {
        Some(Self::of(platform.uid()?, cluster, &platform.clusters()))
    }

    /// Whether an object is ours.
    pub(crate) fn holds(&self, object: &impl ResourceExt) -> bool {
        let label = |key: &str| object.labels().get(key).map(String::as_str);
        label(labels::APP_MANAGED_BY) == Some(labels::MANAGER)
            && match self {
                Self::Owner(uid) => object
                    .owner_references()
                    .iter()
                    .any(|reference| reference.controller == Some(true) && reference.uid == *uid),
                Self::Label { uid, others } => {
                    let mark = object.annotations().get(annotations::CLUSTER);
                    label(labels::OWNER) == Some(uid) && !mark.is_some_and(|mark| others.contains(mark))
                }
            }
    }

    /// By which other kubeconfig an object of the platform came to where it is.
    pub(crate) fn rival(&self, object: &DynamicObject) -> Option<String> {
        let Self::Label { uid, others } = self else { return None };
        let mark = object.annotations().get(annotations::CLUSTER)?;
        (object.labels().get(labels::OWNER) == Some(uid) && others.contains(mark)).then(|| mark.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::validate::names::Namespace;

    fn cluster(secret: &str, namespace: &str) -> RemoteCluster {
        RemoteCluster {
            secret: secret.into(),
            key: "kubeconfig".into(),
            namespace: Namespace::new(namespace).unwrap(),
        }
    }

    fn object(uid: &str, mark: &str) -> DynamicObject {
        serde_json::from_value(json!({ "metadata": {
            "name": "x", "annotations": { "showrunner.dev/cluster": mark },
            "labels": { "app.kubernetes.io/managed-by": "showrunner-operator", "showrunner.dev/owner": uid },
        } }))
        .unwrap()
    }

    #[test]
    fn what_came_by_another_kubeconfig_in_use_is_not_ours() {
        let (south, east) = (cluster("south", "stage"), cluster("east", "stage"));
        let named = [south.clone(), east, cluster("west", "elsewhere")].into();
        let claim = Claim::of("u", Some(&south), &named);
        for (uid, mark, ours) in [
            ("u", "south/kubeconfig", true),
            ("u", "east/kubeconfig", false),
            // The Secret was called so before, or serves another namespace.
            ("u", "before/kubeconfig", true),
            ("u", "west/kubeconfig", true),
            ("v", "south/kubeconfig", false),
        ] {
            assert_eq!(claim.holds(&object(uid, mark)), ours, "{uid} {mark}");
        }
        assert_eq!(
            claim.rival(&object("u", "east/kubeconfig")),
            Some("east/kubeconfig".into())
        );
        assert_eq!(claim.rival(&object("v", "east/kubeconfig")), None);
        assert!(!Claim::Owner("u".into()).holds(&object("u", "south/kubeconfig")));
    }
}
