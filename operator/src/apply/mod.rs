//! Step four: server-side apply, in order, each region on its own deadline; then what is no longer rendered is removed.
//!
//! Nothing needs a finalizer: within one cluster everything rendered is owned by the platform, and the garbage collector
//! takes it along.

mod diff;
mod handover;
mod orphans;
mod secret;

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
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
    observed::Live,
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
    #[error("not applied within {0:?}")]
    Deadline(Duration),
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
    /// Time that what spans regions, and each region by itself, may take for one stage.
    pub deadline: Duration,
    /// Whether to make sure of the signing key this time.
    pub ensure_secret: bool,
}

impl Applier<'_> {
    /// Applies everything. An error is one of what spans regions; the failures of regions are in the result.
    pub async fn apply(&self, prepared: Resources<Prepared>) -> Result<Resources<Applied>, ApplyError> {
        let owner = self.platform.owner.as_ref().ok_or(ApplyError::Unowned)?.uid.clone();
        if self.ensure_secret && self.platform.deployed_services().next().is_some() {
            secret::ensure(self.client, self.platform)
                .await
                .map_err(ApplyError::Secret)?;
        }
        let mut failures: BTreeMap<RegionName, String> = BTreeMap::new();
        // An autoscaler that is to go must go before its workload's replicas are written, or the two fight.
        self.sweep(prepared.objects(), &owner, |kind| kind == Kind::HorizontalPodAutoscaler)
            .await?;
        for stage in Stage::ALL {
            let of_stage = |object: &&Object| object.kind.stage() == stage;
            let shared = prepared
                .objects()
                .iter()
                .filter(of_stage)
                .filter(|object| object.region.is_none());
            self.within_deadline(self.apply_all(shared, &owner)).await?;
            let regions = self
                .platform
                .regions
                .iter()
                .filter(|region| !failures.contains_key(&region.name));
            let outcomes = join_all(regions.map(async |region| {
                let objects = prepared.objects().iter().filter(of_stage);
                let objects = objects.filter(|object| object.region.as_ref() == Some(&region.name));
                (
                    region.name.clone(),
                    self.within_deadline(self.apply_all(objects, &owner)).await,
                )
            }))
            .await;
            for (region, outcome) in outcomes {
                if let Err(error) = outcome {
                    warn!(%region, %error, "region not applied");
                    failures.insert(region, error.to_string());
                }
            }
        }
        if failures.is_empty() {
            self.sweep(prepared.objects(), &owner, |_| true).await?;
        }
        Ok(prepared.applied(failures))
    }

    async fn within_deadline(&self, work: impl Future<Output = Result<(), ApplyError>>) -> Result<(), ApplyError> {
        tokio::time::timeout(self.deadline, work)
            .await
            .map_err(|_| ApplyError::Deadline(self.deadline))?
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

    /// Deletes what is ours and no longer rendered.
    async fn sweep(&self, rendered: &[Object], owner: &str, kinds: impl Fn(Kind) -> bool) -> Result<(), ApplyError> {
        for (kind, orphan) in orphans::orphans(self.live, rendered, owner) {
            if !kinds(kind) {
                continue;
            }
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
    for attempt in 1.. {
        let Some(step) = handover::first_step(object, &live) else {
            return Ok(());
        };
        info!(name = %object.name, "handing spec.replicas over to the autoscaler");
        match patch(api, &object.name, handover::MANAGER, &step).await {
            Err(OneError::Request(kube::Error::Api(status))) if status.is_conflict() && attempt < HANDOVER_ATTEMPTS => {
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
