//! Clusters other than the one that the platform is in.

use std::fmt;

use showrunner_crds::platform::{ClusterStatus, RegionCluster};

use super::names::Namespace;

/// Another cluster: where its kubeconfig is, and which namespace of it is the platform's. Regions that state the same share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteCluster {
    /// The Secret with the kubeconfig, in the platform's namespace.
    pub secret: String,
    /// Key in the Secret.
    pub key: String,
    /// Namespace of the platform's objects there.
    pub namespace: Namespace,
}

impl RemoteCluster {
    /// As a region states it. `None` where the namespace is not the name of one.
    #[must_use]
    pub fn stated(cluster: &RegionCluster, platforms: &str) -> Option<Self> {
        let RegionCluster {
            kubeconfig_secret_ref,
            namespace,
        } = cluster;
        Some(Self {
            secret: kubeconfig_secret_ref.name.clone(),
            key: kubeconfig_secret_ref.key.clone(),
            namespace: Namespace::new(namespace.as_deref().unwrap_or(platforms))?,
        })
    }

    /// As the status has it.
    #[must_use]
    pub fn recorded(status: &ClusterStatus) -> Option<Self> {
        Some(Self {
            secret: status.secret_name.clone(),
            key: status.key.clone(),
            namespace: Namespace::new(&status.namespace)?,
        })
    }

    /// As the status is to have it, with nothing known of it.
    #[must_use]
    pub fn status(&self) -> ClusterStatus {
        ClusterStatus {
            secret_name: self.secret.clone(),
            key: self.key.clone(),
            namespace: self.namespace.to_string(),
            ..ClusterStatus::default()
        }
    }

    /// What its objects carry to tell by which kubeconfig they came there.
    #[must_use]
    pub fn mark(&self) -> String {
        format!("{}/{}", self.secret, self.key)
    }
}

impl fmt::Display for RemoteCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the cluster of Secret {}", self.secret)
    }
}
