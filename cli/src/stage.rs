//! What `up` and `drill` share: a sandbox with the operator and a platform in it.

use std::{
    io::{ErrorKind, Write},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use showrunner_crds::{
    annotations::{DRILLS, DRILLS_ALLOWED, ENVIRONMENT, SANDBOX},
    crd::all_crds,
    labels,
    platform::{Region, StreamingPlatform},
    premiere::Premiere,
    source::PlatformFile,
};
use showrunner_operator::OperatorOptions;
use showrunner_sandbox::{
    ControlPlane, ControllersConfig, ImageTable, NodeConfig, Sandbox, SandboxConfig, real::Assets, reap_abandoned,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{args::PlaneArg, failure::Failure, trouble};

/// Nodes of every region: a spread across zones has something to spread over.
const NODES_PER_REGION: u32 = 2;
/// How often the stage is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long the operator may take to end.
const OPERATOR_STOP: Duration = Duration::from_secs(5);

/// What a sandbox's folder is called, but for the number of its process.
const PREFIX: &str = "showrunner-";

/// A sandbox with an operator.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) namespace: String,
    pub(crate) platform: String,
    operator: JoinHandle<Result<(), showrunner_operator::Error>>,
    /// What keeps the platform from coming up.
    trouble: Arc<OnceLock<String>>,
    stop: CancellationToken,
    _only: OnlyOne,
}

/// The right to run a sandbox: its addresses are the machine's. An abstract socket: it ends with the process, however that
/// ends, and leaves no file.
struct OnlyOne(#[expect(dead_code, reason = "held, not read")] UnixListener);

impl OnlyOne {
    fn claim() -> Result<Self, Failure> {
        let claimed =
            SocketAddr::from_abstract_name("showrunner-sandbox").and_then(|name| UnixListener::bind_addr(&name));
        claimed.map(Self).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => Failure::infrastructure(
                "another sandbox runs on this machine; stop it first: both would use the same loopback addresses",
            ),
            _ => Failure::infrastructure(format!("cannot claim the sandbox's addresses: {error}")),
        })
    }
}

impl Stage {
    /// Starts a sandbox whose nodes match the platform's regions, the operator, and applies the file.
    pub(crate) async fn raise(
        file: &PlatformFile,
        kubeconfig: Option<PathBuf>,
        seed: u64,
        plane: PlaneArg,
    ) -> Result<Self, Failure> {
        let control_plane = control_plane(plane)?;
        let only = OnlyOne::claim()?;
        let infrastructure = |error: &dyn std::fmt::Display| Failure::infrastructure(error.to_string());
        let exe = std::env::current_exe().map_err(|e| infrastructure(&e))?;
        let images = ImageTable::default()
            .with(
                &file.platform.spec.images.media,
                [exe.display().to_string(), "media".to_owned()],
            )
            .with(
                &file.platform.spec.images.cache,
                [file.platform.spec.images.cache_command.clone()],
            );
        reap().await?;
        trouble::ports_are_free()?;
        let root = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
        let mut config = SandboxConfig::new(root, images);
        if let Some(path) = kubeconfig {
            config.kubeconfig = path;
        }
        config.seed = seed;
        config.control_plane = control_plane;
        config.supervisor = Some(vec![exe.display().to_string(), "supervise".to_owned()]);
        config.controllers = ControllersConfig {
            hpa_sync_period: Duration::from_secs(5),
            ..ControllersConfig::default()
        };
        config.nodes = file.platform.spec.regions.iter().flat_map(nodes).collect();
        let sandbox = Sandbox::start(config).await.map_err(|e| infrastructure(&e))?;
        // Before the operator: it watches what these define.
        if let Err(error) = sandbox.install(all_crds()).await {
            let failure = infrastructure(&error);
            return Err(match sandbox.stop().await {
                Ok(()) => failure,
                Err(also) => failure.and(&infrastructure(&also)),
            });
        }
        let namespace = file.platform.namespace().unwrap_or_else(|| "default".to_owned());
        let stop = CancellationToken::new();
        // Small intervals: a drill's minutes stand for an evening's hours.
        let options = OperatorOptions {
            busy_interval: Duration::from_secs(2),
            idle_interval: Duration::from_secs(3),
            ..OperatorOptions::default()
        };
        let operator = tokio::spawn(showrunner_operator::run(sandbox.client(), options, stop.clone()));
        let stage = Self {
            sandbox,
            namespace,
            platform: file.platform.name_any(),
            operator,
            trouble: Arc::default(),
            stop,
            _only: only,
        };
        match stage.furnish(file).await {
            Ok(()) => Ok(stage),
            Err(failure) => {
                // Why it failed is what the user needs; that the clean-up failed too is said beside it.
                match stage.strike().await {
                    Ok(()) => Err(failure),
                    Err(also) => Err(failure.and(&also)),
                }
            }
        }
    }

    async fn furnish(&self, file: &PlatformFile) -> Result<(), Failure> {
        let refused = |error: showrunner_sandbox::SandboxError| Failure::infrastructure(error.to_string());
        self.sandbox.ensure_namespace(&self.namespace).await.map_err(refused)?;
        let client = self.sandbox.client();
        agree(&client, &self.namespace).await?;
        let mut platform = file.platform.clone();
        let annotations = platform.annotations_mut();
        annotations.insert(DRILLS.to_owned(), DRILLS_ALLOWED.to_owned());
        annotations.insert(ENVIRONMENT.to_owned(), SANDBOX.to_owned());
        apply(&client, &self.namespace, &platform).await?;
        for premiere in &file.premieres {
            apply(&client, &self.namespace, premiere).await?;
        }
        let (namespace, platform) = (self.namespace.clone(), self.platform.clone());
        let watch = trouble::watch(client, namespace, platform, Arc::clone(&self.trouble));
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(watch).await });
        Ok(())
    }

    /// Waits until the stage is broken.
    pub(crate) async fn broken(&self) -> String {
        loop {
            if let Some(failure) = self.failure() {
                return failure;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Why the stage is broken, if it is.
    pub(crate) fn failure(&self) -> Option<String> {
        if let Some(trouble) = self.trouble.get() {
            return Some(trouble.clone());
        }
        if self.operator.is_finished() {
            return Some("the operator ended".to_owned());
        }
        self.sandbox.failure()
    }

    /// Takes everything down.
    pub(crate) async fn strike(self) -> Result<(), Failure> {
        self.stop.cancel();
        let operator = tokio::time::timeout(OPERATOR_STOP, self.operator).await;
        let stopped = self
            .sandbox
            .stop()
            .await
            .map_err(|e| Failure::infrastructure(e.to_string()));
        match operator {
            Ok(Ok(Ok(()))) | Err(_) => stopped,
            Ok(Ok(Err(error))) => Err(Failure::infrastructure(format!("the operator failed: {error}"))),
            Ok(Err(error)) => Err(Failure::infrastructure(format!("the operator died: {error}"))),
        }
    }
}

/// Ends and removes what runs that were killed have left, and says so.
async fn reap() -> Result<(), Failure> {
    let reaped = tokio::task::spawn_blocking(|| reap_abandoned(&std::env::temp_dir(), PREFIX))
        .await
        .map_err(|error| Failure::infrastructure(error.to_string()))?
        .map_err(|error| Failure::infrastructure(format!("{}: {error}", std::env::temp_dir().display())))?;
    for left in reaped {
        let root = left.root.display();
        let told = match left.error {
            None => format!(
                "process {} was killed and left a sandbox: ended {} of its processes, removed {root}",
                left.owner, left.killed
            ),
            Some(error) => format!(
                "process {} was killed and left a sandbox that cannot be removed: {root}: {error}",
                left.owner
            ),
        };
        let _ = writeln!(std::io::stderr(), "{told}");
    }
    Ok(())
}

/// The control plane that was asked for. Kubernetes' own is looked for in the folder that this is run from.
fn control_plane(asked: PlaneArg) -> Result<ControlPlane, Failure> {
    let found = || Assets::find(Path::new(".")).map_err(|error| Failure::invalid(error.to_string()));
    Ok(match asked {
        PlaneArg::Embedded => ControlPlane::Embedded,
        PlaneArg::Real => ControlPlane::Real(found()?),
        PlaneArg::RealApi => ControlPlane::RealApi(found()?),
    })
}

/// The nodes that stand for a region.
fn nodes(region: &Region) -> Vec<NodeConfig> {
    let mut labels = region.placement.node_selector.clone();
    if labels.is_empty() {
        labels.insert(labels::TOPOLOGY_REGION.to_owned(), region.name.clone());
    }
    (0..NODES_PER_REGION)
        .map(|index| {
            let zone = format!("{}-{}", region.name, char::from(b'a' + (index % 26) as u8));
            let node = NodeConfig::new(format!("{}-{index}", region.name)).label(labels::TOPOLOGY_ZONE, zone);
            labels.iter().fold(node, |node, (key, value)| node.label(key, value))
        })
        .collect()
}

/// A sandbox is there for drills: its namespace says so, as a cluster's would have to.
async fn agree(client: &Client, namespace: &str) -> Result<(), Failure> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let patch = json!({ "metadata": { "annotations": { DRILLS: DRILLS_ALLOWED } } });
    let agreed = namespaces
        .patch(namespace, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    agreed
        .map(drop)
        .map_err(|error| Failure::infrastructure(format!("namespace {namespace}: {error}")))
}

/// The objects that `apply` sends.
trait Applied: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone {}
impl Applied for StreamingPlatform {}
impl Applied for Premiere {}

async fn apply<K>(client: &Client, namespace: &str, object: &K) -> Result<(), Failure>
where
    K: Applied + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let mut object = object.clone();
    object.meta_mut().namespace = Some(namespace.to_owned());
    let name = object.name_any();
    api.patch(&name, &PatchParams::apply("showrunner-cli"), &Patch::Apply(&object))
        .await
        .map(drop)
        .map_err(|error| {
            let message = format!("{} {name} was refused: {error}", K::kind(&()));
            match error {
                kube::Error::Api(status) if (400..500).contains(&status.code) => Failure::invalid(message),
                _ => Failure::infrastructure(message),
            }
        })
}
