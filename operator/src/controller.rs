//! The controller: what is watched, and how often a platform is looked at.

use std::{fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt, TryStreamExt, future, stream};
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
    Api, Client, Resource, ResourceExt,
    runtime::{
        Predicate, PredicateConfig, WatchStreamExt, applier,
        controller::{
            self, Action, Error as ControllerError, ReconcileRequest, trigger_owners, trigger_self, trigger_with,
        },
        predicates,
        reflector::{self, ObjectRef},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use showrunner_crds::{labels, platform::StreamingPlatform, premiere::Premiere};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Instrument, debug, info, warn};

use crate::{
    drills,
    options::OperatorOptions,
    reconcile::{Context, ReconcileError, on_error, reconcile},
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
    // A task of its own: it goes with this one, however that ends, and what it panics of is not lost.
    let drills = options.finish_drills.then(|| {
        let finishing = drills::run(client.clone(), options.clone(), stop.clone());
        AbortOnDropHandle::new(tokio::spawn(finishing.in_current_span()))
    });
    let drills = async {
        if let Some(drills) = drills {
            joined(drills).await;
            if !stop.is_cancelled() {
                return;
            }
        }
        // What is under way for platforms is finished all the same.
        future::pending::<()>().await;
    };
    let context = Arc::new(Context::new(client.clone(), options.clone()));
    let cancelled = stop.clone();
    info!(namespace = namespace.unwrap_or("all"), "operator starts");

    let (reader, writer) = reflector::store();
    let platforms = backing_off(api(&client, namespace), watcher::Config::default()).reflect(writer);
    let queue = stream::select_all([
        // Not for what is written to the status: that is by ourselves, and a look that fails in ever other words would call
        // for the next one at once.
        trigger_self(
            platforms.touched_objects().predicate_filter(
                predicates::generation
                    .combine(predicates::labels)
                    .combine(predicates::annotations)
                    .combine(predicates::finalizers),
                PredicateConfig::default(),
            ),
            (),
        )
        .boxed(),
        owned::<ServiceAccount>(&client, namespace, &ours),
        owned::<ConfigMap>(&client, namespace, &ours),
        owned::<NetworkPolicy>(&client, namespace, &ours),
        owned::<Service>(&client, namespace, &ours),
        owned::<StatefulSet>(&client, namespace, &ours),
        owned::<Deployment>(&client, namespace, &ours),
        owned::<HorizontalPodAutoscaler>(&client, namespace, &ours),
        owned::<PodDisruptionBudget>(&client, namespace, &ours),
        trigger_with(
            backing_off(api(&client, namespace), watcher::Config::default()).touched_objects(),
            |premiere: Premiere| {
                let namespace = premiere.namespace().unwrap_or_default();
                Some(ObjectRef::new(&premiere.spec.platform).within(&namespace))
            },
        )
        .boxed(),
    ]);
    let platforms = applier(
        |platform, context| Box::pin(look(platform, context)),
        |platform, error, context| on_error(&platform, error, &context),
        context,
        reader,
        queue.take_until(cancelled.cancelled_owned()),
        settings,
    )
    .for_each(async |outcome| match outcome {
        Ok((platform, _)) => debug!(%platform, "reconciled"),
        // The first is reported by `on_error` already, the second by the watch.
        Err(ControllerError::ReconcilerFailed(..) | ControllerError::QueueError(_)) => {}
        // An event of an object that is gone meanwhile.
        Err(ControllerError::ObjectNotFound(platform)) => debug!(%platform, "platform is gone"),
        Err(error) => warn!(%error, "queue"),
    });
    tokio::select! {
        () = platforms => {}
        () = drills => {}
    }

    info!("operator stops");
    if stop.is_cancelled() { Ok(()) } else { Err(Error::Ended) }
}

/// One look, as a task of its own: looks at several platforms share the processors.
async fn look(platform: Arc<StreamingPlatform>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    joined(AbortOnDropHandle::new(tokio::spawn(
        reconcile(platform, context).in_current_span(),
    )))
    .await
}

/// What a task gives; it panics here if it did there.
async fn joined<T>(task: AbortOnDropHandle<T>) -> T {
    match task.await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime shuts down.
            Err(_) => future::pending().await,
        },
    }
}

type Events<K> = Result<watcher::Event<K>, watcher::Error>;
type Requests = stream::BoxStream<'static, Result<ReconcileRequest<StreamingPlatform>, watcher::Error>>;

/// A watch that waits ever longer after failures in a row. Each by itself: with one back-off for all of them, as
/// `kube::runtime::Controller` has it, a watch that fails makes the operator deaf to the others too, and ten that fail
/// together (the API server was away for a moment) do so one after another, for minutes.
fn backing_off<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Events<K>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api, config)
        .default_backoff()
        .inspect_err(|error| warn!(kind = %K::kind(&()), %error, "watch interrupted"))
}

fn owned<K>(client: &Client, namespace: Option<&str>, config: &watcher::Config) -> Requests
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let objects = backing_off(api::<K>(client, namespace), config.clone()).touched_objects();
    trigger_owners(objects, (), ()).boxed()
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
