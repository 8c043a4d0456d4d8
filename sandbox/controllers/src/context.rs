//! What a controller's shell holds: the client, the shared caches, the settings, the event recorder; and writes that
//! go through the caches.

use crate::config::ControllersConfig;
use crate::engine::cache::{Cache, Key};
use crate::engine::events::Recorder;
use crate::engine::{ReconcileError, ignore_not_found, watch_config};
use futures::future::join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Endpoints, Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// No single request may hold a worker longer than this.
const REQUEST: Duration = Duration::from_secs(30);

/// The bounds every namespaced kind a controller writes meets.
pub(crate) trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync
{
}
impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
{
}

/// One watch per kind for all controllers together.
pub(crate) struct Caches {
    pub(crate) pods: Cache<Pod>,
    pub(crate) nodes: Cache<Node>,
    pub(crate) leases: Cache<Lease>,
    pub(crate) services: Cache<Service>,
    pub(crate) endpoints: Cache<Endpoints>,
    pub(crate) slices: Cache<EndpointSlice>,
    pub(crate) replica_sets: Cache<ReplicaSet>,
    pub(crate) deployments: Cache<Deployment>,
    pub(crate) stateful_sets: Cache<StatefulSet>,
    pub(crate) revisions: Cache<ControllerRevision>,
    pub(crate) claims: Cache<PersistentVolumeClaim>,
    pub(crate) jobs: Cache<Job>,
    pub(crate) autoscalers: Cache<HorizontalPodAutoscaler>,
    pub(crate) budgets: Cache<PodDisruptionBudget>,
}

type Task<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl Caches {
    pub(crate) fn new() -> Self {
        Self {
            pods: Cache::new(),
            nodes: Cache::new(),
            leases: Cache::new(),
            services: Cache::new(),
            endpoints: Cache::new(),
            slices: Cache::new(),
            replica_sets: Cache::new(),
            deployments: Cache::new(),
            stateful_sets: Cache::new(),
            revisions: Cache::new(),
            claims: Cache::new(),
            jobs: Cache::new(),
            autoscalers: Cache::new(),
            budgets: Cache::new(),
        }
    }

    /// Keeps every cache up to date; never returns by itself.
    pub(crate) async fn follow(&self, client: &Client) {
        fn all<'a, K>(cache: &'a Cache<K>, client: &Client) -> Task<'a>
        where
            K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        {
            Box::pin(cache.follow(Api::all(client.clone()), watch_config()))
        }
        let leases = Api::namespaced(client.clone(), "kube-node-lease");
        let tasks: Vec<Task<'_>> = vec![
            all(&self.pods, client),
            all(&self.nodes, client),
            Box::pin(self.leases.follow(leases, watch_config())),
            all(&self.services, client),
            all(&self.endpoints, client),
            all(&self.slices, client),
            all(&self.replica_sets, client),
            all(&self.deployments, client),
            all(&self.stateful_sets, client),
            all(&self.revisions, client),
            all(&self.claims, client),
            all(&self.jobs, client),
            all(&self.autoscalers, client),
            all(&self.budgets, client),
        ];
        join_all(tasks).await;
    }

    /// Keeps the cache of Services alone up to date; never returns by itself.
    pub(crate) async fn follow_services(&self, client: &Client) {
        self.services.follow(Api::all(client.clone()), watch_config()).await;
    }

    /// Waits until every cache holds a complete list: acting on half a view would create what already exists.
    pub(crate) async fn synced(&self) {
        let waits: Vec<Task<'_>> = vec![
            Box::pin(self.pods.synced()),
            Box::pin(self.nodes.synced()),
            Box::pin(self.leases.synced()),
            Box::pin(self.services.synced()),
            Box::pin(self.endpoints.synced()),
            Box::pin(self.slices.synced()),
            Box::pin(self.replica_sets.synced()),
            Box::pin(self.deployments.synced()),
            Box::pin(self.stateful_sets.synced()),
            Box::pin(self.revisions.synced()),
            Box::pin(self.claims.synced()),
            Box::pin(self.jobs.synced()),
            Box::pin(self.autoscalers.synced()),
            Box::pin(self.budgets.synced()),
        ];
        join_all(waits).await;
    }
}

/// Shared by all controllers; cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) caches: Arc<Caches>,
    pub(crate) config: Arc<ControllersConfig>,
    pub(crate) events: Recorder,
}

impl Context {
    pub(crate) fn api<K: Object>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Whether `object` is still there, with the same spec, and to stay, asked of the server itself. The cache takes in the
    /// answer, and where it is no, whoever asked is called again for the change.
    ///
    /// For an owner before something is made for it. A cache that is behind may show an owner that is gone: the garbage
    /// collector takes away at once what is made for that one, the loss makes its controller look again, and so on without
    /// end until the watch catches up. (Upstream asks before it adopts, for the same reason.)
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub(crate) async fn stands<K: Object + 'static>(&self, cache: &Cache<K>, object: &K) -> Result<bool, kube::Error> {
        let api: Api<K> = self.api(&object.namespace().unwrap_or_default());
        let now = within(api.get_opt(&object.name_any())).await?;
        let Some(now) = now.filter(|now| now.uid() == object.uid()) else {
            cache.removed(object);
            return Ok(false);
        };
        // With another spec than was planned for, the plan is of yesterday: what was scaled down meanwhile would be filled up.
        let is_as_planned = now.meta().generation == object.meta().generation;
        cache.wrote(&now);
        Ok(is_as_planned && now.meta().deletion_timestamp.is_none())
    }

    pub(crate) async fn create<K: Object + 'static>(&self, cache: &Cache<K>, object: &K) -> Result<K, ReconcileError> {
        let api: Api<K> = self.api(&object.namespace().unwrap_or_default());
        let params = PostParams {
            field_manager: Some(self.config.field_manager.clone()),
            ..PostParams::default()
        };
        let created = within(api.create(&params, object)).await?;
        cache.wrote(&created);
        Ok(created)
    }

    /// Writes `object.status`, on condition that nobody wrote the object since it was read.
    pub(crate) async fn write_status<K: Object + 'static>(
        &self,
        cache: &Cache<K>,
        object: &K,
    ) -> Result<(), ReconcileError> {
        let api: Api<K> = self.api(&object.namespace().unwrap_or_default());
        let params = PostParams {
            field_manager: Some(self.config.field_manager.clone()),
            ..PostParams::default()
        };
        cache.wrote(&within(api.replace_status(&object.name_any(), &params, object)).await?);
        Ok(())
    }

    /// Replaces the whole object, on condition that nobody wrote it since it was read.
    pub(crate) async fn replace<K: Object + 'static>(
        &self,
        cache: &Cache<K>,
        object: &K,
    ) -> Result<(), ReconcileError> {
        let api: Api<K> = self.api(&object.namespace().unwrap_or_default());
        let params = PostParams {
            field_manager: Some(self.config.field_manager.clone()),
            ..PostParams::default()
        };
        cache.wrote(&within(api.replace(&object.name_any(), &params, object)).await?);
        Ok(())
    }

    /// Merges `patch` into the object, on condition that it is still the version we decided on.
    pub(crate) async fn patch<K: Object + 'static>(
        &self,
        cache: &Cache<K>,
        object: &K,
        mut patch: serde_json::Value,
    ) -> Result<K, ReconcileError> {
        let api: Api<K> = self.api(&object.namespace().unwrap_or_default());
        patch["metadata"]["resourceVersion"] = object.resource_version().into();
        let params = PatchParams {
            field_manager: Some(self.config.field_manager.clone()),
            ..PatchParams::default()
        };
        let patched = within(api.patch(&object.name_any(), &params, &Patch::Merge(patch))).await?;
        cache.wrote(&patched);
        Ok(patched)
    }

    /// Deletes exactly this object (by uid), with its own grace period or the one given in seconds.
    pub(crate) async fn delete<K: Object + 'static>(
        &self,
        cache: &Cache<K>,
        object: &K,
        grace: Option<u32>,
    ) -> Result<(), ReconcileError> {
        let api: Api<K> = self.api(&object.namespace().unwrap_or_default());
        let preconditions = Preconditions {
            uid: object.uid(),
            resource_version: None,
        };
        let mut params = DeleteParams::background().preconditions(preconditions);
        params.grace_period_seconds = grace;
        let answer = ignore_not_found(within(api.delete(&object.name_any(), &params)).await)?;
        // `either`, the answer's type, is not a dependency of ours: its method cannot be named.
        #[allow(clippy::redundant_closure_for_method_calls)]
        let left = answer.map(|answer| answer.left());
        match left {
            // Still there, on its way out.
            Some(Some(left))
                if left.meta().deletion_timestamp.is_some()
                    && (left.meta().deletion_grace_period_seconds.unwrap_or(0) > 0
                        || !left.finalizers().is_empty()) =>
            {
                cache.wrote(&left);
            }
            // A bare "success": with finalizers the object lingers, and the watch will tell.
            Some(None) if !object.finalizers().is_empty() => {}
            _ => cache.removed(object),
        }
        Ok(())
    }
}

/// A request under its deadline.
pub(crate) async fn within<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    match timeout(REQUEST, request).await {
        Ok(result) => result,
        Err(elapsed) => Err(kube::Error::Service(Box::new(elapsed))),
    }
}

/// Routes a namespaced object's changes to its own key.
pub(crate) fn key_of<K: Resource>(old: Option<&K>, new: Option<&K>) -> Option<Key> {
    new.or(old).map(Key::of)
}
