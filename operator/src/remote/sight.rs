//! What other clusters have of a platform (client): asked side by side, each under the same short deadline.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;

use super::{Clients, clients::ClientError};
use crate::{
    dereference::{DereferenceError, rendered},
    observed::Live,
    told::briefly,
    validate::RemoteCluster,
};

/// What a cluster has of a platform.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Objects rendered earlier.
    pub live: Live,
    /// Pods.
    pub pods: Vec<Pod>,
}

/// Why a cluster cannot be seen.
#[derive(Debug, thiserror::Error)]
pub enum SightError {
    /// There is no client for it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Something could not be listed.
    #[error(transparent)]
    List(#[from] DereferenceError),
    /// It took too long.
    #[error("its API server does not answer within {0:?}")]
    Deadline(Duration),
}

/// A cluster that answered.
#[expect(missing_debug_implementations, reason = "a client has no state worth printing")]
pub struct Seen {
    /// Its client.
    pub client: Client,
    /// What is there.
    pub view: Arc<View>,
}

/// What came of looking at clusters. None is in both.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "a client has no state worth printing")]
pub struct Sight {
    /// Those that answered.
    pub seen: BTreeMap<RemoteCluster, Seen>,
    /// The others, and why they are not seen.
    pub unseen: BTreeMap<RemoteCluster, String>,
}

/// From where clusters are looked at.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "a client has no state worth printing")]
pub struct Viewpoint<'a> {
    /// Client of the platform's own cluster.
    pub home: &'a Client,
    /// Clients of the others.
    pub clients: &'a Clients,
    /// Namespace of the platform.
    pub namespace: &'a str,
    /// Name of the platform.
    pub platform: &'a str,
    /// What one cluster may take, its Secret included.
    pub deadline: Duration,
}

impl Viewpoint<'_> {
    /// Looks at clusters side by side.
    pub async fn look(&self, clusters: impl IntoIterator<Item = RemoteCluster>) -> Sight {
        let looks = clusters.into_iter().map(async |cluster| {
            let seen = self.look_at(&cluster).await;
            (cluster, seen)
        });
        let mut sight = Sight::default();
        for (cluster, seen) in join_all(looks).await {
            match seen {
                Ok(seen) => drop(sight.seen.insert(cluster, seen)),
                Err(why) => drop(sight.unseen.insert(cluster, why)),
            }
        }
        sight
    }

    /// Looks at one. The error says which it is, and why it is not seen.
    async fn look_at(&self, cluster: &RemoteCluster) -> Result<Seen, String> {
        let looking = async {
            let client = self.clients.get(self.home, self.namespace, cluster).await?;
            let (live, pods) = rendered(&client, cluster.namespace.as_str(), self.platform).await?;
            let view = Arc::new(View { live, pods });
            Ok::<_, SightError>(Seen { client, view })
        };
        let seen = tokio::time::timeout(self.deadline, looking).await;
        let seen = seen.unwrap_or(Err(SightError::Deadline(self.deadline)));
        seen.map_err(|error| {
            let why = format!("{cluster}: {}", briefly(&error));
            tracing::warn!(%why, "cluster not seen");
            why
        })
    }
}
