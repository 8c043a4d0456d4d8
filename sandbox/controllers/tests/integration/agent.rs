//! A node agent that pretends: bound pods get an address and become ready at once, deleted ones go at once.
//!
//! Images: `bad` never starts; `done` runs to its end; everything else runs until deleted.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use showrunner_apiserver::{ContainerUsage, LogOptions, NodeAccess, PodUsage};
use std::collections::{BTreeMap, HashSet};
use std::io::{Error, ErrorKind};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Agent {
    dead: Mutex<HashSet<String>>,
    running: Mutex<BTreeMap<(String, String), String>>,
    addresses: AtomicU32,
    /// CPU that the whole audience costs, spread evenly over the running pods; in millicores.
    load: AtomicU64,
}

impl Agent {
    /// From now on `node` does nothing at all.
    pub(crate) fn kill(&self, node: &str) {
        self.dead.lock().unwrap().insert(node.into());
    }

    pub(crate) fn revive(&self, node: &str) {
        self.dead.lock().unwrap().remove(node);
    }

    pub(crate) fn set_load(&self, millicores: u64) {
        self.load.store(millicores, Ordering::SeqCst);
    }

    fn is_dead(&self, node: &str) -> bool {
        self.dead.lock().unwrap().contains(node)
    }

    /// Runs all nodes. `heartbeat` is the time between two renewals of a lease.
    pub(crate) async fn run(self: Arc<Self>, client: Client, nodes: Vec<String>, heartbeat: Duration) {
        let beats = nodes.iter().map(|node| self.beat(&client, node, heartbeat));
        futures::join!(futures::future::join_all(beats), self.follow(&client));
    }

    async fn beat(&self, client: &Client, node: &str, every: Duration) {
        let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
        let nodes: Api<Node> = Api::all(client.clone());
        let mut tick = tokio::time::interval(every);
        loop {
            tick.tick().await;
            if self.is_dead(node) {
                continue;
            }
            let renewed = json!({ "metadata": { "name": node }, "spec": { "holderIdentity": node,
                "renewTime": format!("{:.6}", Timestamp::now()) } });
            let lease: Lease = serde_json::from_value(renewed.clone()).unwrap();
            if leases.create(&PostParams::default(), &lease).await.is_err() {
                leases
                    .patch(node, &PatchParams::default(), &Patch::Merge(renewed))
                    .await
                    .unwrap();
            }
            let known = nodes.get(node).await.unwrap();
            let conditions = known.status.unwrap_or_default().conditions.unwrap_or_default();
            if !conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
            {
                let ready = json!([{ "type": "Ready", "status": "True", "reason": "KubeletReady",
                    "lastHeartbeatTime": Timestamp::now(), "lastTransitionTime": Timestamp::now() }]);
                let patch = json!({ "status": { "conditions": ready } });
                nodes
                    .patch_status(node, &PatchParams::default(), &Patch::Merge(patch))
                    .await
                    .unwrap();
            }
        }
    }

    async fn follow(&self, client: &Client) {
        let api: Api<Pod> = Api::all(client.clone());
        let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => self.look(client, &pod).await,
                Ok(watcher::Event::Delete(pod)) => {
                    self.running
                        .lock()
                        .unwrap()
                        .remove(&(pod.namespace().unwrap(), pod.name_any()));
                }
                _ => {}
            }
        }
    }

    async fn look(&self, client: &Client, pod: &Pod) {
        let spec = pod.spec.clone().unwrap_or_default();
        let Some(node) = spec.node_name.filter(|node| !self.is_dead(node)) else {
            return;
        };
        let (namespace, name) = (pod.namespace().unwrap(), pod.name_any());
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        if pod.metadata.deletion_timestamp.is_some() {
            let now = DeleteParams {
                grace_period_seconds: Some(0),
                ..DeleteParams::default()
            };
            let _ = api.delete(&name, &now).await;
            return;
        }
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            .unwrap_or("Pending");
        if phase != "Pending" {
            return;
        }
        let status = match spec.containers[0].image.as_deref() {
            Some("bad") => return,
            Some("done") => json!({ "phase": "Succeeded", "startTime": Timestamp::now() }),
            _ => self.ready(&namespace, &name, &node),
        };
        // The pod may be gone by now.
        let patch = Patch::Merge(json!({ "status": status }));
        let _ = api.patch_status(&name, &PatchParams::default(), &patch).await;
    }

    fn ready(&self, namespace: &str, name: &str, node: &str) -> Value {
        self.running
            .lock()
            .unwrap()
            .insert((namespace.into(), name.into()), node.into());
        let number = self.addresses.fetch_add(1, Ordering::SeqCst) + 1;
        let now = Timestamp::now();
        json!({ "phase": "Running", "podIP": format!("127.10.{}.{}", number / 250, number % 250 + 1), "startTime": now,
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": now }] })
    }
}

impl NodeAccess for Agent {
    fn dial(&self, _: &str, _: &str, _: u16) -> BoxFuture<'_, std::io::Result<tokio::net::TcpStream>> {
        async { Err(Error::from(ErrorKind::Unsupported)) }.boxed()
    }

    fn logs(
        &self,
        _: &str,
        _: &str,
        _: LogOptions,
    ) -> BoxFuture<'_, std::io::Result<BoxStream<'static, std::io::Result<Bytes>>>> {
        async { Err(Error::from(ErrorKind::Unsupported)) }.boxed()
    }

    fn usage(&self) -> Vec<PodUsage> {
        let running = self.running.lock().unwrap();
        let share = self.load.load(Ordering::SeqCst) * 1_000_000 / running.len().max(1) as u64;
        let usage = |(namespace, pod): &(String, String)| PodUsage {
            namespace: namespace.clone(),
            pod: pod.clone(),
            // A moment ahead: young pods count only with samples from after they became ready.
            timestamp: Timestamp::now() + Duration::from_secs(2),
            window: Duration::ZERO,
            containers: vec![ContainerUsage {
                container: "c".into(),
                cpu_nanocores: share,
                memory_bytes: 1 << 20,
            }],
        };
        running.keys().map(usage).collect()
    }
}
