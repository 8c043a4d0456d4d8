//! Taking mutations back: each again and again until it is seen to be gone, all of them under one deadline.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use chaos_mesh_rs::{NetworkChaos, PodChaos};
use futures::{StreamExt as _, stream};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Preconditions},
};
use rand::random_range;
use showrunner_crds::labels;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::warn;

use super::{
    Entry, FaultError, Stage, Undo,
    api::{CALL, ask},
};

/// Time for taking back everything a fault did, all mutations together.
pub const UNDO_WITHIN: Duration = Duration::from_secs(90);
/// Mutations taken back at a time: one that hangs must not use up the time of the others.
const AT_ONCE: usize = 256;
/// How long what may still be on its way to the cluster is looked for before it counts as gone. The API server is told to give
/// the call up after a third of it; one admission webhook may take all of it at most.
const GRACE: Duration = CALL.saturating_mul(3);
/// Time between two looks meanwhile.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two looks at an object that is to go.
const PAUSE: Duration = Duration::from_millis(250);
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
    let began = Instant::now();
    let deadline = began + within;
    let done = &done;
    let undos: Vec<_> = entries
        .iter()
        .rev()
        .map(|entry| async move {
            // Whether the cluster ever had it, or has it yet, nobody knows of an intent.
            let settled = if entry.stage == Stage::Intent {
                began + GRACE
            } else {
                began
            };
            let seen = AtomicBool::new(false);
            let attempt = || take_back(client, run, &entry.undo, settled, &seen);
            let outcome = persist(deadline, within, attempt).await;
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

/// Kinds of which a run makes objects.
fn kinds() -> [ApiResource; 2] {
    [
        ApiResource::erase::<NetworkChaos>(&()),
        ApiResource::erase::<PodChaos>(&()),
    ]
}

/// What a mutation made; `None` where it made no object.
fn made<'a>(client: &Client, undo: &'a Undo) -> Result<Option<(Api<DynamicObject>, &'a str)>, FaultError> {
    let Undo::DeleteChaos { kind, namespace, name } = undo else {
        return Ok(None);
    };
    let known = kinds().into_iter().find(|known| known.kind == *kind);
    let resource = known.ok_or_else(|| FaultError::UnknownKind(kind.clone()))?;
    Ok(Some((Api::namespaced_with(client.clone(), namespace, &resource), name)))
}

/// Takes a mutation back and waits until it is seen to be gone, however long that takes. What is gone already is taken back,
/// but not before `settled`: until then it may still come, unless it was `seen` in this try or an earlier one.
async fn take_back(
    client: &Client,
    run: &str,
    undo: &Undo,
    settled: Instant,
    seen: &AtomicBool,
) -> Result<(), FaultError> {
    match made(client, undo)? {
        Some((api, name)) => delete(&api, run, name, settled, seen).await,
        None => Ok(()),
    }
}

/// What carries the run's label, whether a journal names it or not.
pub(crate) async fn strays(client: &Client, namespace: &str, run: &str) -> Result<Vec<Undo>, FaultError> {
    let of_run = ListParams::default().labels(&format!("{}={run}", labels::RUN));
    let mut found = Vec::new();
    for resource in kinds() {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let listed = match ask(api.list(&of_run)).await {
            // The cluster does not know the kind, so it has none.
            Err(FaultError::Api(kube::Error::Api(status))) if status.code == 404 => continue,
            listed => listed?,
        };
        found.extend(listed.iter().map(|object| Undo::DeleteChaos {
            kind: resource.kind.clone(),
            namespace: namespace.to_owned(),
            name: object.name_any(),
        }));
    }
    Ok(found)
}

/// The object of that name, if it is the run's. Someone else's is none of ours: our own was refused because of it.
async fn ours(api: &Api<DynamicObject>, run: &str, name: &str) -> Result<Option<DynamicObject>, FaultError> {
    let found = ask(api.get_opt(name)).await?;
    Ok(found.filter(|object| object.labels().get(labels::RUN).is_some_and(|of| of == run)))
}

async fn delete(
    api: &Api<DynamicObject>,
    run: &str,
    name: &str,
    settled: Instant,
    seen: &AtomicBool,
) -> Result<(), FaultError> {
    let object = loop {
        if let Some(object) = ours(api, run, name).await? {
            break object;
        }
        if seen.load(Ordering::Relaxed) || Instant::now() >= settled {
            return Ok(());
        }
        sleep_until((Instant::now() + LOOK).min(settled)).await;
    };
    seen.store(true, Ordering::Relaxed);
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
