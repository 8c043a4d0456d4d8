//! A cluster, and a namespace of it for each history.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{Node, Pod},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use showrunner_sandbox::{ControlPlane, ControllersConfig, ImageTable, NodeConfig, Sandbox, SandboxConfig};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep},
};

/// Longest that anything awaited may take.
const DEADLINE: Duration = Duration::from_secs(90);
/// How long nothing may change until a state counts as the last one.
const QUIET: Duration = Duration::from_millis(1500);
/// Changes of a watched object that may wait for whoever looks.
const CHANGES: usize = 1024;
/// Nodes whose pods stay alone: three zones.
pub(crate) const MAIN: [&str; 3] = ["a", "b", "c"];
/// Nodes of which one is lost.
pub(crate) const LOSS: [&str; 2] = ["d", "e"];
/// Works now and then while a file is there, then sleeps.
const BUSY: &str = "while [ -e \"$WHILE\" ]; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 0.05; done; exec sleep infinity";

/// Whoever is first fails soon, the others have to be killed.
const ONE_FAILS: &str = "mkdir \"$ONCE\" && sleep 2 && exit 1; trap '' TERM; while :; do sleep 1; done";

/// A control plane with nodes.
pub(crate) struct Cluster {
    sandbox: Sandbox,
    _folder: tempfile::TempDir,
}

impl Cluster {
    pub(crate) async fn start(plane: ControlPlane) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = ImageTable::default()
            .with("sleep", ["sleep", "infinity"])
            .with("sleep-on", ["sleep", "infinity"])
            .with("done", ["true"])
            .with("one-fails", ["sh", "-c", ONE_FAILS])
            .with("busy", ["sh", "-c", BUSY]);
        let pools = [("main", MAIN.as_slice()), ("loss", LOSS.as_slice())];
        let nodes = pools
            .iter()
            .flat_map(|(pool, names)| names.iter().map(|name| node(pool, name)));
        let mut controllers = ControllersConfig {
            hpa_sync_period: Duration::from_secs(1),
            // More than a node's heartbeat of 10 s.
            node_grace_period: Duration::from_secs(12),
            node_monitor_period: Duration::from_secs(1),
            default_toleration: Duration::from_secs(2),
            ..ControllersConfig::default()
        };
        controllers.hpa_settings.cpu_initialization_period = jiff::SignedDuration::from_secs(1);
        controllers.hpa_settings.initial_readiness_delay = jiff::SignedDuration::from_secs(1);
        let config = SandboxConfig {
            control_plane: plane,
            nodes: nodes.collect(),
            controllers,
            ..SandboxConfig::new(folder.path().join("sandbox"), images)
        };
        let cluster = Self {
            sandbox: Sandbox::start(config).await.unwrap(),
            _folder: folder,
        };
        let nodes: Api<Node> = Api::all(cluster.sandbox.client());
        until("every node is ready", async || {
            let all = nodes.list(&ListParams::default()).await.ok()?;
            let ready = all
                .iter()
                .filter(|node| holds(*node, "Ready") && taints(node).is_empty());
            (ready.count() == MAIN.len() + LOSS.len()).then_some(())
        })
        .await;
        cluster
    }

    /// A namespace for a history.
    pub(crate) async fn stage(&self, namespace: &str) -> Stage {
        self.sandbox.ensure_namespace(namespace).await.unwrap();
        Stage {
            client: self.sandbox.client(),
            nodes: Arc::clone(self.sandbox.nodes()),
            folder: self.sandbox.root().join(namespace),
            namespace: namespace.to_owned(),
        }
    }

    pub(crate) async fn stop(self) {
        assert_eq!(self.sandbox.failure(), None);
        self.sandbox.stop().await.unwrap();
    }
}

/// Where a history plays.
pub(crate) struct Stage {
    pub(crate) client: Client,
    pub(crate) nodes: Arc<showrunner_node::NodeRuntime>,
    /// A folder of its own, that does not exist yet.
    pub(crate) folder: std::path::PathBuf,
    namespace: String,
}

impl Stage {
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
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
        let patch = Patch::Merge(patch);
        self.api::<K>()
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap()
    }

    /// A Deployment of `replicas` pods on the nodes of the main pool; `more` is merged into its spec, `pod` into its pods'.
    pub(crate) async fn deployment(&self, name: &str, replicas: usize, more: Value, pod: Value) -> Deployment {
        let mut spec = json!({
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": template(name),
        });
        json_patch::merge(&mut spec["template"]["spec"], &pod);
        json_patch::merge(&mut spec, &more);
        self.create(json!({ "metadata": { "name": name }, "spec": spec })).await
    }

    pub(crate) async fn scale(&self, replicas: u32) {
        self.patch::<Deployment>("web", json!({ "spec": { "replicas": replicas } }))
            .await;
    }

    /// Pods that are not on their way out.
    pub(crate) async fn pods(&self) -> Vec<Pod> {
        let all = self.api::<Pod>().list(&ListParams::default()).await.unwrap();
        all.into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .collect()
    }

    /// Waits until there are `count` pods, all of them ready.
    pub(crate) async fn all_ready(&self, count: usize) -> Vec<Pod> {
        until(&format!("{}: {count} pods are ready", self.namespace), async || {
            let pods = self.pods().await;
            (pods.len() == count && pods.iter().all(is_ready)).then_some(pods)
        })
        .await
    }

    /// Every version of an object that a watch shows, as what `of` makes of it; the same twice in a row is one. Ends with
    /// [`History::end`].
    pub(crate) fn history<K, T>(&self, name: &str, of: fn(&K) -> T) -> History<T>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
        T: PartialEq + Send + 'static,
    {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut seen = watcher(self.api::<K>(), config)
            .default_backoff()
            .applied_objects()
            .boxed();
        let (send, changes) = mpsc::channel(CHANGES);
        let task = tokio::spawn(async move {
            while let Some(Ok(object)) = seen.next().await {
                if send.send((Instant::now(), of(&object))).await.is_err() {
                    return;
                }
            }
        });
        History { changes, task }
    }
}

/// What a watch shows of an object.
pub(crate) struct History<T> {
    changes: mpsc::Receiver<(Instant, T)>,
    task: JoinHandle<()>,
}

impl<T: PartialEq> History<T> {
    /// All that was seen, each with when.
    pub(crate) async fn end(mut self) -> Vec<(Instant, T)> {
        // What is on its way may arrive.
        sleep(QUIET).await;
        self.task.abort();
        let mut all: Vec<(Instant, T)> = Vec::new();
        while let Ok(change) = self.changes.try_recv() {
            if all.last().is_none_or(|(_, last)| *last != change.1) {
                all.push(change);
            }
        }
        all
    }
}

/// Pods with a container that sleeps, on nodes of the main pool.
pub(crate) fn template(app: &str) -> Value {
    json!({ "metadata": { "labels": { "app": app } }, "spec": {
        "nodeSelector": { "pool": "main" },
        "terminationGracePeriodSeconds": 1,
        "containers": [{ "name": "main", "image": "sleep" }],
    } })
}

/// A node of a pool, in a zone of its own.
pub(crate) fn node(pool: &str, name: &str) -> NodeConfig {
    NodeConfig::new(name)
        .label("pool", pool)
        .label("topology.kubernetes.io/zone", format!("zone-{name}"))
}

pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The last of what `look` gives: the same for some time.
pub(crate) async fn settled<T: PartialEq>(what: &str, mut look: impl AsyncFnMut() -> T) -> T {
    let mut last = (look().await, Instant::now());
    until(what, async || {
        let now = look().await;
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() >= QUIET).then_some(())
    })
    .await;
    last.0
}

/// Status and reason of a condition.
pub(crate) fn condition(object: &impl Serialize, type_: &str) -> Option<(String, String)> {
    let object = serde_json::to_value(object).ok()?;
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == type_)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason")))
}

/// Whether a condition is true.
pub(crate) fn holds(object: &impl Serialize, type_: &str) -> bool {
    condition(object, type_).is_some_and(|(status, _)| status == "True")
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    holds(pod, "Ready")
}

/// Key and effect of each taint.
pub(crate) fn taints(node: &Node) -> Vec<(String, String)> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let mut taints: Vec<_> = taints.map(|taint| (taint.key.clone(), taint.effect.clone())).collect();
    taints.sort();
    taints
}

pub(crate) fn names(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().map(ResourceExt::name_any).collect()
}

/// How many pods each node has, most first.
pub(crate) fn per_node(pods: &[Pod]) -> Vec<usize> {
    let on = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let nodes: Vec<String> = pods.iter().filter_map(on).collect();
    let mut counts: Vec<usize> = nodes
        .iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|node| nodes.iter().filter(|other| *other == node).count())
        .collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts
}
