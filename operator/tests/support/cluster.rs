//! A platform on an API server in this process, looked at step by step.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
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
use showrunner_crds::{crd::all_crds, platform::StreamingPlatform, premiere::Premiere};
use showrunner_operator::{
    OperatorOptions,
    reconcile::{Context, ReconcileError, reconcile},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::varnish::until;

pub(crate) const NAMESPACE: &str = "stage";

/// A namespace on some API server, and an operator that looks step by step at the platform in it.
pub(crate) struct Stage {
    pub(crate) client: Client,
    operator: Arc<Context>,
}

/// An API server in this process that knows our kinds, with a namespace.
pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    stage: Stage,
}

impl Deref for Cluster {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Stage {
        &mut self.stage
    }
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
        let stage = Stage::set(server.client(NAMESPACE), all_crds()).await;
        Self { server, stage }
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
}

impl Stage {
    /// Makes the namespace, and has our kinds served as they are defined.
    pub(crate) async fn set(client: Client, definitions: Vec<CustomResourceDefinition>) -> Self {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } })).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        let operator = Arc::new(Context::new(client.clone(), OperatorOptions::default()));
        let stage = Self { client, operator };
        stage.define(definitions).await;
        stage
    }

    /// Has our kinds served as they are defined: for the first time, or in place of what they were.
    pub(crate) async fn define(&self, definitions: Vec<CustomResourceDefinition>) {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for crd in definitions {
            let params = PatchParams::apply("showrunner").force();
            crds.patch(&crd.name_any(), &params, &Patch::Apply(&crd)).await.unwrap();
        }
        until("kinds that are served", async || {
            let all = ListParams::default();
            self.platforms().list(&all).await.is_ok() && self.api::<Premiere>().list(&all).await.is_ok()
        })
        .await;
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

    /// A look, after which everything has an address and runs, and another.
    pub(crate) async fn settle(&self) {
        self.look().await.unwrap();
        self.give_addresses().await;
        self.everything_runs().await;
        self.look().await.unwrap();
    }

    /// One look at the platform as it is said to be.
    pub(crate) async fn look_at(&self, platform: StreamingPlatform) -> Result<(), ReconcileError> {
        reconcile(Arc::new(platform), self.operator.clone()).await.map(drop)
    }

    /// A new operator, without memories.
    pub(crate) fn restart_operator(&mut self) {
        self.operator = Arc::new(Context::new(self.client.clone(), OperatorOptions::default()));
    }

    pub(crate) async fn change(&self, patch: Value) {
        self.patch::<StreamingPlatform>("cinema", patch).await;
    }

    pub(crate) async fn patch<K>(&self, name: &str, patch: Value)
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let patch = Patch::Merge(patch);
        let params = PatchParams::default();
        self.api::<K>().patch(name, &params, &patch).await.unwrap();
    }

    /// An object of any kind, by the group, version, plural and name in its path.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let request = http::Request::get(namespaced(path)).body(Vec::new()).unwrap();
        self.client.request(request).await.unwrap()
    }

    /// Adds a value at a place of an object (a JSON pointer), as a user would.
    pub(crate) async fn add(&self, path: &str, place: &str, value: &Value) -> Value {
        let patch = json!([{ "op": "add", "path": place, "value": value }]);
        let request = http::Request::patch(namespaced(path)).header("content-type", "application/json-patch+json");
        let request = request.body(patch.to_string().into_bytes()).unwrap();
        self.client.request(request).await.unwrap()
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

/// `/apis/GROUP/VERSION/PLURAL/NAME`, in the stage's namespace.
fn namespaced(path: &str) -> String {
    let mut parts: Vec<&str> = path.rsplitn(3, '/').collect();
    let (name, plural, group) = (parts.remove(0), parts.remove(0), parts.remove(0));
    format!("{group}/namespaces/{NAMESPACE}/{plural}/{name}")
}
