//! The Node object and its Lease.

use super::config::{NodeConfig, RuntimeConfig};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const LEASES: &str = "kube-node-lease";
/// Where Kubernetes' own API server looks for a node's agent. Nobody listens there: see the sandbox's egress.
pub const KUBELET_PORT: i32 = 10250;
/// A heartbeat that failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Heartbeats between two reports of the unchanged status.
const STATUS_EVERY: u32 = 30;

/// Registers the node and keeps its Lease alive until `stop`.
pub(crate) async fn run(client: Client, config: NodeConfig, runtime: RuntimeConfig, stop: CancellationToken) {
    let ready_since = Timestamp::now();
    let mut beats = 0u32;
    loop {
        let beat = async {
            if beats.is_multiple_of(STATUS_EVERY) {
                register(&client, &config).await?;
                report(&client, &config, ready_since).await?;
            }
            renew(&client, &config, &runtime).await
        };
        let wait = match beat.await {
            Ok(()) => {
                beats = beats.wrapping_add(1);
                runtime.heartbeat
            }
            Err(error) => {
                tracing::warn!(node = config.name, %error, "heartbeat failed; trying again");
                AGAIN
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(wait) => {}
        }
    }
}

fn labels(config: &NodeConfig) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("kubernetes.io/hostname".to_owned(), config.name.clone()),
        ("kubernetes.io/os".to_owned(), "linux".to_owned()),
        ("kubernetes.io/arch".to_owned(), arch().to_owned()),
    ]);
    labels.extend(config.labels.clone());
    labels
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

async fn register(client: &Client, config: &NodeConfig) -> Result<(), kube::Error> {
    let api: Api<Node> = Api::all(client.clone());
    let taints = if config.taints.is_empty() {
        Value::Null
    } else {
        json!(config.taints)
    };
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": config.name, "labels": labels(config)},
        "spec": {"taints": taints}
    }))
    .map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &node).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            // Taints may have been added by others since; only labels are this agent's to keep.
            let patch = json!({"metadata": {"labels": labels(config)}});
            api.patch(&config.name, &PatchParams::default(), &Patch::Merge(patch))
                .await
                .map(|_| ())
        }
        Err(error) => Err(error),
    }
}

async fn report(client: &Client, config: &NodeConfig, since: Timestamp) -> Result<(), kube::Error> {
    let api: Api<Node> = Api::all(client.clone());
    let quantities: BTreeMap<&str, Quantity> = BTreeMap::from([
        ("cpu", Quantity(format!("{}m", config.cpu_millis))),
        ("memory", Quantity(format!("{}Ki", config.memory_bytes / 1024))),
        ("pods", Quantity(config.pods.to_string())),
    ]);
    let now = Timestamp::now();
    let condition = |type_: &str, status: &str, reason: &str, message: &str| NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(Time(since)),
    };
    let conditions = [
        condition(
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        condition(
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        condition(
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        condition("Ready", "True", "KubeletReady", "the node runs pods as local processes"),
    ];
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let addresses =
        [("InternalIP", "127.0.0.1"), ("Hostname", config.name.as_str())].map(|(type_, address)| NodeAddress {
            type_: type_.to_owned(),
            address: address.to_owned(),
        });
    let version = format!("v1.36.4-showrunner-{}", env!("CARGO_PKG_VERSION"));
    let info = NodeSystemInfo {
        architecture: arch().to_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: format!("process://{}", env!("CARGO_PKG_VERSION")),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        kube_proxy_version: version.clone(),
        kubelet_version: version,
        machine_id: read("/etc/machine-id"),
        operating_system: "linux".to_owned(),
        os_image: "Linux".to_owned(),
        system_uuid: config.name.clone(),
        ..NodeSystemInfo::default()
    };
    let patch = json!({"status": {
        "capacity": quantities, "allocatable": quantities, "conditions": conditions, "addresses": addresses, "nodeInfo": info,
        "daemonEndpoints": NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: KUBELET_PORT }) },
    }});
    api.patch_status(&config.name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map(|_| ())
}

async fn renew(client: &Client, config: &NodeConfig, runtime: &RuntimeConfig) -> Result<(), kube::Error> {
    let api: Api<Lease> = Api::namespaced(client.clone(), LEASES);
    let spec = json!({
        "holderIdentity": config.name,
        "leaseDurationSeconds": runtime.lease_duration.as_secs().max(1),
        "renewTime": MicroTime(Timestamp::now()),
    });
    match api
        .patch(
            &config.name,
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": spec})),
        )
        .await
    {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(error),
    }
    let lease: Lease =
        serde_json::from_value(json!({"metadata": {"name": config.name, "namespace": LEASES}, "spec": spec}))
            .map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &lease).await {
        Ok(_) => Ok(()),
        // A cluster may come without the namespace; it costs nothing to make.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 403 => {
            let namespace =
                serde_json::from_value(json!({"metadata": {"name": LEASES}})).map_err(kube::Error::SerdeError)?;
            Api::all(client.clone())
                .create(&PostParams::default(), &namespace)
                .await
                .map(|_: k8s_openapi::api::core::v1::Namespace| ())?;
            api.create(&PostParams::default(), &lease).await.map(|_| ())
        }
        Err(error) => Err(error),
    }
}
