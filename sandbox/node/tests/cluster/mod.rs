//! A cluster for tests: an API server in process and one runtime with a node.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig, LogOptions, NodeAccess};
use showrunner_node::key::PodKey;
use showrunner_node::{CrashBackoff, NodeConfig, NodeRuntime, RuntimeConfig};
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Any wait of these tests ends here.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct Cluster {
    pub server: ApiServer,
    pub client: Client,
    pub runtime: Arc<NodeRuntime>,
    root: tempfile::TempDir,
}

impl Cluster {
    #[allow(clippy::unused_async)] // it needs a tokio runtime around it
    pub async fn start() -> Self {
        Self::with(|_| {})
    }

    pub fn with(adjust: impl FnOnce(&mut RuntimeConfig)) -> Self {
        let server = ApiServer::new(ApiServerConfig::default());
        let client = server.client("default");
        let root = tempfile::tempdir().unwrap();
        let mut config = RuntimeConfig::new(root.path());
        config.crash_backoff = CrashBackoff {
            base: Duration::from_millis(300),
            ..CrashBackoff::default()
        };
        config.minimum_grace = Duration::from_millis(300);
        config.usage_window = Duration::from_millis(500);
        config.network.hang = Duration::from_millis(700);
        adjust(&mut config);
        let runtime = NodeRuntime::new(config, client.clone()).unwrap();
        server.set_nodes(runtime.clone());
        runtime.spawn_node(NodeConfig::new("n1").label("topology.kubernetes.io/region", "west"));
        Self {
            server,
            client,
            runtime,
            root,
        }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Serialize
            + Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api::<K>().create(&PostParams::default(), &object).await.unwrap()
    }

    /// Creates a pod of one shell script, bound to the node. `extra` is merged into the container.
    pub async fn script(&self, name: &str, script: &str, extra: Value) -> Pod {
        self.pod(name, script, extra, json!({}), json!({})).await
    }

    pub async fn pod(&self, name: &str, script: &str, container: Value, spec: Value, metadata: Value) -> Pod {
        let mut object = json!({
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 5,
                "containers": [{"name": "main", "image": "test", "command": ["sh", "-c", script]}]}
        });
        json_patch::merge(&mut object["spec"]["containers"][0], &container);
        json_patch::merge(&mut object["spec"], &spec);
        json_patch::merge(&mut object["metadata"], &metadata);
        self.create::<Pod>(object).await
    }

    /// Waits for a pod to satisfy a condition.
    pub async fn until(&self, name: &str, what: &str, condition: impl Fn(&Pod) -> bool) -> Pod {
        let api = self.api::<Pod>();
        let mut last = None;
        let found = timeout(DEADLINE, async {
            loop {
                let pod = api.get_opt(name).await.unwrap();
                if let Some(pod) = &pod
                    && condition(pod)
                {
                    return pod.clone();
                }
                last = pod;
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let Ok(pod) = found else {
            panic!(
                "pod {name} never became {what}: {}",
                json!(last.and_then(|pod| pod.status))
            );
        };
        pod
    }

    pub async fn until_ready(&self, name: &str) -> Pod {
        self.until(name, "ready", ready).await
    }

    pub async fn until_gone(&self, name: &str) {
        let api = self.api::<Pod>();
        eventually("the pod to be gone", || async {
            api.get_opt(name).await.unwrap().is_none()
        })
        .await;
    }

    pub async fn delete(&self, name: &str) {
        self.api::<Pod>().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn log(&self, name: &str) -> String {
        self.log_with(name, LogOptions::default()).await.unwrap_or_default()
    }

    pub async fn log_with(&self, name: &str, options: LogOptions) -> std::io::Result<String> {
        use futures::TryStreamExt;
        let stream = self.runtime.logs("default", name, options).await?;
        let chunks: Vec<bytes::Bytes> = stream.try_collect().await?;
        Ok(String::from_utf8(chunks.concat()).unwrap())
    }

    pub async fn until_log(&self, name: &str, text: &str) {
        let mut last = String::new();
        let found = timeout(DEADLINE, async {
            loop {
                last = self.log(name).await;
                if last.contains(text) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        assert!(found.is_ok(), "`{text}` never appeared in the log of {name}: {last}");
    }

    pub async fn reasons(&self, name: &str) -> Vec<String> {
        let events = self.api::<Event>().list(&ListParams::default()).await.unwrap();
        let of_pod = events
            .into_iter()
            .filter(|event| event.involved_object.name.as_deref() == Some(name));
        of_pod.filter_map(|event| event.reason).collect()
    }

    pub async fn until_event(&self, name: &str, reason: &str) {
        eventually(&format!("event {reason} of {name}"), || async {
            self.reasons(name).await.iter().any(|found| found == reason)
        })
        .await;
    }

    pub fn ip(&self, pod: &str) -> std::net::Ipv4Addr {
        self.runtime.network().pod_ip(&PodKey::new("default", pod)).unwrap()
    }

    /// Ends the runtime and checks that nothing is left of it.
    pub async fn stop(self) {
        let pids = self.runtime.running_pids();
        self.runtime.stop(Duration::from_secs(3)).await.unwrap();
        for pid in pids {
            assert!(!alive(pid), "process {pid} outlived its runtime");
        }
        assert!(!self.root.path().join("pods").exists());
    }
}

pub fn ready(pod: &Pod) -> bool {
    condition(pod, "Ready") == Some("True")
}

pub fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == type_)
        .map(|condition| condition.status.as_str())
}

pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    statuses
        .and_then(|all| all.first())
        .map_or(0, |status| status.restart_count)
}

pub fn waiting_reason(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.first()?.state.as_ref()?.waiting.as_ref()?.reason.clone()
}

/// Whether a process exists and is not a zombie.
pub fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Waits until `check` holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let waited = timeout(DEADLINE, async {
        while !check().await {
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain for {what}");
}
