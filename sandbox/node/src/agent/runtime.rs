//! The runtime: the nodes of one process, their pods, their network.

use super::config::{NodeConfig, RuntimeConfig};
use super::events::Recorder;
use super::fields::NodeFacts;
use super::groups::{Groups, reap_stale, signal_group, signal_process};
use super::logs;
use super::node;
use super::shared::{Agent, ContainerKey};
use super::spawn::Spawner;
use super::usage::{Usage, sample};
use super::worker::{Fate, Worker};
use crate::key::{Peer, PodKey};
use crate::network::Network;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::runtime::reflector::{Lookup, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client};
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use showrunner_apiserver::{LogOptions, NodeAccess, PodUsage};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::hash::Hash;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often a stop looks whether the last process is gone.
const LOOK: Duration = Duration::from_millis(20);

/// Why the runtime could not end everything.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// Processes survived SIGKILL until the deadline.
    #[error("processes still alive: {0:?}")]
    Survivors(Vec<i32>),
    /// The directory could not be removed.
    #[error("cannot remove the pods' directories: {0}")]
    Io(#[from] io::Error),
}

struct Hosted {
    config: NodeConfig,
    stop: CancellationToken,
}

/// Runs pods as local processes for any number of nodes.
pub struct NodeRuntime {
    agent: Arc<Agent>,
    usage: Arc<Usage>,
    nodes: Mutex<BTreeMap<String, Hosted>>,
    workers: Mutex<HashMap<PodKey, Worker>>,
    wake: Arc<Notify>,
    stop: CancellationToken,
}

impl Debug for NodeRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeRuntime")
            .field("root", &self.agent.config.root)
            .finish_non_exhaustive()
    }
}

impl NodeRuntime {
    /// Starts a runtime without nodes. Must be called within a tokio runtime. What an earlier run left in the same root is
    /// ended first.
    pub fn new(config: RuntimeConfig, client: Client) -> io::Result<Arc<Self>> {
        if !config.root.is_absolute() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the runtime's root must be an absolute path",
            ));
        }
        std::fs::create_dir_all(&config.root)?;
        let stale = reap_stale(&config.root)?;
        if !stale.is_empty() {
            tracing::warn!(groups = ?stale, "killed pods of an earlier run");
        }
        let stop = CancellationToken::new();
        let network = Network::new(config.network.clone());
        let wake = Arc::new(Notify::new());
        let changed = tokio::sync::watch::Sender::new(0u64);
        let bump = {
            let changed = changed.clone();
            move || changed.send_modify(|count| *count = count.wrapping_add(1))
        };
        let pods = {
            let wake = Arc::clone(&wake);
            follow::<Pod>(client.clone(), stop.clone(), move || wake.notify_one())
        };
        let config_maps = follow::<ConfigMap>(client.clone(), stop.clone(), bump.clone());
        let secrets = follow::<Secret>(client.clone(), stop.clone(), bump.clone());
        tokio::spawn({
            let (mut services, stop) = (network.services_changed(), stop.clone());
            async move {
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        changed = services.changed() => if changed.is_err() { return } else { bump() },
                    }
                }
            }
        });
        tokio::spawn(network.clone().follow(client.clone(), stop.clone()));
        let agent = Arc::new(Agent {
            groups: Groups::new(&config.root),
            recorder: Recorder::start(client.clone()),
            spawner: Spawner::start()?,
            network,
            client,
            config,
            pods,
            config_maps,
            secrets,
            changed,
            running: Mutex::default(),
            logs: Mutex::default(),
        });
        let usage = Arc::new(Usage::default());
        tokio::spawn(sample(Arc::clone(&agent), Arc::clone(&usage), stop.clone()));
        let runtime = Arc::new(Self {
            agent,
            usage,
            nodes: Mutex::default(),
            workers: Mutex::default(),
            wake,
            stop,
        });
        tokio::spawn({
            // The dispatcher must not keep the runtime alive.
            let (weak, wake, stop) = (
                Arc::downgrade(&runtime),
                Arc::clone(&runtime.wake),
                runtime.stop.clone(),
            );
            async move {
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = wake.notified() => {}
                    }
                    let Some(runtime) = weak.upgrade() else { return };
                    runtime.dispatch();
                }
            }
        });
        Ok(runtime)
    }

    /// Adds a node: it registers, sends heartbeats, and runs the pods bound to it.
    pub fn spawn_node(&self, config: NodeConfig) {
        let stop = self.stop.child_token();
        let task = node::run(
            self.agent.client.clone(),
            config.clone(),
            self.agent.config.clone(),
            stop.clone(),
        );
        tokio::spawn(task);
        let replaced = self.nodes().insert(config.name.clone(), Hosted { config, stop });
        if let Some(replaced) = replaced {
            replaced.stop.cancel();
        }
        self.wake.notify_one();
    }

    /// Ends a node as if its machine had lost power: no more heartbeats, its processes killed, nothing reported. Whether
    /// there was such a node.
    pub fn kill_node(&self, name: &str) -> bool {
        let Some(node) = self.nodes().remove(name) else {
            return false;
        };
        node.stop.cancel();
        self.wake.notify_one();
        true
    }

    /// The names of the nodes.
    pub fn node_names(&self) -> Vec<String> {
        self.nodes().keys().cloned().collect()
    }

    /// A pod, as the API server last told it.
    pub fn pod(&self, pod: &PodKey) -> Option<Arc<Pod>> {
        self.agent.pods.get(&ObjectRef::new(&pod.name).within(&pod.namespace))
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.agent.network
    }

    /// The event recorder.
    pub fn recorder(&self) -> &Recorder {
        &self.agent.recorder
    }

    /// The API client.
    pub fn client(&self) -> &Client {
        &self.agent.client
    }

    /// Kills a container with SIGKILL, as its crash would end it; its restart policy decides what follows. Whether it was
    /// running.
    pub fn kill_container(&self, pod: &PodKey, container: &str) -> bool {
        let key = ContainerKey {
            pod: pod.clone(),
            container: container.to_owned(),
        };
        let running = self.agent.running().get(&key).cloned();
        let Some(running) = running else { return false };
        self.agent.kill_tree(running.pid, &running.groups);
        true
    }

    /// Process ids of all running containers' leaders.
    pub fn running_pids(&self) -> Vec<i32> {
        self.agent.running().values().map(|running| running.pid).collect()
    }

    /// Ends all pods (hooks, SIGTERM, SIGKILL) within `grace`, then everything else, and checks that no process is left.
    pub async fn stop(&self, grace: Duration) -> Result<(), StopError> {
        for (_, node) in std::mem::take(&mut *self.nodes()) {
            node.stop.cancel();
        }
        // Without its token the dispatcher starts nothing any more.
        self.stop.cancel();
        let workers: Vec<Worker> = self.workers().drain().map(|(_, worker)| worker).collect();
        for worker in &workers {
            worker.fate.send_replace(Fate::Shutdown(grace));
        }
        let deadline = Instant::now() + grace + self.agent.config.minimum_grace + Duration::from_secs(10);
        for mut worker in workers {
            if tokio::time::timeout_at(deadline, &mut worker.task).await.is_err() {
                worker.task.abort();
            }
        }
        self.agent.network.close();
        for group in self.agent.groups.known() {
            signal_group(group, Signal::SIGKILL);
        }
        let gone = async {
            loop {
                let survivors = self.agent.groups.survivors();
                if survivors.is_empty() {
                    return;
                }
                for pid in survivors {
                    signal_process(pid, Signal::SIGKILL);
                }
                sleep(LOOK).await;
            }
        };
        if timeout(Duration::from_secs(5), gone).await.is_err() {
            return Err(StopError::Survivors(self.agent.groups.survivors()));
        }
        for group in self.agent.groups.known() {
            self.agent.groups.remove_if_empty(group);
        }
        match std::fs::remove_dir_all(self.agent.config.root.join("pods")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<String, Hosted>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn workers(&self) -> MutexGuard<'_, HashMap<PodKey, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the workers match the pods that are bound to this runtime's nodes.
    fn dispatch(&self) {
        let nodes = self.nodes();
        let mut workers = self.workers();
        if self.stop.is_cancelled() {
            return;
        }
        let mut present: HashMap<PodKey, Arc<Pod>> = HashMap::new();
        for pod in self.agent.pods.state() {
            let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            if let (Some(node), Some(namespace), Some(name)) = (bound, &pod.metadata.namespace, &pod.metadata.name)
                && nodes.contains_key(node)
            {
                present.insert(PodKey::new(namespace, name), pod);
            }
        }
        workers.retain(|key, worker| {
            let same = present
                .get(key)
                .is_some_and(|pod| pod.metadata.uid.as_deref() == Some(worker.uid.as_str()));
            if !same {
                worker
                    .fate
                    .send_if_modified(|fate| std::mem::replace(fate, Fate::Gone) != Fate::Gone);
            }
            let lost = *worker.fate.borrow() == Fate::Gone;
            // A pod whose node was lost starts afresh if the node comes back.
            (same && !lost) || !worker.task.is_finished()
        });
        for (key, pod) in present {
            let before = match workers.get(&key) {
                Some(worker) if pod.metadata.uid.as_deref() == Some(worker.uid.as_str()) => {
                    worker.pod.send_if_modified(|known| {
                        let newer = known.metadata.resource_version != pod.metadata.resource_version;
                        if newer {
                            *known = pod;
                        }
                        newer
                    });
                    continue;
                }
                Some(_) => workers.remove(&key).map(|worker| worker.task),
                None => None,
            };
            let node = pod
                .spec
                .as_ref()
                .and_then(|spec| spec.node_name.as_ref())
                .and_then(|name| nodes.get(name));
            let Some(Hosted { config, .. }) = node else { continue };
            let facts = NodeFacts {
                node: config.name.clone(),
                host_ip: Ipv4Addr::LOCALHOST,
                pod_ip: Ipv4Addr::UNSPECIFIED,
                cpu_millis: config.cpu_millis,
                memory_bytes: config.memory_bytes,
            };
            let worker = Worker::start(Arc::clone(&self.agent), key.clone(), pod, facts, before);
            workers.insert(key, worker);
        }
    }
}

/// Keeps a local copy of all objects of a kind and calls `touched` at each change.
fn follow<K>(client: Client, stop: CancellationToken, touched: impl Fn() + Send + 'static) -> Store<K>
where
    K: kube::Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
    <K as kube::Resource>::DynamicType: Eq + Hash + Clone,
{
    let (store, writer) = reflector::store::<K>();
    let mut events = reflector(writer, watcher(Api::<K>::all(client), watcher::Config::default()))
        .default_backoff()
        .boxed();
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                None => return,
                // The store shows a new listing only when it is complete.
                Some(Ok(watcher::Event::Init | watcher::Event::InitApply(_))) => {}
                Some(Ok(_)) => touched(),
                Some(Err(error)) => {
                    tracing::warn!(%error, kind = std::any::type_name::<K>(), "watch failed; it starts again");
                }
            }
        }
    });
    store
}

impl NodeAccess for NodeRuntime {
    fn dial(&self, namespace: &str, pod: &str, port: u16) -> BoxFuture<'_, io::Result<tokio::net::TcpStream>> {
        let key = PodKey::new(namespace, pod);
        Box::pin(async move { self.agent.network.dial(Peer::Host, &key, port).await })
    }

    fn logs(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions,
    ) -> BoxFuture<'_, io::Result<BoxStream<'static, io::Result<Bytes>>>> {
        let key = PodKey::new(namespace, pod);
        Box::pin(async move { self.read_logs(&key, &options) })
    }

    fn usage(&self) -> Vec<PodUsage> {
        self.usage.latest()
    }
}

impl Drop for NodeRuntime {
    /// The workers notice by themselves; `stop` is the orderly way.
    fn drop(&mut self) {
        self.stop.cancel();
        self.agent.network.close();
    }
}

impl NodeRuntime {
    fn read_logs(&self, pod: &PodKey, options: &LogOptions) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let not_found = |message: String| io::Error::new(io::ErrorKind::NotFound, message);
        let (name, found) = {
            let logs = self.agent.logs();
            let mut of_pod = logs.iter().filter(|(key, _)| key.pod == *pod);
            let found = match &options.container {
                Some(name) => of_pod.find(|(key, _)| key.container == *name),
                None => of_pod.next(),
            };
            let wanted = options.container.as_deref().unwrap_or_default();
            let (key, found) = found.ok_or_else(|| {
                not_found(format!(
                    "container \"{wanted}\" in pod \"{}\" has not run yet",
                    pod.name
                ))
            })?;
            (key.container.clone(), found.clone())
        };
        let stream = |text: Vec<u8>| stream::iter([Ok(Bytes::from(text))]).boxed();
        if options.previous {
            let path = found.previous.ok_or_else(|| {
                not_found(format!(
                    "previous terminated container \"{name}\" in pod \"{}\" not found",
                    pod.name
                ))
            })?;
            return logs::read(&path, options.tail_lines, options.timestamps).map(stream);
        }
        match (found.live, found.current) {
            (Some(live), _) if options.follow => logs::follow(&live, options.tail_lines, options.timestamps),
            (_, Some(path)) => logs::read(&path, options.tail_lines, options.timestamps).map(stream),
            (_, None) => Err(not_found(format!("container \"{name}\" has no log yet"))),
        }
    }
}
