//! Taking mutations back: each again and again until it is seen to be gone, all of them under one deadline.

use std::{fmt::Debug, time::Duration};

use chaos_mesh_rs::{NetworkChaos, PodChaos};
use futures::{StreamExt as _, stream};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Preconditions},
};
use rand::random_range;
use serde::de::DeserializeOwned;
use showrunner_crds::labels;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::warn;

use super::{Entry, FaultError, Undo, api::ask};

/// Time for taking back everything a fault did, all mutations together.
pub const UNDO_WITHIN: Duration = Duration::from_secs(90);
/// Mutations taken back at a time: one that hangs must not use up the time of the others.
const AT_ONCE: usize = 256;
/// Time between two looks at an object that is to go.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest wait between two tries is 2 to this power tenths of a second, and up to twice that.
const LONGEST_SHIFT: u32 = 5;

/// Takes back what is on the given entries, the latest first and without waiting for one before the next; goes on past
/// failures. Gives each entry with how it went. `run` is the run whose objects they are.
pub(crate) async fn take_back_all<'a, D, F>(
    client: &Client,
    run: &str,
    entries: &'a [Entry],
    within: Duration,
    done: D,
) -> Vec<(&'a Entry, Result<(), FaultError>)>
where
    D: Fn(&'a Entry) -> F,
    F: Future<Output = Result<(), FaultError>>,
{
    let deadline = Instant::now() + within;
    let done = &done;
    let undos: Vec<_> = entries
        .iter()
        .rev()
        .map(|entry| async move {
            let outcome = persist(deadline, within, || take_back(client, run, &entry.undo)).await;
            match &outcome {
                // An undo that cannot be noted was carried out all the same.
                Ok(()) => (entry, done(entry).await),
                Err(error) => {
                    warn!(%error, fault = entry.fault, "an undo failed");
                    (entry, outcome)
                }
            }
        })
        .collect();
    stream::iter(undos).buffer_unordered(AT_ONCE).collect().await
}

/// Tries until it works, at the latest until the deadline; then gives the last error.
pub(crate) async fn persist<T, F>(
    deadline: Instant,
    within: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T, FaultError>
where
    F: Future<Output = Result<T, FaultError>>,
{
    let mut tries = 0_u32;
    let mut last = None;
    loop {
        match timeout_at(deadline, attempt()).await {
            Ok(Ok(outcome)) => return Ok(outcome),
            // More tries will not teach this program what the kind is.
            Ok(Err(error @ FaultError::UnknownKind(_))) => return Err(error),
            Ok(Err(error)) => last = Some(error),
            Err(_) => {
                return Err(last.unwrap_or(FaultError::NotUndone {
                    seconds: within.as_secs(),
                }));
            }
        }
        tries += 1;
        let pause = Duration::from_millis(random_range(100..=200) << tries.min(LONGEST_SHIFT));
        sleep_until((Instant::now() + pause).min(deadline)).await;
    }
}

/// Takes a mutation back and waits until it is seen to be gone, however long that takes. What is gone already is taken back.
async fn take_back(client: &Client, run: &str, undo: &Undo) -> Result<(), FaultError> {
    match undo {
        Undo::SelfHealing => Ok(()),
        Undo::DeleteChaos { kind, namespace, name } => match kind.as_str() {
            "NetworkChaos" => delete(&Api::<NetworkChaos>::namespaced(client.clone(), namespace), run, name).await,
            "PodChaos" => delete(&Api::<PodChaos>::namespaced(client.clone(), namespace), run, name).await,
            other => Err(FaultError::UnknownKind(other.to_owned())),
        },
    }
}

/// Whether anything of a mutation is still there.
pub(crate) async fn left(client: &Client, run: &str, undo: &Undo) -> Result<bool, FaultError> {
    match undo {
        Undo::SelfHealing => Ok(false),
        Undo::DeleteChaos { kind, namespace, name } => match kind.as_str() {
            "NetworkChaos" => {
                let api = Api::<NetworkChaos>::namespaced(client.clone(), namespace);
                Ok(ours(&api, run, name).await?.is_some())
            }
            "PodChaos" => {
                let api = Api::<PodChaos>::namespaced(client.clone(), namespace);
                Ok(ours(&api, run, name).await?.is_some())
            }
            other => Err(FaultError::UnknownKind(other.to_owned())),
        },
    }
}

/// What carries the run's label, whether a journal names it or not.
pub(crate) async fn strays(client: &Client, namespace: &str, run: &str) -> Result<Vec<Undo>, FaultError> {
    let mut found = labelled::<NetworkChaos>(client, namespace, run).await?;
    found.extend(labelled::<PodChaos>(client, namespace, run).await?);
    Ok(found)
}

async fn labelled<K>(client: &Client, namespace: &str, run: &str) -> Result<Vec<Undo>, FaultError>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let of_run = ListParams::default().labels(&format!("{}={run}", labels::RUN));
    let listed = match ask(api.list(&of_run)).await {
        // The cluster does not know the kind, so it has none.
        Err(FaultError::Api(kube::Error::Api(status))) if status.code == 404 => return Ok(Vec::new()),
        listed => listed?,
    };
    let undo = |object: &K| Undo::DeleteChaos {
        kind: K::kind(&()).into_owned(),
        namespace: namespace.to_owned(),
        name: object.name_any(),
    };
    Ok(listed.iter().map(undo).collect())
}

/// The object of that name, if it is the run's. Someone else's is none of ours: our own was refused because of it.
async fn ours<K>(api: &Api<K>, run: &str, name: &str) -> Result<Option<K>, FaultError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let found = ask(api.get_opt(name)).await?;
    Ok(found.filter(|object| object.labels().get(labels::RUN).is_some_and(|of| of == run)))
}

async fn delete<K>(api: &Api<K>, run: &str, name: &str) -> Result<(), FaultError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let Some(object) = ours(api, run, name).await? else {
        return Ok(());
    };
    let this = DeleteParams {
        preconditions: Some(Preconditions {
            uid: object.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match ask(api.delete(name, &this)).await {
        Err(FaultError::Api(kube::Error::Api(status))) if status.code == 404 => return Ok(()),
        deleted => drop(deleted?),
    }
    // The finalizer holds the object until the fault is recovered, so gone means recovered.
    while ours(api, run, name).await?.is_some() {
        sleep(PAUSE).await;
    }
    Ok(())
}
