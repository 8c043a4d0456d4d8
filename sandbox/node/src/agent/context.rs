//! One pod on this node: its state, its directory, and how its texts are translated.

use super::env::environment;
use super::events::EventKind;
use super::fields::NodeFacts;
use super::project::project;
use super::shared::{Agent, ContainerKey};
use super::state::{ContainerRecord, PodState};
use super::status::render;
use super::translate::{Translation, references};
use super::volumes::{VolumeContent, VolumeFile, content};
use crate::key::PodKey;
use crate::network::{LinkError, LinkTarget};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, PodStatus};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// A request to end the pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// When SIGKILL follows.
    pub(crate) deadline: Instant,
    /// Whether preStop hooks run.
    pub(crate) hooks: bool,
}

/// Why a container cannot start yet, as its status says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotYet {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl NotYet {
    pub(crate) fn new(reason: &'static str, error: &impl ToString) -> Self {
        Self {
            reason,
            message: error.to_string(),
        }
    }
}

pub(crate) struct PodContext {
    pub(crate) agent: Arc<Agent>,
    pub(crate) key: PodKey,
    pub(crate) uid: String,
    pub(crate) facts: NodeFacts,
    /// The pod's directory.
    pub(crate) directory: PathBuf,
    pub(crate) pod: watch::Receiver<Arc<Pod>>,
    pub(crate) stop: watch::Sender<Option<Stop>>,
    state: Mutex<PodState>,
    reported: Mutex<Option<PodStatus>>,
    pub(crate) dirty: Notify,
    /// The machine is lost, or the object is: nothing is reported any more.
    pub(crate) silent: AtomicBool,
    translation: Mutex<Translation>,
}

impl PodContext {
    pub(crate) fn new(agent: Arc<Agent>, key: PodKey, facts: NodeFacts, pod: watch::Receiver<Arc<Pod>>) -> Self {
        let current = Arc::clone(&pod.borrow());
        let uid = current.metadata.uid.clone().unwrap_or_default();
        let spec = current.spec.clone().unwrap_or_default();
        let record = |container: &Container, sidecar| {
            ContainerRecord::new(&container.name, container.image.as_deref().unwrap_or_default(), sidecar)
        };
        let state = PodState {
            started_at: Timestamp::now(),
            pod_ip: Some(agent.config.network.reported.outward(facts.pod_ip)),
            host_ip: facts.host_ip,
            init: spec
                .init_containers
                .iter()
                .flatten()
                .map(|c| record(c, is_sidecar(c)))
                .collect(),
            containers: spec.containers.iter().map(|c| record(c, false)).collect(),
            terminating: false,
        };
        let directory = agent.config.root.join("pods").join(&uid);
        Self {
            agent,
            key,
            uid,
            facts,
            directory,
            pod,
            stop: watch::Sender::new(None),
            state: Mutex::new(state),
            reported: Mutex::default(),
            dirty: Notify::new(),
            silent: AtomicBool::new(false),
            translation: Mutex::default(),
        }
    }

    pub(crate) fn current(&self) -> Arc<Pod> {
        Arc::clone(&self.pod.borrow())
    }

    /// The container's spec as it is now: its image may change while the pod lives.
    pub(crate) fn container(&self, name: &str) -> Option<Container> {
        let pod = self.current();
        let spec = pod.spec.as_ref()?;
        spec.init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
            .find(|container| container.name == name)
            .cloned()
    }

    pub(crate) fn container_key(&self, container: &str) -> ContainerKey {
        ContainerKey {
            pod: self.key.clone(),
            container: container.to_owned(),
        }
    }

    fn state(&self) -> MutexGuard<'_, PodState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&PodState) -> T) -> T {
        read(&self.state())
    }

    /// Changes the state; the status follows if anything is different.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut PodState) -> T) -> T {
        let result = change(&mut self.state());
        self.dirty.notify_one();
        result
    }

    pub(crate) fn update_container(&self, name: &str, change: impl FnOnce(&mut ContainerRecord)) {
        self.update(|state| state.container_mut(name).map(change));
    }

    pub(crate) fn event(&self, kind: EventKind, reason: &str, message: impl Into<String>) {
        self.event_at(None, kind, reason, message);
    }

    pub(crate) fn event_at(&self, container: Option<&str>, kind: EventKind, reason: &str, message: impl Into<String>) {
        let object = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(self.key.namespace.clone()),
            name: Some(self.key.name.clone()),
            uid: Some(self.uid.clone()),
            field_path: container.map(|name| format!("spec.containers{{{name}}}")),
            ..ObjectReference::default()
        };
        self.agent
            .recorder
            .record("kubelet", &self.facts.node, object, kind, reason, message);
    }

    /// The pod's termination grace period.
    pub(crate) fn grace(&self) -> Duration {
        let pod = self.current();
        let given = pod.metadata.deletion_grace_period_seconds;
        let spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        Duration::from_secs(
            given
                .or(spec)
                .and_then(|seconds| u64::try_from(seconds).ok())
                .unwrap_or(30),
        )
    }

    /// Asks for the pod's end. A later request can bring the deadline forward, never back.
    pub(crate) fn request_stop(&self, grace: Duration, hooks: bool) {
        let deadline = Instant::now() + grace.max(self.agent.config.minimum_grace);
        let changed = self.stop.send_if_modified(|stop| match stop {
            Some(earlier) if earlier.deadline <= deadline => false,
            _ => {
                *stop = Some(Stop {
                    deadline,
                    hooks: hooks && !grace.is_zero(),
                });
                true
            }
        });
        if changed {
            self.update(|state| state.terminating = true);
        }
    }

    /// Waits until the pod's end is asked for.
    pub(crate) async fn stopped(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.stop.subscribe().wait_for(Option::is_some).await;
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.borrow().is_some()
    }

    pub(crate) fn translation(&self) -> Translation {
        self.translation.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where a volume lies on the host.
    fn volume_path(&self, name: &str, content: &VolumeContent) -> PathBuf {
        match content {
            VolumeContent::Host(path) => path.clone(),
            VolumeContent::Claim(claim) => self
                .agent
                .config
                .root
                .join("claims")
                .join(&self.key.namespace)
                .join(claim),
            VolumeContent::Empty | VolumeContent::Files(_) => self.directory.join("volumes").join(name),
        }
    }

    /// The mounts of one container: (mount path, host path).
    pub(crate) fn mounts(&self, container: &Container) -> Result<Vec<(String, String)>, NotYet> {
        let pod = self.current();
        let volumes = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.volumes.as_deref())
            .unwrap_or_default();
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let volume = volumes.iter().find(|volume| volume.name == mount.name).ok_or_else(|| {
                NotYet::new(
                    "CreateContainerConfigError",
                    &format!("no volume named \"{}\"", mount.name),
                )
            })?;
            let content = content(volume, &pod, &self.facts, self.agent.as_ref())
                .map_err(|error| NotYet::new("ContainerCreating", &error))?;
            let mut path = self.volume_path(&mount.name, &content);
            if let Some(sub) = mount.sub_path.as_deref().filter(|sub| !sub.is_empty()) {
                path.push(sub);
                if content == VolumeContent::Empty || matches!(content, VolumeContent::Claim(_)) {
                    std::fs::create_dir_all(&path).map_err(|error| NotYet::new("ContainerCreating", &error))?;
                }
            }
            mounts.push((mount.mount_path.clone(), path.display().to_string()));
        }
        Ok(mounts)
    }

    /// Sets up or refreshes the pod's volumes and its links to Services.
    pub(crate) fn set_up(&self) -> Result<(), NotYet> {
        let pod = self.current();
        let spec = pod.spec.clone().unwrap_or_default();
        let io = |error: std::io::Error| NotYet::new("ContainerCreating", &error);
        let mut contents: BTreeMap<String, (PathBuf, VolumeContent)> = BTreeMap::new();
        for volume in spec.volumes.iter().flatten() {
            let content = content(volume, &pod, &self.facts, self.agent.as_ref())
                .map_err(|error| NotYet::new("ContainerCreating", &error))?;
            contents.insert(volume.name.clone(), (self.volume_path(&volume.name, &content), content));
        }
        let containers: Vec<&Container> = spec.init_containers.iter().flatten().chain(&spec.containers).collect();
        let mut wanted: BTreeSet<LinkTarget> = BTreeSet::new();
        for container in &containers {
            for text in container
                .command
                .iter()
                .flatten()
                .chain(container.args.iter().flatten())
            {
                wanted.extend(references(text));
            }
            // An environment that cannot be made yet holds up its container, not the pod.
            for text in environment(container, &pod, &self.facts, self.agent.as_ref())
                .unwrap_or_default()
                .values()
            {
                wanted.extend(references(text));
            }
        }
        for (_, content) in contents.values() {
            if let VolumeContent::Files(files) = content {
                for text in files.values().filter_map(|file| std::str::from_utf8(&file.data).ok()) {
                    wanted.extend(references(text));
                }
            }
        }
        let mut hosts = BTreeMap::new();
        for target in wanted {
            let host = self
                .agent
                .network
                .link(&self.key, &target)
                .map_err(|error| match &error {
                    LinkError::NoSuchService(_) => NotYet::new("ServiceNotFound", &error),
                    LinkError::Io(..) => NotYet::new("ContainerCreating", &error),
                })?;
            hosts.insert(target, host);
        }
        let mut mounts = Vec::new();
        for container in &containers {
            for mount in container.volume_mounts.iter().flatten() {
                if let Some((path, _)) = contents.get(&mount.name) {
                    let path = mount.sub_path.as_deref().map_or(path.clone(), |sub| path.join(sub));
                    mounts.push((mount.mount_path.clone(), path.display().to_string()));
                }
            }
        }
        let translation = Translation::new(hosts, mounts);
        for (path, content) in contents.values() {
            match content {
                VolumeContent::Files(files) => {
                    project(path, &translated(files, &translation)).map_err(io)?;
                }
                VolumeContent::Empty | VolumeContent::Claim(_) => std::fs::create_dir_all(path).map_err(io)?,
                VolumeContent::Host(_) => {}
            }
        }
        *self.translation.lock().unwrap_or_else(PoisonError::into_inner) = translation;
        Ok(())
    }

    /// Sends the pod's status if it differs from what was sent last.
    pub(crate) async fn report(&self) -> Result<(), kube::Error> {
        if self.silent.load(Ordering::Relaxed) {
            return Ok(());
        }
        let previous = self.reported.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let pod = self.current();
        let status = self.read(|state| render(&pod, state, previous.as_ref(), Timestamp::now()));
        if previous.as_ref() == Some(&status) {
            return Ok(());
        }
        let api: Api<Pod> = Api::namespaced(self.agent.client.clone(), &self.key.namespace);
        // The uid keeps a report about this pod from landing on a namesake that came after it.
        let patch = json!({"metadata": {"uid": self.uid}, "status": status});
        match api
            .patch_status(&self.key.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => {}
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409 | 422) => {
                tracing::debug!(pod = %self.key, %error, "the pod is gone or another has its name");
            }
            Err(error) => return Err(error),
        }
        *self.reported.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        Ok(())
    }
}

/// An init container that keeps running beside the others.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn translated(files: &BTreeMap<String, VolumeFile>, translation: &Translation) -> BTreeMap<String, VolumeFile> {
    files
        .iter()
        .map(|(path, file)| {
            let data = match std::str::from_utf8(&file.data) {
                Ok(text) => translation.apply(text).into_bytes(),
                Err(_) => file.data.clone(),
            };
            (path.clone(), VolumeFile { data, mode: file.mode })
        })
        .collect()
}
