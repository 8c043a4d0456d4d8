//! The control plane of a sandbox: the embedded one, or Kubernetes' own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use kube::Client;
use showrunner_apiserver::{ApiServer, ApiServerConfig, ListenHandle};
use showrunner_controllers::{ControllersConfig, ControllersHandle, spawn_all, spawn_load_balancer};
use showrunner_node::{NodeRuntime, network::ReportedAddresses};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    SandboxConfig, SandboxError,
    real::{Assets, RealConfig, RealControlPlane},
};

/// How long controllers may take to end.
const STOP: Duration = Duration::from_secs(5);

/// Which control plane a sandbox has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ControlPlane {
    /// API server and controllers in this process.
    #[default]
    Embedded,
    /// Kubernetes' own, as child processes. Only load balancer addresses come from this process.
    Real(Assets),
    /// Kubernetes' own API server and etcd as child processes, with the controllers and the scheduler of this process: so
    /// those are tested alone. Nothing collects garbage or empties a namespace.
    RealApi(Assets),
}

enum Server {
    Embedded(ApiServer, ListenHandle),
    Real(Box<RealControlPlane>, Controllers),
}

/// Whose controllers run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Controllers {
    Upstream,
    Ours,
}

/// A running control plane.
pub(crate) struct Plane {
    server: Server,
    controllers: Option<ControllersHandle>,
}

impl Plane {
    /// Starts the API server, and whatever does not need nodes.
    pub(crate) async fn start(config: &SandboxConfig) -> Result<Self, SandboxError> {
        let server = match &config.control_plane {
            ControlPlane::Embedded => {
                let api = ApiServer::new(ApiServerConfig {
                    lost_node_toleration: config.controllers.default_toleration,
                    ..ApiServerConfig::default()
                });
                let listening = api.listen(config.listen).await.map_err(SandboxError::io(format!(
                    "the API server cannot listen on {}",
                    config.listen
                )))?;
                Server::Embedded(api, listening)
            }
            ControlPlane::Real(assets) | ControlPlane::RealApi(assets) => {
                let whose = match config.control_plane {
                    ControlPlane::RealApi(_) => Controllers::Ours,
                    _ => Controllers::Upstream,
                };
                let directory = config.root.join("control-plane");
                // Of a run in the same root that was killed: its socket is in the way, and its store has its objects.
                match std::fs::remove_dir_all(&directory) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(SandboxError::io(format!("cannot remove {}", directory.display()))(
                            error,
                        ));
                    }
                    _ => {}
                }
                let real = RealConfig {
                    controllers: whose == Controllers::Upstream,
                    scheduler: whose == Controllers::Upstream,
                    listen: config.listen,
                    ..RealConfig::new(assets.clone(), directory)
                }
                .tuned(&config.controllers);
                Server::Real(Box::new(RealControlPlane::start(&real).await?), whose)
            }
        };
        Ok(Self {
            server,
            controllers: None,
        })
    }

    /// Lets the API server reach the nodes, and starts the controllers of this process.
    pub(crate) async fn adopt(
        &mut self,
        runtime: &Arc<NodeRuntime>,
        controllers: ControllersConfig,
        stop: CancellationToken,
    ) -> Result<(), SandboxError> {
        let client = self.client();
        self.controllers = Some(match &self.server {
            Server::Embedded(api, _) => {
                api.set_nodes(runtime.clone());
                spawn_all(client, controllers, stop)
            }
            Server::Real(real, whose) => {
                real.adopt(runtime).await?;
                match whose {
                    Controllers::Upstream => spawn_load_balancer(client, controllers, stop),
                    Controllers::Ours => spawn_all(client, controllers, stop),
                }
            }
        });
        Ok(())
    }

    pub(crate) fn client(&self) -> Client {
        match &self.server {
            Server::Embedded(api, _) => api.client("default"),
            Server::Real(real, _) => real.client(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match &self.server {
            Server::Embedded(_, listening) => listening.addr(),
            Server::Real(real, _) => real.address(),
        }
    }

    pub(crate) fn kubeconfig(&self) -> String {
        match &self.server {
            Server::Embedded(api, listening) => api.kubeconfig_yaml(listening.addr()),
            Server::Real(real, _) => real.kubeconfig().to_owned(),
        }
    }

    /// How pods' addresses must be reported.
    pub(crate) fn reported(&self) -> ReportedAddresses {
        match &self.server {
            Server::Embedded(..) => ReportedAddresses::Loopback,
            Server::Real(..) => ReportedAddresses::Private,
        }
    }

    /// Why it is broken, if it is.
    pub(crate) fn failure(&self) -> Option<String> {
        let controllers = self.controllers.as_ref().and_then(ControllersHandle::failure);
        controllers
            .map(|error| error.to_string())
            .or_else(|| match &self.server {
                Server::Embedded(..) => None,
                Server::Real(real, _) => real.failure(),
            })
    }

    /// Ends the controllers, so that nothing is replaced any more. Those of Kubernetes' own go without asking: what they
    /// write meanwhile is of no use to anybody.
    pub(crate) async fn stop_controllers(&mut self) -> Result<(), SandboxError> {
        if let Some(controllers) = self.controllers.take()
            && let Err(error) = controllers.shutdown(STOP).await
        {
            warn!(%error, "controllers");
        }
        if let Server::Real(real, _) = &mut self.server {
            real.stop_controllers().await?;
        }
        Ok(())
    }

    /// Ends the API server.
    pub(crate) async fn stop(self) -> Result<(), SandboxError> {
        match self.server {
            Server::Embedded(_, listening) => drop(listening),
            Server::Real(real, _) => real.stop().await?,
        }
        Ok(())
    }
}
