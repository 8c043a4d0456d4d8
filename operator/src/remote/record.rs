//! Which clusters have objects of a platform (client). Written down before the first object is sent, in the status, and held
//! by a finalizer: spec and kubeconfig may be gone when it is time to take them away.

use std::{collections::BTreeSet, time::Duration};

use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use showrunner_crds::{
    annotations,
    platform::{ClusterStatus, StreamingPlatform},
};

use crate::validate::RemoteCluster;

/// The finalizer of a platform that has objects in other clusters.
pub const FINALIZER: &str = "showrunner.dev/clusters";

/// Why it could not be written down.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The API server refused it, or could not be reached.
    #[error(transparent)]
    Request(#[from] kube::Error),
    /// It took too long.
    #[error("the API server did not answer within {0:?}")]
    Deadline(Duration),
    /// It was deleted meanwhile, and may have been made anew.
    #[error("the platform is no longer the one that was looked at")]
    Gone,
}

/// Clusters that may have objects of the platform, as its status says.
#[must_use]
pub fn recorded(platform: &StreamingPlatform) -> BTreeSet<RemoteCluster> {
    let statuses = platform.status.iter().flat_map(|status| &status.clusters);
    statuses.filter_map(RemoteCluster::recorded).collect()
}

/// Clusters that the spec names, as far as they can be read.
#[must_use]
pub fn stated(platform: &StreamingPlatform) -> BTreeSet<RemoteCluster> {
    let namespace = platform.namespace().unwrap_or_default();
    let regions = platform.spec.regions.iter();
    regions
        .filter_map(|region| RemoteCluster::stated(region.cluster.as_ref()?, &namespace))
        .collect()
}

/// Secrets whose clusters are given up.
#[must_use]
pub fn abandoned(platform: &StreamingPlatform) -> BTreeSet<&str> {
    let named = platform.annotations().get(annotations::ABANDON_CLUSTERS);
    named
        .into_iter()
        .flat_map(|named| named.split(','))
        .map(str::trim)
        .collect()
}

/// Whether our finalizer holds the platform.
#[must_use]
pub fn is_held(platform: &StreamingPlatform) -> bool {
    platform.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Writes down that these clusters are going to have objects; gives all that may have some. In the platform as it is now: what
/// was seen of it may be older than what we wrote last.
pub async fn register(
    client: &Client,
    platform: &StreamingPlatform,
    clusters: &BTreeSet<RemoteCluster>,
    deadline: Duration,
) -> Result<BTreeSet<RemoteCluster>, RecordError> {
    let writing = async {
        let api: Api<StreamingPlatform> = Api::namespaced(client.clone(), &platform.namespace().unwrap_or_default());
        let mut now = api.get(&platform.name_any()).await?;
        if now.uid() != platform.uid() || now.metadata.deletion_timestamp.is_some() {
            return Err(RecordError::Gone);
        }
        if !is_held(&now) {
            let mut finalizers = now.finalizers().to_vec();
            finalizers.push(FINALIZER.to_owned());
            now = set_finalizers(&api, &now, &finalizers).await?;
        }
        let known = recorded(&now);
        let news: Vec<ClusterStatus> = clusters.difference(&known).map(RemoteCluster::status).collect();
        if !news.is_empty() {
            let before = now.status.as_ref().map(|status| status.clusters.clone());
            let all: Vec<ClusterStatus> = before.unwrap_or_default().into_iter().chain(news).collect();
            let metadata = json!({ "resourceVersion": now.resource_version() });
            let patch = Patch::Merge(json!({ "metadata": metadata, "status": { "clusters": all } }));
            api.patch_status(&now.name_any(), &manager(), &patch).await?;
        }
        Ok(known.union(clusters).cloned().collect())
    };
    within(deadline, writing).await
}

/// Lets the platform go.
pub async fn release(client: &Client, platform: &StreamingPlatform, deadline: Duration) -> Result<(), RecordError> {
    let api: Api<StreamingPlatform> = Api::namespaced(client.clone(), &platform.namespace().unwrap_or_default());
    let releasing = async {
        let now = api.get(&platform.name_any()).await?;
        if now.uid() == platform.uid() && is_held(&now) {
            let finalizers = now.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER);
            let finalizers: Vec<String> = finalizers.cloned().collect();
            set_finalizers(&api, &now, &finalizers).await?;
        }
        Ok(())
    };
    match within(deadline, releasing).await {
        Err(RecordError::Request(kube::Error::Api(answer))) if answer.is_not_found() => Ok(()),
        outcome => outcome,
    }
}

/// Refused where the platform changes meanwhile: finalizers of others are not to be lost, or to come back.
async fn set_finalizers(
    api: &Api<StreamingPlatform>,
    now: &StreamingPlatform,
    finalizers: &[String],
) -> kube::Result<StreamingPlatform> {
    let metadata = json!({ "finalizers": finalizers, "resourceVersion": now.resource_version() });
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    api.patch(&now.name_any(), &manager(), &patch).await
}

fn manager() -> PatchParams {
    PatchParams {
        field_manager: Some("showrunner-operator/clusters".to_owned()),
        ..PatchParams::default()
    }
}

async fn within<T>(deadline: Duration, work: impl Future<Output = Result<T, RecordError>>) -> Result<T, RecordError> {
    tokio::time::timeout(deadline, work)
        .await
        .map_err(|_| RecordError::Deadline(deadline))?
}
