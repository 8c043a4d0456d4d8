//! Step four: server-side apply, in order; then what is no longer rendered is removed.
//!
//! What spans regions comes first. Then the regions go through their stages side by side, each on its own deadline, and wait
//! for one another only where they have to: a cache resolves every upstream Service when it loads its rules, so workloads
//! wait for the Services of regions that have none yet.
//!
//! Each cluster by itself. In the platform's own nothing needs a finalizer: everything rendered is owned by the platform, and
//! the garbage collector takes it along. For the others see [`crate::remote`].

mod claim;
mod diff;
mod handover;
mod orphans;
mod secret;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{join, join_all},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::DynamicObject,
};
use serde_json::Value;
use tracing::{debug, info, warn};

pub(crate) use claim::Claim;
pub use diff::APPLIED_HASH;
pub use handover::MANAGER as HANDOVER_MANAGER;
pub(crate) use orphans::orphans;
pub(crate) use secret::remove as remove_key;
pub use secret::{SecretError, Signing};

use crate::{
    kind::{Kind, Stage},
    observed::{Live, region_of},
    resources::{Applied, Object, Prepared, Resources},
    told::briefly,
    validate::{Region, RemoteCluster, ValidatedPlatform, names::RegionName},
};

/// Why objects could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused an object, or could not be reached.
    #[error("{kind:?} {name}: {source}")]
    Request {
        /// Kind of the object.
        kind: Kind,
        /// Name of the object.
        name: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// Someone else's object has the name that ours would have.
    #[error("{kind:?} {name} exists and belongs to someone else: remove it, or rename a part of the platform")]
    Foreign {
        /// Kind of the object.
        kind: Kind,
        /// Name of the object.
        name: String,
    },
    /// The same cluster is named by two kubeconfigs.
    #[error(
        "{kind:?} {name} came to this cluster by {rival} already: regions that share a cluster and namespace name the same Secret and key"
    )]
    Twice {
        /// Kind of the object.
        kind: Kind,
        /// Name of the object.
        name: String,
        /// Secret and key by which it came.
        rival: String,
    },
    /// The signing key could not be ensured.
    #[error("the Secret with the signing key: {0}")]
    Secret(#[from] SecretError),
    /// It took too long.
    #[error("the API server does not answer in time")]
    Deadline,
    /// The platform was never applied itself.
    #[error("the platform has no UID, so that nothing can be owned by it")]
    Unowned,
}

/// What applying takes, besides the objects.
#[derive(Clone, Copy)]
pub struct Applier<'a> {
    /// Client of the cluster.
    pub client: &'a Client,
    /// The cluster; `None` is the platform's own.
    pub cluster: Option<&'a RemoteCluster>,
    /// Whose objects they are.
    pub platform: &'a ValidatedPlatform,
    /// What is there.
    pub live: &'a Live,
    /// Time that what spans regions may take, and each region by itself for one stage.
    pub deadline: Duration,
    /// How to make sure of the signing key this time.
    pub signing: Signing<'a>,
    /// Regions that failed lately and are left alone for now, and why they failed.
    pub waiting: &'a BTreeMap<RegionName, String>,
    /// Regions that failed when they were last tried: they may not take as long again.
    pub failed_before: &'a BTreeSet<RegionName>,
    /// Regions that do not serve yet where they are: what they have left here, when they are elsewhere, is still needed.
    pub awaited: &'a BTreeSet<RegionName>,
}

/// Part of the deadline that a region has which failed the last time. What it gets done in that time stays done.
const RETRY_SHARE: u32 = 5;

impl Applier<'_> {
    /// Applies everything. An error is one of what spans regions; the failures of regions are in the result.
    pub async fn apply(&self, prepared: Resources<Prepared>) -> Result<Resources<Applied>, ApplyError> {
        let failures = self.send(prepared.objects()).await?;
        Ok(prepared.applied(failures))
    }

    /// Applies everything to a cluster that may fail as a whole: then each of its regions does.
    pub async fn apply_or_lose(&self, prepared: Resources<Prepared>) -> Resources<Applied> {
        let failures = if self.tried().next().is_none() {
            self.waiting_here()
        } else {
            self.send(prepared.objects()).await.unwrap_or_else(|error| {
                warn!(cluster = ?self.cluster, %error, "cluster not applied");
                self.regions().map(|region| (region.clone(), briefly(&error))).collect()
            })
        };
        prepared.applied(failures)
    }

    async fn send(&self, objects: &[Object]) -> Result<BTreeMap<RegionName, String>, ApplyError> {
        let claim = Claim::by(self.platform, self.cluster).ok_or(ApplyError::Unowned)?;
        let shared = async {
            secret::ensure(self.client, self.platform, self.cluster, &claim, self.signing).await?;
            let shared = objects.iter().filter(|object| object.region.is_none());
            self.apply_all(shared, &claim).await
        };
        within(self.deadline_of_shared(), shared).await?;

        let mut failures = self.apply_regions(objects, &claim).await;
        // Orphans may still be needed where what replaces them is not there yet. An autoscaler is not: it must not go on.
        let all = failures.is_empty();
        let removed = self
            .sweep(objects, &claim, |kind| all || kind == Kind::HorizontalPodAutoscaler)
            .await?;
        failures.extend(removed);
        Ok(failures)
    }

    fn regions(&self) -> impl Iterator<Item = &RegionName> {
        self.platform.regions_in(self.cluster).map(|region| &region.name)
    }

    /// Regions that are not left alone.
    fn tried(&self) -> impl Iterator<Item = &RegionName> {
        self.regions().filter(|region| !self.waiting.contains_key(*region))
    }

    fn waiting_here(&self) -> BTreeMap<RegionName, String> {
        let waiting = self.regions().filter_map(|region| self.waiting.get_key_value(region));
        waiting.map(|(region, why)| (region.clone(), why.clone())).collect()
    }

    /// Applies what regions have of their own; gives the regions that failed, and why.
    async fn apply_regions(&self, objects: &[Object], claim: &Claim) -> BTreeMap<RegionName, String> {
        let of = |region: &RegionName, stage: Stage| -> Vec<&Object> {
            let of_region = objects.iter().filter(|object| object.region.as_ref() == Some(region));
            of_region.filter(|object| object.kind.stage() == stage).collect()
        };
        let tried: Vec<&RegionName> = self.tried().collect();
        let foundations: Vec<_> = tried
            .iter()
            .map(|region| {
                let objects = of(region, Stage::Foundation);
                let is_new = objects
                    .iter()
                    .any(|object| object.kind == Kind::Service && self.live.get(object.kind, &object.name).is_none());
                let applied = self.apply_stage(region, objects, claim).boxed().shared();
                (is_new, applied)
            })
            .collect();
        let news = foundations.iter().filter(|(is_new, _)| *is_new);
        let resolvable = join_all(news.map(|(_, applied)| applied.clone()))
            .map(drop)
            .boxed()
            .shared();
        let outcomes = tried.iter().zip(&foundations).map(async |(region, (_, foundation))| {
            let (founded, ()) = join(foundation.clone(), resolvable.clone()).await;
            founded?;
            for stage in [Stage::Workload, Stage::Policy] {
                self.apply_stage(region, of(region, stage), claim).await?;
            }
            Ok::<(), String>(())
        });
        let mut failures = self.waiting_here();
        for (region, outcome) in tried.iter().zip(join_all(outcomes).await) {
            if let Err(error) = outcome {
                warn!(%region, %error, "region not applied");
                failures.insert((*region).clone(), error);
            }
        }
        failures
    }

    async fn apply_stage(&self, region: &RegionName, objects: Vec<&Object>, claim: &Claim) -> Result<(), String> {
        let applied = within(self.deadline_of(region), self.apply_all(objects.into_iter(), claim)).await;
        applied.map_err(|error| briefly(&error))
    }

    /// In a cluster of their own, regions fail with what they share.
    fn deadline_of_shared(&self) -> Duration {
        if self.cluster.is_some() && self.regions().any(|region| self.failed_before.contains(region)) {
            self.deadline / RETRY_SHARE
        } else {
            self.deadline
        }
    }

    fn deadline_of(&self, region: &RegionName) -> Duration {
        if self.failed_before.contains(region) {
            self.deadline / RETRY_SHARE
        } else {
            self.deadline
        }
    }

    async fn apply_all<'o>(&self, objects: impl Iterator<Item = &'o Object>, claim: &Claim) -> Result<(), ApplyError> {
        for object in objects.filter(|object| self.is_due(object)) {
            self.apply_one(object, claim).await.map_err(|error| match error {
                OneError::Foreign => ApplyError::Foreign {
                    kind: object.kind,
                    name: object.name.clone(),
                },
                OneError::Twice(rival) => ApplyError::Twice {
                    kind: object.kind,
                    name: object.name.clone(),
                    rival,
                },
                OneError::Request(source) => ApplyError::Request {
                    kind: object.kind,
                    name: object.name.clone(),
                    source,
                },
            })?;
        }
        Ok(())
    }

    /// What is withheld waits; but what watches over a Deployment, whose name it has, goes with that: with one that is there.
    fn is_due(&self, object: &Object) -> bool {
        let watches = object.kind.stage() == Stage::Policy;
        !object.withheld || watches && self.live.get(Kind::Deployment, &object.name).is_some()
    }

    /// Whether what a region has here is needed by another place of it that does not serve yet.
    fn is_awaited(&self, region: &RegionName) -> bool {
        let elsewhere = |region: &Region| region.cluster.as_ref() != self.cluster;
        self.awaited.contains(region) && self.platform.region(region).is_some_and(elsewhere)
    }

    async fn apply_one(&self, object: &Object, claim: &Claim) -> Result<(), OneError> {
        let api = self.api(object.kind);
        match self.live.get(object.kind, &object.name) {
            Some(live) if !claim.holds(live) => return Err(OneError::of(claim, live)),
            Some(live) if diff::is_current(live, &object.body) => return Ok(()),
            Some(live) => hand_over(&api, object, live).await?,
            // Not among ours: whatever has the name already is someone else's, and forcing would seize it.
            None => {
                if let Some(other) = api.get_opt(&object.name).await?
                    && !claim.holds(&other)
                {
                    return Err(OneError::of(claim, &other));
                }
            }
        }
        debug!(kind = ?object.kind, name = %object.name, "applying");
        patch(
            &api,
            &object.name,
            object.kind.field_manager(),
            &diff::stamped(&object.body),
        )
        .await
    }

    /// Deletes what is ours and no longer rendered; gives the regions where that failed, and why. What is left of regions that
    /// are being left alone, or that moved and do not serve yet, waits.
    async fn sweep(
        &self,
        rendered: &[Object],
        claim: &Claim,
        kinds: impl Fn(Kind) -> bool,
    ) -> Result<BTreeMap<RegionName, String>, ApplyError> {
        let mut regions: BTreeMap<RegionName, Vec<(Kind, &DynamicObject)>> = BTreeMap::new();
        let mut shared = Vec::new();
        for (kind, orphan) in orphans(self.live, rendered, claim) {
            let region = region_of(orphan);
            let waits = |region: &RegionName| self.waiting.contains_key(region) || self.is_awaited(region);
            let waits = region.as_ref().is_some_and(waits);
            if kinds(kind) && !waits {
                let group = region.map_or(&mut shared, |region| regions.entry(region).or_default());
                group.push((kind, orphan));
            }
        }
        let outcomes = join_all(regions.into_iter().map(async |(region, orphans)| {
            let removed = within(self.deadline_of(&region), self.remove(orphans)).await;
            (region, removed)
        }))
        .await;
        let mut failures = BTreeMap::new();
        for (region, removed) in outcomes {
            if let Err(error) = removed {
                warn!(%region, %error, "left-overs not removed");
                failures.insert(region, briefly(&error));
            }
        }
        // Policies span regions: they go after what they protect.
        if failures.is_empty() {
            within(self.deadline_of_shared(), self.remove(shared)).await?;
        }
        Ok(failures)
    }

    /// What is applied last goes first.
    async fn remove(&self, orphans: Vec<(Kind, &DynamicObject)>) -> Result<(), ApplyError> {
        for (kind, orphan) in orphans.into_iter().rev() {
            info!(?kind, name = %orphan.name_any(), "removing what is no longer rendered");
            delete(&self.api(kind), kind, orphan, None).await?;
        }
        Ok(())
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let namespace = self.platform.namespace_in(self.cluster);
        Api::namespaced_with(self.client.clone(), namespace.as_str(), &kind.api_resource())
    }
}

/// Deletes this very object, not one that someone has made in its place; and, where a version is stated, not one that has
/// changed.
pub(crate) async fn delete(
    api: &Api<DynamicObject>,
    kind: Kind,
    object: &DynamicObject,
    version: Option<String>,
) -> Result<(), ApplyError> {
    let name = object.name_any();
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: object.uid(),
            resource_version: version,
        }),
        ..DeleteParams::background()
    };
    match api.delete(&name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(source) => Err(ApplyError::Request { kind, name, source }),
    }
}

/// Makes sure of the signing key in the platform's own cluster.
pub(crate) async fn make_key(
    client: &Client,
    platform: &ValidatedPlatform,
    deadline: Duration,
) -> Result<(), ApplyError> {
    within(deadline, async { Ok(secret::make(client, platform).await?) }).await
}

async fn within(deadline: Duration, work: impl Future<Output = Result<(), ApplyError>>) -> Result<(), ApplyError> {
    tokio::time::timeout(deadline, work)
        .await
        .map_err(|_| ApplyError::Deadline)?
}

enum OneError {
    Foreign,
    Twice(String),
    Request(kube::Error),
}

impl OneError {
    fn of(claim: &Claim, other: &DynamicObject) -> Self {
        claim.rival(other).map_or(Self::Foreign, Self::Twice)
    }
}

impl From<kube::Error> for OneError {
    fn from(error: kube::Error) -> Self {
        Self::Request(error)
    }
}

/// Whoever else writes to the object at the same time does so a few times, not for ever.
const HANDOVER_ATTEMPTS: usize = 5;

async fn hand_over(api: &Api<DynamicObject>, object: &Object, live: &DynamicObject) -> Result<(), OneError> {
    let mut live = live.clone();
    let mut attempts = 0;
    while let Some(step) = handover::first_step(object, &live) {
        info!(name = %object.name, "handing spec.replicas over to the autoscaler");
        attempts += 1;
        match patch(api, &object.name, handover::MANAGER, &step).await {
            Err(OneError::Request(kube::Error::Api(status)))
                if status.is_conflict() && attempts < HANDOVER_ATTEMPTS =>
            {
                live = api.get(&object.name).await?;
            }
            outcome => return outcome,
        }
    }
    Ok(())
}

async fn patch(api: &Api<DynamicObject>, name: &str, manager: &str, body: &Value) -> Result<(), OneError> {
    // Forced: what the platform says is what holds. Others' fields stay theirs.
    api.patch(name, &PatchParams::apply(manager).force(), &Patch::Apply(body))
        .await?;
    Ok(())
}
