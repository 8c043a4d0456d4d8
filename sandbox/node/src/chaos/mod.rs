//! Faults as custom resources: honours Chaos Mesh's PodChaos and NetworkChaos on pods of a [`NodeRuntime`].
//!
//! Status, finalizer, pause and duration mean what they mean in Chaos Mesh. Targets are chosen once. What cannot be done
//! here is refused with an Event and the reason in the conditions.

mod faults;
mod rules;
mod select;
mod status;

pub use rules::RuleError;
pub use select::{SelectError, choose, matching};

use crate::NodeRuntime;
use crate::agent::EventKind;
use chaos_mesh_rs::status::{ChaosStatus, DesiredPhase, INJECTED, NOT_INJECTED, Record};
use chaos_mesh_rs::{CLEAN_FINALIZER_ANNOTATION, FINALIZER, NetworkChaos, PodChaos};
use faults::Fault;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Config};
use kube::runtime::{Controller, conditions, wait::await_condition, watcher};
use kube::{Api, Client, CustomResourceExt, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A target that resisted is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Attempts on one target before it is left alone.
const ATTEMPTS: usize = 15;
/// How long the definitions may take to be served.
const ESTABLISHED: Duration = Duration::from_secs(30);
/// Objects reconciled at once.
const CONCURRENCY: u16 = 8;
/// Changes of an object within this time are taken together.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// Why an experiment could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The API server said no.
    #[error("API request failed: {0}")]
    Api(#[from] kube::Error),
    /// A custom resource definition is not served.
    #[error("definition {0} is not established: {1}")]
    NotEstablished(String, String),
}

struct Context {
    client: Client,
    runtime: Arc<NodeRuntime>,
    seed: u64,
}

/// Installs the definitions of the two kinds honoured here, where they are missing, and waits until they are served.
/// Others are left out on purpose: an experiment that nobody honours must not be accepted.
pub async fn install_definitions(client: &Client) -> Result<(), ChaosError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let served = [PodChaos::crd_name(), NetworkChaos::crd_name()];
    for crd in chaos_mesh_rs::crds()
        .into_iter()
        .filter(|crd| served.contains(&crd.name_any().as_str()))
    {
        match api.create(&PostParams::default(), &crd).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
        let name = crd.name_any();
        let established = await_condition(api.clone(), &name, conditions::is_crd_established());
        match timeout(ESTABLISHED, established).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(ChaosError::NotEstablished(name, error.to_string())),
            Err(elapsed) => return Err(ChaosError::NotEstablished(name, elapsed.to_string())),
        }
    }
    Ok(())
}

/// Runs the fault controller until `stop`. `seed` decides random choices of targets.
pub fn spawn(client: Client, runtime: Arc<NodeRuntime>, seed: u64, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => return,
            installed = install_definitions(&client) => {
                if let Err(error) = installed {
                    tracing::error!(%error, "faults are not available");
                    return;
                }
            }
        }
        let context = Arc::new(Context {
            client: client.clone(),
            runtime,
            seed,
        });
        tokio::join!(
            control::<PodChaos>(client.clone(), Arc::clone(&context), stop.clone()),
            control::<NetworkChaos>(client, context, stop)
        );
    })
}

async fn control<K>(client: Client, context: Arc<Context>, stop: CancellationToken)
where
    K: Fault + Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug + 'static,
{
    Controller::new(Api::<K>::all(client), watcher::Config::default())
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile::<K>, |_, error, _| retry(error), context)
        .for_each(|outcome| async move {
            if let Err(error) = outcome {
                tracing::debug!(%error, "experiment");
            }
        })
        .await;
}

fn retry(error: &ChaosError) -> Action {
    tracing::warn!(%error, "an experiment could not be looked at; trying again");
    Action::requeue(AGAIN)
}

async fn reconcile<K>(object: Arc<K>, context: Arc<Context>) -> Result<Action, ChaosError>
where
    K: Fault + Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug + 'static,
{
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<K> = Api::namespaced(context.client.clone(), &namespace);
    // The watch may lag behind what this controller wrote itself, and a kill must not happen twice.
    let Some(object) = api.get_opt(&object.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let object = &object;
    let deleted = object.meta().deletion_timestamp.is_some();
    let held = object.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    let before = object.status().cloned().unwrap_or_default();
    let mut status = before.clone();
    if deleted {
        let forced = object
            .annotations()
            .get(CLEAN_FINALIZER_ANNOTATION)
            .is_some_and(|value| value == "forced");
        if !held {
            return Ok(Action::await_change());
        }
        if forced || recover_all(&context, object, &mut status).await {
            set_finalizers(&api, object, false).await?;
            return Ok(Action::await_change());
        }
        write(&api, &object.name_any(), &before, &status).await?;
        return Ok(Action::requeue(AGAIN));
    }
    let desire = match status::desire(object, Timestamp::now()) {
        Ok(desire) => desire,
        Err(error) => return refuse(&context, &api, object, &before, &error).await,
    };
    if let Some(error) = object.refusal() {
        return refuse(&context, &api, object, &before, &error).await;
    }
    if !held {
        set_finalizers(&api, object, true).await?;
    }
    status.experiment.desired_phase = Some(desire.phase);
    let mut refusal = None;
    if status.experiment.container_records.is_empty() && desire.phase == DesiredPhase::Run {
        match select(&context, object).await? {
            Ok(records) => status.experiment.container_records = records,
            Err(reason) => {
                tell(&context, object, EventKind::Warning, "Failed", &reason);
                refusal = Some(reason);
            }
        }
    }
    let settled = match desire.phase {
        DesiredPhase::Run => inject_all(&context, object, &mut status).await,
        DesiredPhase::Stop => recover_all(&context, object, &mut status).await,
    };
    status.conditions = status::conditions(&status, desire.paused, refusal.as_deref());
    write(&api, &object.name_any(), &before, &status).await?;
    match (settled, desire.left) {
        (false, _) => Ok(Action::requeue(AGAIN)),
        // A little later than asked, so that the duration is surely over then.
        (true, Some(left)) => Ok(Action::requeue(left + Duration::from_millis(5))),
        (true, None) => Ok(Action::await_change()),
    }
}

/// Says no, in the conditions and as an Event, once.
async fn refuse<K>(
    context: &Context,
    api: &Api<K>,
    object: &K,
    before: &ChaosStatus,
    reason: &str,
) -> Result<Action, ChaosError>
where
    K: Fault + Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let mut status = ChaosStatus::default();
    status.experiment.desired_phase = Some(DesiredPhase::Stop);
    status.conditions = status::conditions(&status, false, Some(reason));
    if *before != status {
        tell(context, object, EventKind::Warning, "Unsupported", reason);
    }
    write(api, &object.name_any(), before, &status).await?;
    Ok(Action::await_change())
}

/// Chooses the targets. The inner error says why there are none.
async fn select<K: Fault>(context: &Context, object: &K) -> Result<Result<Vec<Record>, String>, ChaosError> {
    let own = object.namespace().unwrap_or_default();
    let pods = Api::<Pod>::all(context.client.clone())
        .list(&ListParams::default())
        .await?
        .items;
    let nodes = Api::<Node>::all(context.client.clone())
        .list(&ListParams::default())
        .await?
        .items;
    let mut records = Vec::new();
    for (key, selector, mode, value) in object.selections() {
        let name = format!("{own}/{}{key}", object.name_any());
        let chosen = matching(selector, &own, &pods, &nodes)
            .and_then(|matched| choose(matched, mode, value, context.seed, &name));
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let ids: Vec<String> = chosen.iter().flat_map(|pod| object.targets(pod)).collect();
        if ids.is_empty() {
            return Ok(Err(format!("no pod is selected (selector {key})")));
        }
        records.extend(ids.into_iter().map(|id| status::new_record(id, key)));
    }
    Ok(Ok(records))
}

/// Injects what is not injected. Whether nothing is left to try.
async fn inject_all<K: Fault>(context: &Context, object: &K, status: &mut ChaosStatus) -> bool {
    let mut settled = true;
    for record in &mut status.experiment.container_records {
        if record.phase == INJECTED || status::failures(record) >= ATTEMPTS {
            continue;
        }
        let outcome = object.inject(&context.runtime, record).await;
        settled &= outcome.is_ok();
        attempt(context, object, record, DesiredPhase::Run, &outcome);
    }
    object.settle(&context.runtime, &status.experiment.container_records);
    settled
}

/// Recovers what is injected. Whether nothing is left to recover.
async fn recover_all<K: Fault>(context: &Context, object: &K, status: &mut ChaosStatus) -> bool {
    status.experiment.desired_phase = Some(DesiredPhase::Stop);
    let mut settled = true;
    for record in &mut status.experiment.container_records {
        if record.phase == NOT_INJECTED {
            continue;
        }
        let outcome = object.recover(&context.runtime, record).await;
        settled &= outcome.is_ok();
        attempt(context, object, record, DesiredPhase::Stop, &outcome);
    }
    object.settle(&context.runtime, &status.experiment.container_records);
    settled
}

fn attempt<K: Fault>(
    context: &Context,
    object: &K,
    record: &mut Record,
    attempt: DesiredPhase,
    outcome: &Result<(), String>,
) {
    status::note(record, attempt, outcome, Timestamp::now());
    let id = &record.id;
    match (outcome, attempt) {
        (Ok(()), DesiredPhase::Run) => {
            tell(
                context,
                object,
                EventKind::Normal,
                "Applied",
                &format!("Successfully apply chaos for {id}"),
            );
        }
        (Ok(()), DesiredPhase::Stop) => {
            tell(
                context,
                object,
                EventKind::Normal,
                "Recovered",
                &format!("Successfully recover chaos for {id}"),
            );
        }
        (Err(error), _) => tell(context, object, EventKind::Warning, "Failed", &format!("{id}: {error}")),
    }
}

fn tell<K: Fault>(context: &Context, object: &K, kind: EventKind, reason: &str, message: &str) {
    let subject = ObjectReference {
        api_version: Some(format!("{}/{}", chaos_mesh_rs::GROUP, chaos_mesh_rs::VERSION)),
        kind: Some(object.kind_name().to_owned()),
        namespace: object.namespace(),
        name: Some(object.name_any()),
        uid: object.uid(),
        ..ObjectReference::default()
    };
    context
        .runtime
        .recorder()
        .record("chaos-controller", "", subject, kind, reason, message);
}

async fn set_finalizers<K>(api: &Api<K>, object: &K, held: bool) -> Result<(), ChaosError>
where
    K: Fault + Clone + DeserializeOwned + Debug,
{
    let mut finalizers: Vec<String> = object
        .finalizers()
        .iter()
        .filter(|name| *name != FINALIZER)
        .cloned()
        .collect();
    if held {
        finalizers.push(FINALIZER.to_owned());
    }
    // The version keeps somebody else's finalizer from being dropped with a list that does not know it.
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}});
    match api
        .patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes the status through the object: it is not a subresource.
async fn write<K>(api: &Api<K>, name: &str, before: &ChaosStatus, status: &ChaosStatus) -> Result<(), ChaosError>
where
    K: Clone + DeserializeOwned + Debug,
{
    if before == status {
        return Ok(());
    }
    match api
        .patch(name, &PatchParams::default(), &Patch::Merge(json!({"status": status})))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}
