//! Step one (client): what the platform refers to, and what is there already.

use std::{collections::BTreeMap, time::Duration};

use futures::future::try_join_all;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry};
use kube::{Api, Client, ResourceExt, api::ListParams, core::DynamicObject};
use serde::de::{DeserializeOwned, IgnoredAny};
use showrunner_crds::{labels, platform::StreamingPlatform, premiere::Premiere};

use crate::{
    clock::Clock,
    kind::Kind,
    listed,
    observed::{Live, Observed},
};

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
    let name = platform.name_any();
    let reading = async {
        let ours = rendered(client, &namespace, &name);
        let every = ListParams::default();
        let premieres = list::<Premiere>(client, &namespace, &every, "premieres");
        futures::try_join!(ours, premieres)
    };
    let ((live, pods), premieres) = tokio::time::timeout(deadline, reading)
        .await
        .map_err(|_| DereferenceError::Deadline(deadline))??;
    Ok(Observed {
        now: clock.now(),
        live,
        elsewhere: BTreeMap::new(),
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

/// What a cluster has of a platform: objects, and pods.
pub(crate) async fn rendered(
    client: &Client,
    namespace: &str,
    platform: &str,
) -> Result<(Live, Vec<Pod>), DereferenceError> {
    let ours = of_platform(platform);
    let pods = list::<Pod>(client, namespace, &ours, "pods");
    futures::try_join!(objects(client, namespace, &ours), pods)
}

/// Whatever is of a platform.
pub(crate) fn of_platform(name: &str) -> ListParams {
    ListParams::default().labels(&format!("{}={name}", labels::PLATFORM))
}

/// The objects of every kind.
pub(crate) async fn objects(client: &Client, namespace: &str, params: &ListParams) -> Result<Live, DereferenceError> {
    let objects = try_join_all(Kind::ALL.map(|kind| list_kind(client, namespace, kind, params))).await?;
    Ok(Live::new(objects.into_iter().flatten()))
}

/// The objects of one kind.
pub(crate) async fn list_kind(
    client: &Client,
    namespace: &str,
    kind: Kind,
    params: &ListParams,
) -> Result<Vec<(Kind, DynamicObject)>, DereferenceError> {
    let objects = if kind == Kind::Deployment {
        listed::list::<Vec<ManagedFieldsEntry>>(client, namespace, kind, params).await
    } else {
        listed::list::<IgnoredAny>(client, namespace, kind, params).await
    };
    let objects = objects.map_err(|source| DereferenceError::List {
        what: "rendered objects",
        source,
    })?;
    Ok(objects.into_iter().map(|object| (kind, object)).collect())
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
