//! Sending mutations and taking them back. Every call has a deadline, every wait an end.

use std::{fmt::Debug, time::Duration};

use chaos_mesh_rs::{injected, kinds::Experiment as Chaos};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, Resource};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Experiment, FaultError};
use crate::observe::Subject;

/// How long the API server may take to answer one call.
pub(super) const CALL: Duration = Duration::from_secs(10);
/// Time between two looks at a status.
const PAUSE: Duration = Duration::from_millis(100);
/// Caches flushed at a time.
const FLUSHES: usize = 8;

/// How long a mutation may take to be seen, and what ends the wait early.
pub(super) struct Patience<'a> {
    /// The deadline.
    pub(super) until: Instant,
    /// Ends the wait.
    pub(super) stop: &'a CancellationToken,
    /// Whether a target that vanishes ends the wait: what is left can then be covered without it.
    pub(super) watch_targets: bool,
}

/// Waits for an answer of the API server, but not for ever.
pub(crate) async fn ask<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, FaultError> {
    match timeout(CALL, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(FaultError::Silent {
            seconds: CALL.as_secs(),
        }),
    }
}

/// Sends a mutation to `pods` and waits until it is seen to have taken effect.
pub(super) async fn send(
    client: &Client,
    subject: &Subject,
    experiment: &Experiment,
    pods: &[String],
    patience: &Patience<'_>,
) -> Result<(), FaultError> {
    match experiment {
        Experiment::Network(chaos) => create(client, subject, chaos.as_ref(), pods, patience).await,
        // Its targets vanish because it works.
        Experiment::Pod(chaos) => create(client, subject, chaos.as_ref(), &[], patience).await,
        Experiment::Flush(pods) => flush_all(client, subject, pods, patience.stop).await,
    }
}

async fn create<K>(
    client: &Client,
    subject: &Subject,
    chaos: &K,
    pods: &[String],
    patience: &Patience<'_>,
) -> Result<(), FaultError>
where
    K: Chaos + Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    K: Serialize + DeserializeOwned + Clone + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), &subject.namespace);
    let name = chaos.meta().name.clone().unwrap_or_default();
    let began = Instant::now();
    // Not given up when the run is to end: a request on its way could arrive after its undo.
    match ask(make(client, &api, chaos)).await {
        Ok(()) => {}
        Err(error) if refused(&error) => return Err(error),
        Err(error) => {
            return Err(FaultError::Unsure {
                name,
                source: Box::new(error),
            });
        }
    }
    loop {
        let seen = ask(api.get_opt(&name)).await?;
        if seen.as_ref().and_then(Chaos::status).is_some_and(injected) {
            return Ok(());
        }
        if seen.is_none() || Instant::now() >= patience.until {
            let why = match &seen {
                None => "the object is gone".to_owned(),
                Some(object) => format!("its status is {:?}", object.status()),
            };
            return Err(FaultError::NotInjected {
                name,
                seconds: began.elapsed().as_secs(),
                why,
            });
        }
        if patience.watch_targets {
            still_there(client, subject, pods).await?;
        }
        tokio::select! {
            biased;
            () = patience.stop.cancelled() => return Err(FaultError::Interrupted),
            () = sleep(PAUSE) => {}
        }
    }
}

/// Creates an object, or has the API server give it up when nobody waits for the answer any more.
async fn make<K>(client: &Client, api: &Api<K>, object: &K) -> kube::Result<()>
where
    K: Resource + Serialize + DeserializeOwned + Clone + Debug,
{
    let url = format!("{}?timeout={}s", api.resource_url(), CALL.as_secs());
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let request = http::Request::post(url)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(kube::Error::HttpError)?;
    client.request::<K>(request).await.map(drop)
}

/// Whether the API server said no, and so nothing comes of it. Whoever answers 5xx may have passed the request on.
fn refused(error: &FaultError) -> bool {
    matches!(error, FaultError::Api(kube::Error::Api(status)) if (400..500).contains(&status.code))
}

/// An error that names the first target that is gone or going.
async fn still_there(client: &Client, subject: &Subject, pods: &[String]) -> Result<(), FaultError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &subject.namespace);
    for pod in pods {
        let found = ask(api.get_opt(pod)).await?;
        if found.is_none_or(|p| p.metadata.deletion_timestamp.is_some()) {
            return Err(FaultError::Vanished { pod: pod.clone() });
        }
    }
    Ok(())
}

/// Flushes every cache, past those that fail; none any more once `stop` fires.
async fn flush_all(
    client: &Client,
    subject: &Subject,
    pods: &[String],
    stop: &CancellationToken,
) -> Result<(), FaultError> {
    let flushes: Vec<_> = pods
        .iter()
        .map(|pod| async move {
            if stop.is_cancelled() {
                return Err(FaultError::Interrupted);
            }
            flush(client, subject, pod).await
        })
        .collect();
    // In the order of the pods, however long each takes.
    let outcomes: Vec<Result<(), FaultError>> = stream::iter(flushes).buffered(FLUSHES).collect().await;
    let (mut flushed, mut failed) = (Vec::new(), Vec::new());
    for (pod, outcome) in pods.iter().zip(outcomes) {
        match outcome {
            Ok(()) => flushed.push(pod.clone()),
            Err(FaultError::Interrupted) => return Err(FaultError::Interrupted),
            Err(error) => failed.push(format!("{pod}: {error}")),
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(FaultError::NotFlushed { flushed, failed })
}

async fn flush(client: &Client, subject: &Subject, pod: &str) -> Result<(), FaultError> {
    let port = showrunner_crds::names::ADMIN_PORT;
    let path = format!("/api/v1/namespaces/{}/pods/{pod}:{port}/proxy/flush", subject.namespace);
    let request = http::Request::post(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    ask(client.request_text(request)).await?;
    Ok(())
}
