//! Taking everything away from a cluster that no region is in any more (client).

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use kube::{Api, Client, ResourceExt, core::DynamicObject};
use showrunner_crds::{names, platform::StreamingPlatform};
use tracing::info;

use super::{Seen, View};
use crate::{
    apply::{ApplyError, Claim, delete, orphans, remove_key},
    kind::Kind,
    observed::{Live, region_of},
    validate::{RemoteCluster, names::RegionName},
};

/// Objects of one kind taken away at the same time.
const AT_A_TIME: usize = 8;

/// Why there still is something in a cluster that no region is in any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lingering {
    /// It is being removed, or all is not well yet in the clusters that have regions.
    Going,
    /// What replaces it does not serve yet.
    Needed(String),
    /// It cannot be removed.
    Held(String),
}

impl Lingering {
    /// What to say of it.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Going => None,
            Self::Needed(why) | Self::Held(why) => Some(why),
        }
    }

    /// What is wrong with it.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        match self {
            Self::Going | Self::Needed(_) => None,
            Self::Held(why) => Some(why),
        }
    }
}

/// What is taken away.
#[derive(Clone, Copy)]
pub(crate) struct Departure<'a> {
    /// The platform.
    pub platform: &'a StreamingPlatform,
    /// Clusters that it still names.
    pub named: &'a BTreeSet<RemoteCluster>,
    /// Time for each step in a cluster.
    pub deadline: Duration,
}

impl Departure<'_> {
    pub(super) fn claim(&self, cluster: &RemoteCluster) -> Option<Claim> {
        Some(Claim::of(&self.platform.uid()?, Some(cluster), self.named))
    }

    /// Regions that have workloads there.
    pub(crate) fn regions(&self, cluster: &RemoteCluster, view: &View) -> BTreeSet<RegionName> {
        let claim = self.claim(cluster);
        let ours = claim.iter().flat_map(|claim| ours(&view.live, claim));
        ours.filter(|(kind, _)| matches!(kind, Kind::Deployment | Kind::StatefulSet))
            .filter_map(|(_, object)| region_of(object))
            .collect()
    }

    /// Takes what is ours out of a cluster. Tells whether there was nothing left.
    ///
    /// An object that has changed since it was seen is left for the next time: where a Secret was renamed, it may just have
    /// been taken over.
    pub(crate) async fn clear(&self, seen: &Seen, cluster: &RemoteCluster) -> Result<bool, ApplyError> {
        let claim = self.claim(cluster).ok_or(ApplyError::Unowned)?;
        let (client, namespace) = (&seen.client, cluster.namespace.as_str());
        let clearing = async {
            let objects = ours(&seen.view.live, &claim);
            let nothing = objects.is_empty();
            take_away(client, namespace, objects, DynamicObject::resource_version).await?;
            self.take_key(client, cluster, &claim).await?;
            Ok(nothing)
        };
        tokio::time::timeout(self.deadline, clearing)
            .await
            .unwrap_or(Err(ApplyError::Deadline))
    }

    /// Takes away the copy of the signing key.
    pub(super) async fn take_key(
        &self,
        client: &Client,
        cluster: &RemoteCluster,
        claim: &Claim,
    ) -> Result<(), ApplyError> {
        let key = names::signing_key(&self.platform.name_any());
        let removed = remove_key(client, cluster.namespace.as_str(), &key, claim).await;
        removed.map_err(|source| ApplyError::Secret(source.into()))
    }
}

/// What is ours and not on its way out, what was applied last first: nothing starts pods anew that are on their way out, and
/// the policies that protect them go after them.
pub(super) fn ours<'a>(live: &'a Live, claim: &Claim) -> Vec<(Kind, &'a DynamicObject)> {
    let mut ours = orphans(live, &[], claim);
    ours.reverse();
    ours
}

/// Takes objects away, kind after kind.
pub(super) async fn take_away(
    client: &Client,
    namespace: &str,
    objects: Vec<(Kind, &DynamicObject)>,
    version: fn(&DynamicObject) -> Option<String>,
) -> Result<(), ApplyError> {
    for of_kind in objects.chunk_by(|(one, _), (other, _)| one == other) {
        let deletions = of_kind.iter().map(async |&(kind, object)| {
            info!(%namespace, ?kind, name = %object.name_any(), "removing what is no longer wanted there");
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.api_resource());
            delete(&api, kind, object, version(object)).await
        });
        let deletions: Vec<_> = deletions.collect();
        let deletions = stream::iter(deletions).buffer_unordered(AT_A_TIME);
        deletions.try_collect::<()>().await?;
    }
    Ok(())
}
