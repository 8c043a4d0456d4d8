//! The controller: what is watched, and how often a platform is looked at.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Client, Resource,
    runtime::{
        Controller,
        controller::{self, Error as ControllerError},
        reflector::ObjectRef,
        watcher,
    },
};
use serde::de::DeserializeOwned;
use showrunner_crds::{labels, platform::StreamingPlatform, premiere::Premiere};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    options::OperatorOptions,
    reconcile::{Context, on_error, reconcile},
};

/// Why the operator stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The controller ended although nobody had asked it to.
    #[error("the controller ended by itself")]
    Ended,
}

/// Runs the operator until the token is cancelled; looks that are under way are finished first.
///
/// Watches that break are taken up again by themselves. The `StreamingPlatform` and `Premiere` definitions have to be
/// installed; until they are, the watches fail and are retried.
pub async fn run(client: Client, options: OperatorOptions, stop: CancellationToken) -> Result<(), Error> {
    let namespace = options.namespace.clone();
    let namespace = namespace.as_deref();
    // Only what we manage: neither the cluster's other objects nor their noise come over the wire.
    let ours = watcher::Config::default().labels(&format!("{}={}", labels::APP_MANAGED_BY, labels::MANAGER));
    let settings = controller::Config::default()
        .debounce(options.debounce)
        .concurrency(options.concurrency);
    let context = Arc::new(Context::new(client.clone(), options.clone()));
    let cancelled = stop.clone();
    info!(namespace = namespace.unwrap_or("all"), "operator starts");

    Controller::new(api::<StreamingPlatform>(&client, namespace), watcher::Config::default())
        .owns(api::<ServiceAccount>(&client, namespace), ours.clone())
        .owns(api::<ConfigMap>(&client, namespace), ours.clone())
        .owns(api::<NetworkPolicy>(&client, namespace), ours.clone())
        .owns(api::<Service>(&client, namespace), ours.clone())
        .owns(api::<StatefulSet>(&client, namespace), ours.clone())
        .owns(api::<Deployment>(&client, namespace), ours.clone())
        .owns(api::<HorizontalPodAutoscaler>(&client, namespace), ours.clone())
        .owns(api::<PodDisruptionBudget>(&client, namespace), ours)
        .watches(
            api::<Premiere>(&client, namespace),
            watcher::Config::default(),
            |premiere| {
                let namespace = premiere.metadata.namespace.unwrap_or_default();
                Some(ObjectRef::new(&premiere.spec.platform).within(&namespace))
            },
        )
        .with_config(settings)
        .graceful_shutdown_on(async move { cancelled.cancelled().await })
        .run(
            reconcile,
            |platform, error, context| on_error(&platform, error, &context),
            context,
        )
        .for_each(async |outcome| match outcome {
            Ok((platform, _)) => debug!(%platform, "reconciled"),
            // Reported by `on_error` already.
            Err(ControllerError::ReconcilerFailed(..)) => {}
            // An event of an object that is gone meanwhile.
            Err(ControllerError::ObjectNotFound(platform)) => debug!(%platform, "platform is gone"),
            Err(error) => warn!(%error, "watch"),
        })
        .await;

    info!("operator stops");
    if stop.is_cancelled() { Ok(()) } else { Err(Error::Ended) }
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}
