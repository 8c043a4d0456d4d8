//! Kubernetes' own control plane on loopback: etcd, kube-apiserver and, where wanted, kube-controller-manager and
//! kube-scheduler, each a child process.
//!
//! It is what the embedded one is held against, and what a sandbox can run on instead.

mod agent;
mod aggregation;
mod assets;
mod certificates;
mod commands;
mod egress;
mod kubeconfig;
mod process;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use showrunner_controllers::ControllersConfig;
use showrunner_node::{NodeRuntime, agent::Spawner};

use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

pub use assets::{ASSETS_VARIABLE, Assets, AssetsError, KUBERNETES_VERSION};
use certificates::{ADMIN, Authority, CONTROLLER_MANAGER, FRONT_PROXY, Identity, SCHEDULER};
use commands::Addresses;
use egress::Egress;
use process::Process;

/// How long each part may take to be ready. The API server's first start writes its roles; a busy machine needs most of it.
const READY: Duration = Duration::from_secs(120);
/// How long one look at readiness may take: one that hangs must not hide that the part has ended.
const PROBE: Duration = Duration::from_secs(2);
/// How often readiness is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long a part may take to end before it is killed.
const STOP: Duration = Duration::from_secs(5);

/// What can go wrong with a control plane of child processes.
#[derive(Debug, thiserror::Error)]
pub enum RealError {
    /// A binary is missing.
    #[error(transparent)]
    Assets(#[from] AssetsError),
    /// The disk, the loopback network or the process table refused.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Certificates could not be made.
    #[error("{0}")]
    Certificates(String),
    /// A client could not be made.
    #[error("no client for the control plane: {0}")]
    Client(String),
    /// A part ended or did not get ready.
    #[error("{0}")]
    NotReady(String),
    /// A part did not end.
    #[error("{0}")]
    NotStopped(String),
}

impl RealError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    fn certificates(error: &certificates::CertificateError) -> Self {
        Self::Certificates(error.to_string())
    }
}

/// Settings of a [`RealControlPlane`].
#[derive(Clone, Debug)]
pub struct RealConfig {
    /// The binaries.
    pub assets: Assets,
    /// Absolute folder for data, certificates and logs. Created; whoever names it removes it.
    pub directory: PathBuf,
    /// Whether kube-controller-manager runs too.
    pub controllers: bool,
    /// Whether kube-scheduler runs too.
    pub scheduler: bool,
    /// Where the API server listens: loopback, port 0 for any.
    pub listen: SocketAddr,
    /// More arguments of kube-apiserver.
    pub api_server_arguments: Vec<String>,
    /// More arguments of kube-controller-manager.
    pub controller_manager_arguments: Vec<String>,
}

impl RealConfig {
    /// API server, controllers and scheduler, as Kubernetes sets them up.
    #[must_use]
    pub fn new(assets: Assets, directory: PathBuf) -> Self {
        Self {
            assets,
            directory,
            controllers: true,
            scheduler: true,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            api_server_arguments: Vec::new(),
            controller_manager_arguments: Vec::new(),
        }
    }

    /// The same periods and thresholds as the embedded controllers with these settings.
    #[must_use]
    pub fn tuned(mut self, controllers: &ControllersConfig) -> Self {
        let (api_server, controller_manager) = commands::settings(controllers);
        self.api_server_arguments.extend(api_server);
        self.controller_manager_arguments.extend(controller_manager);
        self
    }
}

/// A running control plane. [`RealControlPlane::stop`] ends it; it does not outlive this process in any case.
pub struct RealControlPlane {
    kubeconfig: String,
    address: SocketAddr,
    processes: Vec<Process>,
    client: Client,
    spawner: Spawner,
    authority: String,
    egress: Egress,
}

impl RealControlPlane {
    /// Starts everything and waits until it is ready. What a failing start has begun is ended again; its logs stay in the
    /// folder.
    pub async fn start(config: &RealConfig) -> Result<Self, RealError> {
        let directory = &config.directory;
        std::fs::create_dir_all(directory).map_err(RealError::io(format!("cannot create {}", directory.display())))?;
        let authority = Authority::create(directory).map_err(|e| RealError::certificates(&e))?;
        let at = addresses(config.listen).map_err(RealError::io("no free ports"))?;
        let kubeconfig = credentials(&authority, at)?;
        let path = authority.path(commands::EGRESS);
        write_private(&path, &egress::configuration(directory))
            .map_err(RealError::io(format!("cannot write {}", path.display())))?;
        let egress =
            Egress::listen(directory, &authority).map_err(RealError::io("no way from the API server to the nodes"))?;
        let spawner = Spawner::start().map_err(RealError::io("cannot start processes"))?;
        let mut plane = Self {
            client: client(&kubeconfig).await?,
            kubeconfig,
            address: at.api,
            processes: Vec::new(),
            spawner,
            authority: authority.certificate().to_owned(),
            egress,
        };
        match plane.raise(config, &authority, at).await {
            Ok(()) => Ok(plane),
            Err(error) => {
                if let Err(also) = plane.stop().await {
                    tracing::warn!(error = %also, "after a failed start");
                }
                Err(error)
            }
        }
    }

    async fn raise(&mut self, config: &RealConfig, authority: &Authority, at: Addresses) -> Result<(), RealError> {
        let directory = &config.directory;
        self.launch(config, "etcd", commands::etcd(at, directory)).await?;
        self.ready("etcd", async || tokio::net::TcpStream::connect(at.etcd).await.is_ok())
            .await?;
        let arguments = commands::api_server(at, authority, &config.api_server_arguments);
        self.launch(config, "kube-apiserver", arguments).await?;
        let api = self.client.clone();
        self.ready("kube-apiserver", async || healthy(&api, "/readyz").await)
            .await?;
        let mut waited = Vec::new();
        if config.controllers {
            let arguments = commands::controller_manager(at, authority, &config.controller_manager_arguments);
            self.launch(config, "kube-controller-manager", arguments).await?;
            waited.push(("kube-controller-manager", at.controllers));
        }
        if config.scheduler {
            let arguments = commands::scheduler(at, authority);
            self.launch(config, "kube-scheduler", arguments).await?;
            waited.push(("kube-scheduler", at.scheduler));
        }
        for (name, address) in waited {
            let probe = self.client_of(address).await?;
            self.ready(name, async || healthy(&probe, "/healthz").await).await?;
        }
        Ok(())
    }

    async fn launch(
        &mut self,
        config: &RealConfig,
        name: &'static str,
        arguments: Vec<String>,
    ) -> Result<(), RealError> {
        let mut argv = vec![config.assets.binary(name)?.display().to_string()];
        argv.extend(arguments);
        let started = Process::start(&self.spawner, name, argv, &config.directory).await;
        self.processes
            .push(started.map_err(RealError::io(format!("cannot start {name}")))?);
        Ok(())
    }

    /// Waits until `probe` says yes; a part that ends meanwhile ends the waiting.
    async fn ready(&self, name: &str, mut probe: impl AsyncFnMut() -> bool) -> Result<(), RealError> {
        let deadline = Instant::now() + READY;
        loop {
            if let Ok(true) = tokio::time::timeout(PROBE, probe()).await {
                return Ok(());
            }
            if let Some(failure) = self.failure() {
                return Err(RealError::NotReady(failure));
            }
            if Instant::now() > deadline {
                let tail = self.processes.iter().find(|process| process.name() == name);
                let tail = tail.map(Process::tail).unwrap_or_default();
                let waited = READY.as_secs();
                return Err(RealError::NotReady(format!(
                    "{name} was not ready within {waited} s:\n{tail}"
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Lets the API server reach the pods and nodes of `runtime`, and registers it as the server of metrics.k8s.io.
    pub async fn adopt(&self, runtime: &Arc<NodeRuntime>) -> Result<(), RealError> {
        self.egress.serve(Arc::clone(runtime));
        aggregation::register(&self.client, &self.authority).await
    }

    /// Where the API server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// A client that may do everything.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Each part and its process id.
    pub fn processes(&self) -> impl Iterator<Item = (&'static str, i32)> {
        self.processes.iter().map(|process| (process.name(), process.pid()))
    }

    /// Why the control plane is broken, if it is: a part ended. Quotes the end of its log.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.processes.iter().find_map(Process::failure)
    }

    /// Ends controllers and scheduler.
    pub async fn stop_controllers(&mut self) -> Result<(), RealError> {
        let clients = |process: &mut Process| !matches!(process.name(), "etcd" | "kube-apiserver");
        stop_all(self.processes.extract_if(.., clients).collect()).await
    }

    /// Ends everything, clients of the API server first, etcd last. Says what could not be ended.
    pub async fn stop(self) -> Result<(), RealError> {
        stop_all(self.processes).await
    }

    /// A client of another part's own server.
    async fn client_of(&self, address: SocketAddr) -> Result<Client, RealError> {
        let ours = format!("https://{}", self.address);
        client(&self.kubeconfig.replace(&ours, &format!("https://{address}"))).await
    }
}

/// The last one that was started first. All are tried, whatever becomes of one.
async fn stop_all(processes: Vec<Process>) -> Result<(), RealError> {
    let mut left = Vec::new();
    for process in processes.into_iter().rev() {
        if let Err(error) = process.stop(STOP).await {
            left.push(error);
        }
    }
    if left.is_empty() {
        Ok(())
    } else {
        Err(RealError::NotStopped(left.join("; ")))
    }
}

/// Writes a file for this user's eyes.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::{
        io::Write as _,
        os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    };
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // One that was there keeps the mode it had.
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}

/// Ports that were free at the same time. Another process may take one before it is used; the start then fails and says
/// so.
fn addresses(api: SocketAddr) -> std::io::Result<Addresses> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listeners = [any, any, api, any, any]
        .map(TcpListener::bind)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let address = |index: usize| listeners[index].local_addr();
    Ok(Addresses {
        etcd: address(0)?,
        etcd_peer: address(1)?,
        api: address(2)?,
        controllers: address(3)?,
        scheduler: address(4)?,
    })
}

/// Writes all certificates and the kubeconfigs of the controllers; gives that of the administrator.
fn credentials(authority: &Authority, at: Addresses) -> Result<String, RealError> {
    let issue = |identity: Identity| {
        let pair = authority.client(identity).map_err(|e| RealError::certificates(&e))?;
        Ok::<_, RealError>(kubeconfig::yaml(
            &format!("https://{}", at.api),
            authority.certificate(),
            &pair,
        ))
    };
    authority.server().map_err(|e| RealError::certificates(&e))?;
    issue(FRONT_PROXY)?;
    for identity in [CONTROLLER_MANAGER, SCHEDULER] {
        let path = authority.path(&format!("{}.kubeconfig", identity.file));
        write_private(&path, &issue(identity)?).map_err(RealError::io(format!("cannot write {}", path.display())))?;
    }
    issue(ADMIN)
}

async fn client(kubeconfig: &str) -> Result<Client, RealError> {
    let wrong = |error: &dyn std::fmt::Display| RealError::Client(error.to_string());
    let parsed = Kubeconfig::from_yaml(kubeconfig).map_err(|e| wrong(&e))?;
    let mut config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
        .await
        .map_err(|e| wrong(&e))?;
    // Whoever asks decides whether to ask again.
    config.default_retry = false;
    Client::try_from(config).map_err(|e| wrong(&e))
}

/// Whether `path` answers 200.
async fn healthy(client: &Client, path: &str) -> bool {
    let Ok(request) = http::Request::get(path).body(Vec::new()) else {
        return false;
    };
    // That a server is not ready yet is no error of a request's.
    let asked = client.request_text(request).with_subscriber(NoSubscriber::default());
    asked.await.is_ok()
}
