//! A cluster for one test: API server, controllers, pretended nodes.

use crate::agent::Agent;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use showrunner_controllers::{ControllersConfig, ControllersHandle, spawn_all};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// No condition in these tests may take longer.
const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const NAMESPACE: &str = "default";

pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) client: Client,
    pub(crate) agent: Arc<Agent>,
    controllers: ControllersHandle,
    agent_task: tokio::task::JoinHandle<()>,
}

impl Cluster {
    pub(crate) async fn start(nodes: usize) -> Self {
        Self::with(nodes, ControllersConfig::default(), Duration::from_secs(10)).await
    }

    pub(crate) async fn with(nodes: usize, config: ControllersConfig, heartbeat: Duration) -> Self {
        // `RUST_LOG=showrunner=debug` shows what the controllers think; the second test to get here finds it done.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let server = ApiServer::new(ApiServerConfig::default());
        let client = server.client(NAMESPACE);
        let agent = Arc::new(Agent::default());
        server.set_nodes(Arc::clone(&agent) as _);
        let names: Vec<String> = (0..nodes).map(|index| format!("node-{index}")).collect();
        for name in &names {
            add_node(&client, name, "4").await;
        }
        let controllers = spawn_all(client.clone(), config, CancellationToken::new());
        let agent_task = tokio::spawn(Arc::clone(&agent).run(client.clone(), names, heartbeat));
        Self {
            server,
            client,
            agent,
            controllers,
            agent_task,
        }
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api::<K>().create(&PostParams::default(), &object).await.unwrap()
    }

    pub(crate) async fn patch<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap()
    }

    pub(crate) async fn get<K>(&self, name: &str) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.api::<K>().get(name).await.unwrap()
    }

    /// The pods with label `app`, oldest name first.
    pub(crate) async fn pods(&self, app: &str) -> Vec<Pod> {
        let pods = self
            .api::<Pod>()
            .list(&ListParams::default().labels(&format!("app={app}")))
            .await
            .unwrap();
        pods.items
    }

    /// The names of the ready pods with label `app` that are not on their way out.
    pub(crate) async fn ready(&self, app: &str) -> Vec<String> {
        let alive = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none() && is_ready(pod);
        self.pods(app)
            .await
            .iter()
            .filter(alive)
            .map(ResourceExt::name_any)
            .collect()
    }

    pub(crate) async fn stop(self) {
        assert_eq!(self.controllers.failure(), None);
        self.controllers.shutdown(Duration::from_secs(10)).await.unwrap();
        self.agent_task.abort();
    }
}

pub(crate) async fn add_node(client: &Client, name: &str, cpu: &str) -> Node {
    let zone = if name.ends_with(['0', '2', '4']) { "even" } else { "odd" };
    let node = json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone } },
        "status": { "allocatable": { "cpu": cpu, "memory": "8Gi", "pods": "110" },
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" }] } });
    let api: Api<Node> = Api::all(client.clone());
    let status = json!({ "status": node["status"] });
    let node: Node = serde_json::from_value(node).unwrap();
    api.create(&PostParams::default(), &node).await.unwrap();
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap()
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    conditions
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Looks again and again, under a deadline, until `look` finds what it is looking for.
pub(crate) async fn until<T, F, R>(what: &str, mut look: F) -> T
where
    F: FnMut() -> R,
    R: Future<Output = Option<T>>,
{
    let search = async {
        let mut tick = tokio::time::interval(Duration::from_millis(3));
        loop {
            tick.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, search)
        .await
        .unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// A Deployment of `app` with one container that asks for a tenth of a core.
pub(crate) fn deployment(app: &str, replicas: i32, image: &str) -> Value {
    json!({
        "metadata": { "name": app },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": app } },
            "template": template(app, image),
        },
    })
}

pub(crate) fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": app } },
        "spec": { "containers": [{ "name": "c", "image": image, "resources": { "requests": { "cpu": "100m" } },
            "ports": [{ "name": "http", "containerPort": 8080 }] }] },
    })
}
