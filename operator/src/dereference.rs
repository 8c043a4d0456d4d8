//! Step one (client): what the platform refers to, and what is there already.

use std::time::Duration;

use futures::{StreamExt, future::try_join_all, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, ObjectList},
    core::DynamicObject,
};
use serde::de::DeserializeOwned;
use showrunner_crds::{
    labels,
    names::HTTP_PORT,
    platform::{Role, StreamingPlatform},
    premiere::Premiere,
    wire::AudienceReport,
};
use tracing::debug;

use crate::{
    clock::Clock,
    kind::Kind,
    observed::{Live, Observed},
    pods::is_ready,
};

/// Steering servers asked at the same time.
const CONCURRENT_QUESTIONS: usize = 8;
/// How long a steering server may take to tell its audience.
const QUESTION_DEADLINE: Duration = Duration::from_secs(1);

/// Why the world could not be seen.
#[derive(Debug, thiserror::Error)]
pub enum DereferenceError {
    /// The platform is in no namespace, which the API server does not let happen.
    #[error("the platform has no namespace")]
    NoNamespace,
    /// A list was refused, or the API server could not be reached.
    #[error("list {what}: {source}")]
    List {
        /// What was listed.
        what: &'static str,
        /// What the API server said.
        source: kube::Error,
    },
    /// It took too long.
    #[error("the API server did not answer within {0:?}")]
    Deadline(Duration),
}

/// Reads everything that one reconciliation needs, except the audience.
pub async fn dereference(
    client: &Client,
    platform: &StreamingPlatform,
    deadline: Duration,
    clock: &Clock,
) -> Result<Observed, DereferenceError> {
    let namespace = platform.namespace().ok_or(DereferenceError::NoNamespace)?;
    let ours = ListParams::default().labels(&format!("{}={}", labels::PLATFORM, platform.name_any()));
    let reading = async {
        let objects = try_join_all(Kind::ALL.map(|kind| list_kind(client, &namespace, kind, &ours)));
        let pods = list::<Pod>(client, &namespace, &ours, "pods");
        let every = ListParams::default();
        let premieres = list::<Premiere>(client, &namespace, &every, "premieres");
        futures::try_join!(objects, pods, premieres)
    };
    let (objects, pods, premieres) = tokio::time::timeout(deadline, reading)
        .await
        .map_err(|_| DereferenceError::Deadline(deadline))??;
    Ok(Observed {
        now: clock.now(),
        live: Live::new(objects.into_iter().flatten()),
        pods,
        premieres: premieres
            .into_iter()
            .filter(|premiere| premiere.spec.platform == platform.name_any())
            .collect(),
        conditions: platform
            .status
            .as_ref()
            .map(|status| status.conditions.clone())
            .unwrap_or_default(),
    })
}

async fn list_kind(
    client: &Client,
    namespace: &str,
    kind: Kind,
    params: &ListParams,
) -> Result<Vec<(Kind, DynamicObject)>, DereferenceError> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.api_resource());
    let list: ObjectList<DynamicObject> = api.list(params).await.map_err(|source| DereferenceError::List {
        what: "rendered objects",
        source,
    })?;
    Ok(list.items.into_iter().map(|object| (kind, object)).collect())
}

async fn list<K>(
    client: &Client,
    namespace: &str,
    params: &ListParams,
    what: &'static str,
) -> Result<Vec<K>, DereferenceError>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.list(params)
        .await
        .map(|list| list.items)
        .map_err(|source| DereferenceError::List { what, source })
}

/// Asks every ready steering server for its audience, through the API server's pod proxy: the operator needs no route to
/// the pods. Who does not answer in time is reported as silent, not as an error.
pub async fn ask_audience(client: &Client, pods: &[Pod]) -> Vec<(String, Option<AudienceReport>)> {
    let mut servers = Vec::new();
    for pod in pods {
        let steering = pod
            .labels()
            .get(labels::ROLE)
            .is_some_and(|role| role == Role::Steering.as_str());
        if steering && is_ready(pod) {
            servers.push((pod.namespace().unwrap_or_default(), pod.name_any()));
        }
    }
    let questions = servers
        .into_iter()
        .map(|(namespace, pod)| ask_one(client.clone(), namespace, pod));
    stream::iter(questions)
        .buffer_unordered(CONCURRENT_QUESTIONS)
        .collect()
        .await
}

async fn ask_one(client: Client, namespace: String, pod: String) -> (String, Option<AudienceReport>) {
    let report = match tokio::time::timeout(QUESTION_DEADLINE, ask(&client, &namespace, &pod)).await {
        Ok(Ok(report)) => Some(report),
        Ok(Err(error)) => {
            debug!(%pod, %error, "steering server does not tell its audience");
            None
        }
        Err(_) => {
            debug!(%pod, "steering server does not tell its audience in time");
            None
        }
    };
    (pod, report)
}

async fn ask(client: &Client, namespace: &str, pod: &str) -> kube::Result<AudienceReport> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{HTTP_PORT}/proxy/audience");
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}
