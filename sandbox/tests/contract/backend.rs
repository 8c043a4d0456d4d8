//! The servers that the contract is held against.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use showrunner_apiserver::{ApiServer, ApiServerConfig, ListenHandle};
use showrunner_sandbox::real::{Assets, RealConfig, RealControlPlane};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours, called without a socket.
    Embedded,
    /// Ours, over a socket.
    Tcp,
    /// Kubernetes' own.
    Real,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Embedded, Self::Tcp, Self::Real];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Tcp => "tcp",
            Self::Real => "real",
        }
    }
}

/// A running server.
pub(crate) struct Backend {
    pub(crate) kind: Kind,
    pub(crate) client: kube::Client,
    /// Makes the server forget its history of changes.
    pub(crate) expire: Arc<dyn Fn() + Send + Sync>,
    /// Whether garbage is collected and namespaces end: of the real server, two controllers do that.
    pub(crate) controllers: bool,
    real: Option<RealControlPlane>,
    _listening: Option<ListenHandle>,
    _folder: Option<tempfile::TempDir>,
}

impl Backend {
    /// Starts a server; `None` where its binaries are not there.
    pub(crate) async fn start(kind: Kind) -> Result<Option<Self>, String> {
        match kind {
            Kind::Embedded | Kind::Tcp => Ok(Some(Self::embedded(kind).await)),
            Kind::Real => Self::real().await,
        }
    }

    async fn embedded(kind: Kind) -> Self {
        let config = ApiServerConfig {
            bookmark_interval: Duration::from_secs(1),
            ..ApiServerConfig::default()
        };
        let server = ApiServer::new(config);
        let (client, listening) = if kind == Kind::Tcp {
            let listening = server.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
            let mut config = kube::Config::new(format!("http://{}", listening.addr()).parse().unwrap());
            config.default_retry = false;
            (kube::Client::try_from(config).unwrap(), Some(listening))
        } else {
            (server.client("default"), None)
        };
        Self {
            kind,
            client,
            expire: Arc::new(move || server.compact()),
            controllers: true,
            real: None,
            _listening: listening,
            _folder: None,
        }
    }

    async fn real() -> Result<Option<Self>, String> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let Ok(assets) = Assets::find(workspace) else {
            return Ok(None);
        };
        let folder = tempfile::tempdir().unwrap();
        let controllers = assets.binary("kube-controller-manager").is_ok();
        let mut config = RealConfig::new(assets, folder.path().join("control-plane"));
        config.controllers = controllers;
        // It would write to the pods that the tests write to.
        config.scheduler = false;
        // What the embedded server does itself: the others would act on what the tests create.
        let ours = "--controllers=garbage-collector-controller,namespace-controller";
        config.controller_manager_arguments = vec![ours.to_owned()];
        let started = RealControlPlane::start(&config).await;
        let real = started.map_err(|error| error.to_string())?;
        Ok(Some(Self {
            kind: Kind::Real,
            client: real.client(),
            // Its watch cache begins when it starts: what is older is gone as it is.
            expire: Arc::new(|| ()),
            controllers,
            real: Some(real),
            _listening: None,
            _folder: Some(folder),
        }))
    }

    /// Ends the server; a part of it that died before is a failure.
    pub(crate) async fn stop(self) -> Result<(), String> {
        let Some(real) = self.real else { return Ok(()) };
        let died = real.failure();
        let pids: Vec<(&str, i32)> = real.processes().collect();
        real.stop().await.map_err(|error| format!("real: {error}"))?;
        if let Some((name, pid)) = pids
            .into_iter()
            .find(|(_, pid)| Path::new(&format!("/proc/{pid}")).exists())
        {
            return Err(format!("real: {name} ({pid}) is still there after the stop"));
        }
        died.map_or(Ok(()), |why| Err(format!("real: {why}")))
    }
}
