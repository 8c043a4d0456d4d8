//! An embedded Kubernetes that runs pods as local processes: API server, controllers, scheduler, nodes, network and faults
//! in one process, on loopback, without root. Kubernetes' own control plane can take the place of the embedded one.
//!
//! It knows nothing of what runs in it: any operator can use it. See [`Sandbox::start`].

mod abandoned;
mod config;
mod plane;
pub mod real;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use showrunner_node::{
    NodeRuntime, chaos,
    crash::{Owner, Supervisor},
};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use plane::Plane;

pub use abandoned::{Abandoned, reap_abandoned};
pub use config::SandboxConfig;
pub use plane::ControlPlane;
pub use showrunner_controllers::ControllersConfig;
pub use showrunner_node::{ImageTable, NodeConfig, RuntimeConfig, crash};

/// How long a CustomResourceDefinition may take to be established.
const ESTABLISHED: Duration = Duration::from_secs(10);
/// How long the address of a Service may be another program's: one that is ending lets it go.
const TAKEN: Duration = Duration::from_secs(10);
/// How long pods get to end when the sandbox stops.
const STOP: Duration = Duration::from_secs(20);

/// What can go wrong with a sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The disk or the loopback network refused.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The API server refused.
    #[error("{what}: {source}")]
    Api {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// A CustomResourceDefinition was not established.
    #[error("CustomResourceDefinition {name} was not established: {why}")]
    NotEstablished {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// Kubernetes' own control plane failed.
    #[error(transparent)]
    Real(#[from] real::RealError),
    /// The node runtime could not be set up.
    #[error("nodes: {0}")]
    Nodes(String),
}

impl SandboxError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api {
            what,
            source: Box::new(source),
        }
    }
}

/// A running sandbox. [`Sandbox::stop`] ends it. A process that dies takes its pods with it.
pub struct Sandbox {
    plane: Plane,
    kubeconfig: PathBuf,
    runtime: Arc<NodeRuntime>,
    chaos: JoinHandle<()>,
    stop: CancellationToken,
    root: PathBuf,
    supervisor: Option<Supervisor>,
}

impl Sandbox {
    /// Starts API server, controllers, nodes and the fault controller. What a failing start has made is taken away again.
    pub async fn start(config: SandboxConfig) -> Result<Self, SandboxError> {
        let (root, kubeconfig) = (config.root.clone(), config.kubeconfig.clone());
        refuse_foreign(&kubeconfig)?;
        std::fs::create_dir_all(&root).map_err(SandboxError::io(format!("cannot create {}", root.display())))?;
        claim(&root, &kubeconfig)?;
        let stop = CancellationToken::new();
        let started = Self::assemble(config, stop.clone()).await;
        if started.is_err() {
            stop.cancel();
            remove(&kubeconfig, &root);
        }
        started
    }

    async fn assemble(config: SandboxConfig, stop: CancellationToken) -> Result<Self, SandboxError> {
        let root = config.root.clone();
        // Before anything that it would have to end.
        let supervisor = config
            .supervisor
            .as_ref()
            .map(|program| {
                Supervisor::start(program, &root)
                    .map_err(SandboxError::io(format!("cannot start the supervisor {program:?}")))
            })
            .transpose()?;
        let mut plane = Plane::start(&config).await?;
        let raised = Self::raise(&mut plane, &config, &root, &stop).await;
        let (runtime, chaos) = match raised {
            Ok(raised) => raised,
            Err(error) => {
                // What failed is what the user needs.
                for also in [plane.stop_controllers().await, plane.stop().await] {
                    if let Err(also) = also {
                        warn!(error = %also, "after a failed start");
                    }
                }
                return Err(error);
            }
        };
        Ok(Self {
            plane,
            kubeconfig: config.kubeconfig,
            runtime,
            chaos,
            stop,
            root,
            supervisor,
        })
    }

    /// Starts what needs an API server.
    async fn raise(
        plane: &mut Plane,
        config: &SandboxConfig,
        root: &std::path::Path,
        stop: &CancellationToken,
    ) -> Result<(Arc<NodeRuntime>, JoinHandle<()>), SandboxError> {
        write_kubeconfig(&config.kubeconfig, &plane.kubeconfig())?;
        let client = plane.client();
        let runtime_config = RuntimeConfig {
            images: config.images.clone(),
            network: showrunner_node::network::NetworkConfig {
                seed: config.seed,
                reported: plane.reported(),
                ..Default::default()
            },
            ..RuntimeConfig::new(root)
        };
        let runtime = NodeRuntime::new(runtime_config, client.clone())
            .map_err(SandboxError::io(format!("the nodes cannot use {}", root.display())))?;
        plane
            .adopt(&runtime, config.controllers.clone(), stop.child_token())
            .await?;
        for node in config.nodes.clone() {
            runtime.spawn_node(node);
        }
        chaos::install_definitions(&client)
            .await
            .map_err(|error| SandboxError::Nodes(error.to_string()))?;
        let chaos = chaos::spawn(client, runtime.clone(), config.seed, stop.child_token());
        Ok((runtime, chaos))
    }

    /// A client that may do everything; of the embedded control plane, one without a socket.
    #[must_use]
    pub fn client(&self) -> Client {
        self.plane.client()
    }

    /// Where the API server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.plane.address()
    }

    /// A kubeconfig for it.
    #[must_use]
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// The folder of pods and logs.
    #[must_use]
    pub fn root(&self) -> &std::path::Path {
        &self.root
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &Arc<NodeRuntime> {
        &self.runtime
    }

    /// Why the sandbox is broken, if it is: a controller or the fault controller died, or the address of a Service is another
    /// program's.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if let Some(failure) = self.plane.failure() {
            return Some(failure);
        }
        if self.chaos.is_finished() {
            return Some("the fault controller ended".to_owned());
        }
        let taken = self.runtime.network().taken();
        taken
            .filter(|taken| taken.since.elapsed() >= TAKEN)
            .map(|taken| taken.to_string())
    }

    /// Creates CustomResourceDefinitions and waits until they are served.
    pub async fn install(&self, crds: Vec<CustomResourceDefinition>) -> Result<(), SandboxError> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client());
        for crd in crds {
            let name = crd.name_any();
            api.create(&PostParams::default(), &crd)
                .await
                .map_err(SandboxError::api(format!(
                    "cannot install CustomResourceDefinition {name}"
                )))?;
            let established = await_condition(api.clone(), &name, is_crd_established());
            let why = match timeout(ESTABLISHED, established).await {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("not within {} s", ESTABLISHED.as_secs()),
            };
            return Err(SandboxError::NotEstablished { name, why });
        }
        Ok(())
    }

    /// Creates a namespace; one that is there already is fine.
    pub async fn ensure_namespace(&self, name: &str) -> Result<(), SandboxError> {
        let api: Api<Namespace> = Api::all(self.client());
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        match api.create(&PostParams::default(), &namespace).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            created => created
                .map(drop)
                .map_err(SandboxError::api(format!("cannot create namespace {name}"))),
        }
    }

    /// Ends everything: controllers first, so that nothing is replaced, then pods, network and files. Says what could not be ended.
    pub async fn stop(mut self) -> Result<(), SandboxError> {
        self.stop.cancel();
        let controllers = self.plane.stop_controllers().await;
        let stopped = self.runtime.stop(STOP).await;
        self.chaos.abort();
        let plane = self.plane.stop().await;
        remove(&self.kubeconfig, &self.root);
        drop(self.supervisor);
        stopped.map_err(|error| SandboxError::Nodes(error.to_string()))?;
        controllers.and(plane)
    }
}

/// Marks a kubeconfig as a sandbox's.
const OURS: &str = "current-context: sandbox\n";

/// A kubeconfig that is somebody's must not be overwritten, and not be removed at the end.
fn refuse_foreign(path: &std::path::Path) -> Result<(), SandboxError> {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.contains(OURS) => Err(SandboxError::Io {
            what: format!("{} is not a sandbox's kubeconfig; name another file", path.display()),
            source: std::io::ErrorKind::AlreadyExists.into(),
        }),
        _ => Ok(()),
    }
}

/// States whose the folder is, so that a later start can tell when that process is gone. What an owner before this one left
/// running is ended first: its mark would be lost with its statement.
fn claim(root: &std::path::Path, kubeconfig: &std::path::Path) -> Result<(), SandboxError> {
    if let Ok(before) = Owner::read(root)
        && !before.may_run()
    {
        crash::end_all(&before, root).map_err(SandboxError::io(format!(
            "cannot end what was left running in {}",
            root.display()
        )))?;
    }
    Owner::this()
        .and_then(|owner| owner.write(root))
        .and_then(|()| abandoned::remember_kubeconfig(root, kubeconfig))
        .map_err(|error| {
            remove(kubeconfig, root);
            SandboxError::io(format!("cannot write to {}", root.display()))(error)
        })
}

/// Removes what a sandbox wrote.
fn remove(kubeconfig: &std::path::Path, root: &std::path::Path) {
    for (path, removed) in [
        (kubeconfig, std::fs::remove_file(kubeconfig)),
        (root, std::fs::remove_dir_all(root)),
    ] {
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            warn!(%error, path = %path.display(), "cannot be removed");
        }
    }
}

fn write_kubeconfig(path: &std::path::Path, text: &str) -> Result<(), SandboxError> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(SandboxError::io(format!("cannot create {}", dir.display())))?;
    }
    real::write_private(path, text).map_err(SandboxError::io(format!("cannot write {}", path.display())))
}
