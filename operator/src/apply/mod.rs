//! Step four: server-side apply, in order; then what is no longer rendered is removed.
//!
//! What spans regions comes first. Then the regions go through their stages side by side, each on its own deadline, and wait
//! for one another only where they have to: a cache resolves every upstream Service when it loads its rules, so workloads
//! wait for the Services of regions that have none yet.
//!
//! Nothing needs a finalizer: within one cluster everything rendered is owned by the platform, and the garbage collector
//! takes it along.

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

pub use diff::APPLIED_HASH;
pub use handover::MANAGER as HANDOVER_MANAGER;

use crate::{
    kind::{Kind, Stage},
    observed::{Live, region_of},
    resources::{Applied, Object, Prepared, Resources},
    validate::{ValidatedPlatform, names::RegionName},
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
    /// The signing key could not be ensured.
    #[error("the Secret with the signing key: {0}")]
    Secret(#[source] kube::Error),
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
    /// The cluster.
    pub client: &'a Client,
    /// Whose objects they are.
    pub platform: &'a ValidatedPlatform,
    /// What is there.
    pub live: &'a Live,
    /// Time that what spans regions may take, and each region by itself for one stage.
    pub deadline: Duration,
    /// Whether to make sure of the signing key this time.
    pub ensure_secret: bool,
    /// Regions that failed lately and are left alone for now, and why they failed.
    pub waiting: &'a BTreeMap<RegionName, String>,
    /// Regions that failed when they were last tried: they may not take as long again.
    pub failed_before: &'a BTreeSet<RegionName>,
}

/// Part of the deadline that a region has which failed the last time. What it gets done in that time stays done.
const RETRY_SHARE: u32 = 5;

impl Applier<'_> {
    /// Applies everything. An error is one of what spans regions; the failures of regions are in the result.
    pub async fn apply(&self, prepared: Resources<Prepared>) -> Result<Resources<Applied>, ApplyError> {
        let owner = self.platform.owner.as_ref().ok_or(ApplyError::Unowned)?.uid.clone();
        let objects = prepared.objects();
        let shared = async {
            if self.ensure_secret {
                secret::ensure(self.client, self.platform)
                    .await
                    .map_err(ApplyError::Secret)?;
            }
            let shared = objects.iter().filter(|object| object.region.is_none());
            self.apply_all(shared, &owner).await
        };
        within(self.deadline, shared).await?;

        let mut failures = self.apply_regions(objects, &owner).await;
        // Orphans may still be needed where what replaces them is not there yet. An autoscaler is not: it must not go on.
        let all = failures.is_empty();
        let removed = self
            .sweep(objects, &owner, |kind| all || kind == Kind::HorizontalPodAutoscaler)
            .await?;
        failures.extend(removed);
        Ok(prepared.applied(failures))
    }

    /// Applies what regions have of their own; gives the regions that failed, and why.
    async fn apply_regions(&self, objects: &[Object], owner: &str) -> BTreeMap<RegionName, String> {
        let of = |region: &RegionName, stage: Stage| -> Vec<&Object> {
            let of_region = objects.iter().filter(|object| object.region.as_ref() == Some(region));
            of_region.filter(|object| object.kind.stage() == stage).collect()
        };
        let tried: Vec<&RegionName> = self
            .platform
            .regions
            .iter()
            .map(|region| &region.name)
            .filter(|region| !self.waiting.contains_key(*region))
            .collect();
        let foundations: Vec<_> = tried
            .iter()
            .map(|region| {
                let objects = of(region, Stage::Foundation);
                let is_new = objects
                    .iter()
                    .any(|object| object.kind == Kind::Service && self.live.get(object.kind, &object.name).is_none());
                let applied = self.apply_stage(region, objects, owner).boxed().shared();
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
                self.apply_stage(region, of(region, stage), owner).await?;
            }
            Ok::<(), String>(())
        });
        let mut failures = self.waiting.clone();
        for (region, outcome) in tried.iter().zip(join_all(outcomes).await) {
            if let Err(error) = outcome {
                warn!(%region, %error, "region not applied");
                failures.insert((*region).clone(), error);
            }
        }
        failures
    }

    async fn apply_stage(&self, region: &RegionName, objects: Vec<&Object>, owner: &str) -> Result<(), String> {
        let applied = within(self.deadline_of(region), self.apply_all(objects.into_iter(), owner)).await;
        applied.map_err(|error| error.to_string())
    }

    fn deadline_of(&self, region: &RegionName) -> Duration {
        if self.failed_before.contains(region) {
            self.deadline / RETRY_SHARE
        } else {
            self.deadline
        }
    }

    async fn apply_all<'o>(&self, objects: impl Iterator<Item = &'o Object>, owner: &str) -> Result<(), ApplyError> {
        for object in objects {
            self.apply_one(object, owner).await.map_err(|error| match error {
                OneError::Foreign => ApplyError::Foreign {
                    kind: object.kind,
                    name: object.name.clone(),
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

    async fn apply_one(&self, object: &Object, owner: &str) -> Result<(), OneError> {
        let api = self.api(object.kind);
        match self.live.get(object.kind, &object.name) {
            Some(live) if !orphans::is_ours(live, owner) => return Err(OneError::Foreign),
            Some(live) if diff::is_current(live, &object.body) => return Ok(()),
            Some(live) => hand_over(&api, object, live).await?,
            // Not among ours: whatever has the name already is someone else's, and forcing would seize it.
            None => {
                if let Some(other) = api.get_opt(&object.name).await?
                    && !orphans::is_ours(&other, owner)
                {
                    return Err(OneError::Foreign);
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
    /// are being left alone waits, too.
    async fn sweep(
        &self,
        rendered: &[Object],
        owner: &str,
        kinds: impl Fn(Kind) -> bool,
    ) -> Result<BTreeMap<RegionName, String>, ApplyError> {
        let mut regions: BTreeMap<Option<RegionName>, Vec<(Kind, &DynamicObject)>> = BTreeMap::new();
        for (kind, orphan) in orphans::orphans(self.live, rendered, owner) {
            let region = region_of(orphan);
            let waits = region.as_ref().is_some_and(|region| self.waiting.contains_key(region));
            if kinds(kind) && !waits {
                regions.entry(region).or_default().push((kind, orphan));
            }
        }
        let outcomes = join_all(regions.into_iter().map(async |(region, orphans)| {
            let deadline = region.as_ref().map_or(self.deadline, |region| self.deadline_of(region));
            let removed = within(deadline, self.remove(orphans)).await;
            (region, removed)
        }))
        .await;
        let mut failures = BTreeMap::new();
        for (region, removed) in outcomes {
            match (region, removed) {
                (_, Ok(())) => {}
                (None, Err(error)) => return Err(error),
                (Some(region), Err(error)) => {
                    warn!(%region, %error, "left-overs not removed");
                    failures.insert(region, error.to_string());
                }
            }
        }
        Ok(failures)
    }

    async fn remove(&self, orphans: Vec<(Kind, &DynamicObject)>) -> Result<(), ApplyError> {
        for (kind, orphan) in orphans {
            let name = orphan.name_any();
            info!(?kind, %name, "removing what is no longer rendered");
            let params = DeleteParams {
                // This very object, not one that someone has made in its place.
                preconditions: Some(Preconditions {
                    uid: orphan.uid(),
                    resource_version: None,
                }),
                ..DeleteParams::background()
            };
            match self.api(kind).delete(&name, &params).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
                Err(source) => return Err(ApplyError::Request { kind, name, source }),
            }
        }
        Ok(())
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(
            self.client.clone(),
            self.platform.namespace.as_str(),
            &kind.api_resource(),
        )
    }
}

async fn within(deadline: Duration, work: impl Future<Output = Result<(), ApplyError>>) -> Result<(), ApplyError> {
    tokio::time::timeout(deadline, work)
        .await
        .map_err(|_| ApplyError::Deadline)?
}

enum OneError {
    Foreign,
    Request(kube::Error),
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
