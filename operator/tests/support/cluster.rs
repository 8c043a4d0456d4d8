//! A platform on an API server in this process, looked at step by step.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use futures::future::BoxFuture;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{Namespace, Pod, Service},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig, LogOptions, NodeAccess, PodUsage};
use showrunner_crds::{crd::all_crds, platform::StreamingPlatform};
use showrunner_operator::{
    OperatorOptions,
    reconcile::{Context, ReconcileError, reconcile},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::varnish::until;

pub(crate) const NAMESPACE: &str = "stage";

/// An API server that knows our kinds, with one platform.
pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) client: Client,
    context: Arc<Context>,
}

pub(crate) fn cinema() -> StreamingPlatform {
    serde_json::from_value(json!({
        "apiVersion": "showrunner.dev/v1alpha1",
        "kind": "StreamingPlatform",
        "metadata": { "name": "cinema", "namespace": NAMESPACE },
        "spec": {
            "channels": [{ "name": "main", "ladder": [
                { "name": "hi", "width": 640, "height": 360, "bitrateKbps": 600 },
            ] }],
            "regions": [
                { "name": "north" },
                { "name": "south" },
                { "name": "west", "roles": ["edge", "steering"] },
            ],
            "edge": {
                "viewersPerReplica": 50,
                "autoscaling": { "minReplicas": 2, "scaleDownStabilisation": "0s" },
            },
            "services": [{ "name": "tickets", "kind": "entitlement" }],
        },
    }))
    .unwrap()
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let server = ApiServer::new(ApiServerConfig::default());
        let client = server.client(NAMESPACE);
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        for crd in all_crds() {
            crds.create(&PostParams::default(), &crd).await.unwrap();
        }
        until("established definitions", async || {
            crds.list(&ListParams::default())
                .await
                .unwrap()
                .items
                .iter()
                .all(|crd| {
                    let conditions = crd
                        .status
                        .as_ref()
                        .and_then(|status| status.conditions.clone())
                        .unwrap_or_default();
                    conditions
                        .iter()
                        .any(|condition| condition.type_ == "Established" && condition.status == "True")
                })
        })
        .await;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } })).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        let context = Arc::new(Context::new(client.clone(), OperatorOptions::default()));
        Self {
            server,
            client,
            context,
        }
    }

    /// With the platform of [`cinema`] created.
    pub(crate) async fn with_cinema() -> Self {
        let cluster = Self::start().await;
        cluster
            .platforms()
            .create(&PostParams::default(), &cinema())
            .await
            .unwrap();
        cluster
    }

    pub(crate) fn platforms(&self) -> Api<StreamingPlatform> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub(crate) async fn platform(&self) -> StreamingPlatform {
        self.platforms().get("cinema").await.unwrap()
    }

    /// One look at the platform as it is now.
    pub(crate) async fn look(&self) -> Result<(), ReconcileError> {
        self.look_at(self.platform().await).await
    }

    /// One look at the platform as it is said to be.
    pub(crate) async fn look_at(&self, platform: StreamingPlatform) -> Result<(), ReconcileError> {
        reconcile(Arc::new(platform), self.context.clone()).await.map(drop)
    }

    /// A new operator, without memories.
    pub(crate) fn restart_operator(&mut self) {
        self.context = Arc::new(Context::new(self.client.clone(), OperatorOptions::default()));
    }

    pub(crate) async fn change(&self, patch: Value) {
        self.platforms()
            .patch("cinema", &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub(crate) async fn names<K>(&self) -> Vec<String>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        self.api::<K>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .iter()
            .map(ResourceExt::name_any)
            .collect()
    }

    pub(crate) async fn patch_status<K>(&self, name: &str, status: Value)
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let patch = Patch::Merge(json!({ "status": status }));
        self.api::<K>()
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Gives every public Service an address, as a cloud's load balancers would.
    pub(crate) async fn give_addresses(&self) {
        for (n, service) in self
            .api::<Service>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .iter()
            .enumerate()
        {
            if service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer") {
                let ip = format!("192.0.2.{n}");
                self.patch_status::<Service>(
                    &service.name_any(),
                    json!({ "loadBalancer": { "ingress": [{ "ip": ip }] } }),
                )
                .await;
            }
        }
    }

    /// What workload controllers would report once every replica is ready.
    pub(crate) async fn everything_runs(&self) {
        for deployment in self.api::<Deployment>().list(&ListParams::default()).await.unwrap() {
            let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let status = json!({
                "observedGeneration": deployment.metadata.generation, "replicas": replicas, "updatedReplicas": replicas,
                "readyReplicas": replicas,
            });
            self.patch_status::<Deployment>(&deployment.name_any(), status).await;
        }
        for set in self.api::<StatefulSet>().list(&ListParams::default()).await.unwrap() {
            let status = json!({ "observedGeneration": set.metadata.generation, "replicas": 1, "readyReplicas": 1 });
            self.patch_status::<StatefulSet>(&set.name_any(), status).await;
        }
    }

    /// A steering server that is ready and reports this audience.
    pub(crate) async fn steering_pod(&self, name: &str) {
        let pod = serde_json::from_value(json!({
            "metadata": { "name": name, "labels": {
                "showrunner.dev/platform": "cinema", "showrunner.dev/role": "steering",
            } },
            "spec": { "containers": [{ "name": "steering", "image": "x" }] },
        }))
        .unwrap();
        self.api::<Pod>().create(&PostParams::default(), &pod).await.unwrap();
        let ready =
            json!({ "phase": "Running", "podIP": "127.0.0.1", "conditions": [{ "type": "Ready", "status": "True" }] });
        self.patch_status::<Pod>(name, ready).await;
    }
}

/// Nodes whose every pod reports the same audience in the north.
pub(crate) struct Viewers(pub(crate) AtomicU32);

impl NodeAccess for Viewers {
    fn dial(&self, _: &str, _: &str, _: u16) -> BoxFuture<'_, std::io::Result<tokio::net::TcpStream>> {
        let viewers = self.0.load(Ordering::Relaxed);
        Box::pin(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            let stream = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
            tokio::spawn(async move {
                let (mut peer, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                let read = peer.read(&mut head).await.unwrap();
                assert!(
                    head[..read].starts_with(b"GET /audience "),
                    "{}",
                    String::from_utf8_lossy(&head[..read])
                );
                let body = json!({ "windowSeconds": 10.0, "pathways": { "north": viewers } }).to_string();
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                peer.write_all(answer.as_bytes()).await.unwrap();
            });
            Ok(stream)
        })
    }

    fn logs(
        &self,
        _: &str,
        _: &str,
        _: LogOptions,
    ) -> BoxFuture<'_, std::io::Result<futures::stream::BoxStream<'static, std::io::Result<bytes::Bytes>>>> {
        Box::pin(async { Err(std::io::Error::other("no logs here")) })
    }

    fn usage(&self) -> Vec<PodUsage> {
        Vec::new()
    }
}
