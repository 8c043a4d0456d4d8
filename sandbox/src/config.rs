//! Settings of a sandbox.

use std::{net::SocketAddr, path::PathBuf};

use showrunner_controllers::ControllersConfig;
use showrunner_node::{ImageTable, NodeConfig};

use crate::ControlPlane;

/// Settings of a sandbox.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Absolute folder for pods and logs. Created, and removed when the sandbox stops.
    pub root: PathBuf,
    /// Where the kubeconfig is written; removed when the sandbox stops.
    pub kubeconfig: PathBuf,
    /// Which control plane.
    pub control_plane: ControlPlane,
    /// Where the API server listens: loopback, port 0 for any.
    pub listen: SocketAddr,
    /// The nodes.
    pub nodes: Vec<NodeConfig>,
    /// Which executable stands for which image.
    pub images: ImageTable,
    /// Settings of the controllers.
    pub controllers: ControllersConfig,
    /// Program and arguments of a process that ends the pods when this one is killed (it calls
    /// [`showrunner_node::crash::supervise`]). Without one, a pod's own process dies with this one, but not what it started
    /// in turn; that ends at the next start.
    pub supervisor: Option<Vec<String>>,
    /// Seed of every random choice in the network.
    pub seed: u64,
}

impl SandboxConfig {
    /// A sandbox in `root` without nodes, with an API server on any port of 127.0.0.1.
    #[must_use]
    pub fn new(root: PathBuf, images: ImageTable) -> Self {
        Self {
            kubeconfig: root.join("kubeconfig"),
            root,
            control_plane: ControlPlane::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            nodes: Vec::new(),
            images,
            controllers: ControllersConfig::default(),
            supervisor: None,
            seed: 1,
        }
    }
}
