//! Command lines of the control plane.

use std::{net::SocketAddr, path::Path};

use showrunner_controllers::ControllersConfig;

use super::certificates::{Authority, CONTROLLER_MANAGER, FRONT_PROXY, SCHEDULER};

/// ClusterIPs, as the embedded server gives them out.
const SERVICE_RANGE: &str = "127.20.0.0/16";

/// File that tells the API server how to reach the cluster.
pub(super) const EGRESS: &str = "egress.yaml";

/// Where everything listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub etcd: SocketAddr,
    pub etcd_peer: SocketAddr,
    pub api: SocketAddr,
    pub controllers: SocketAddr,
    pub scheduler: SocketAddr,
}

/// A program's arguments.
pub(super) type Arguments = Vec<String>;

pub(super) fn etcd(at: Addresses, directory: &Path) -> Arguments {
    let (client, peer) = (format!("http://{}", at.etcd), format!("http://{}", at.etcd_peer));
    flags(&[
        ("data-dir", &directory.join("etcd").display().to_string()),
        ("listen-client-urls", &client),
        ("advertise-client-urls", &client),
        ("listen-peer-urls", &peer),
        ("initial-advertise-peer-urls", &peer),
        ("initial-cluster", &format!("default={peer}")),
        // What this holds ends with the sandbox: a disk that is slow to sync only makes it slow.
        ("unsafe-no-fsync", "true"),
        ("log-level", "warn"),
    ])
}

pub(super) fn api_server(at: Addresses, authority: &Authority, more: &[String]) -> Arguments {
    let file = |name: &str| authority.path(name).display().to_string();
    let mut arguments = flags(&[
        ("etcd-servers", &format!("http://{}", at.etcd)),
        ("bind-address", &at.api.ip().to_string()),
        ("advertise-address", &at.api.ip().to_string()),
        ("secure-port", &at.api.port().to_string()),
        ("tls-cert-file", &file("server.crt")),
        ("tls-private-key-file", &file("server.key")),
        ("client-ca-file", &file("ca.crt")),
        ("authorization-mode", "RBAC"),
        ("service-cluster-ip-range", SERVICE_RANGE),
        ("allow-privileged", "true"),
        ("service-account-issuer", "https://kubernetes.default.svc"),
        ("service-account-key-file", &file("service-accounts.pub")),
        ("service-account-signing-key-file", &file("service-accounts.key")),
        // Its own address is a loopback address, which Endpoints must not have.
        ("endpoint-reconciler-type", "none"),
        // No token is mounted into pods: the processes are not confined, and none of them calls the API.
        ("disable-admission-plugins", "ServiceAccount"),
        ("requestheader-client-ca-file", &file("ca.crt")),
        ("requestheader-allowed-names", FRONT_PROXY.user),
        ("requestheader-username-headers", "X-Remote-User"),
        ("requestheader-group-headers", "X-Remote-Group"),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        ("proxy-client-cert-file", &file("front-proxy.crt")),
        ("proxy-client-key-file", &file("front-proxy.key")),
        ("kubelet-client-certificate", &file("front-proxy.crt")),
        ("kubelet-client-key", &file("front-proxy.key")),
        ("egress-selector-config-file", &file(EGRESS)),
        ("profiling", "false"),
    ]);
    arguments.extend_from_slice(more);
    arguments
}

pub(super) fn controller_manager(at: Addresses, authority: &Authority, more: &[String]) -> Arguments {
    let file = |name: &str| authority.path(name).display().to_string();
    let mut arguments = flags(&[
        ("kubeconfig", &file(&format!("{}.kubeconfig", CONTROLLER_MANAGER.file))),
        ("service-account-private-key-file", &file("service-accounts.key")),
        ("root-ca-file", &file("ca.crt")),
        ("use-service-account-credentials", "true"),
    ]);
    arguments.extend(serving(at.controllers, authority));
    arguments.extend_from_slice(more);
    arguments
}

pub(super) fn scheduler(at: Addresses, authority: &Authority) -> Arguments {
    let kubeconfig = authority.path(&format!("{}.kubeconfig", SCHEDULER.file));
    let mut arguments = flags(&[("kubeconfig", &kubeconfig.display().to_string())]);
    arguments.extend(serving(at.scheduler, authority));
    arguments
}

/// What the two clients of the API server have in common: one instance each, its health served over TLS.
fn serving(at: SocketAddr, authority: &Authority) -> Arguments {
    let file = |name: &str| authority.path(name).display().to_string();
    flags(&[
        ("leader-elect", "false"),
        ("bind-address", &at.ip().to_string()),
        ("secure-port", &at.port().to_string()),
        ("tls-cert-file", &file("server.crt")),
        ("tls-private-key-file", &file("server.key")),
        ("profiling", "false"),
    ])
}

/// More arguments of the API server, and of the controller manager: the settings of the embedded controllers in upstream's
/// words.
pub(super) fn settings(config: &ControllersConfig) -> (Arguments, Arguments) {
    let seconds = config.default_toleration.as_secs().to_string();
    let api_server = flags(&[
        ("default-not-ready-toleration-seconds", &seconds),
        ("default-unreachable-toleration-seconds", &seconds),
    ]);
    let autoscaler = &config.hpa_settings;
    let millis = |millis: u128| format!("{millis}ms");
    let signed = |period: jiff::SignedDuration| millis(period.unsigned_abs().as_millis());
    let controller_manager = flags(&[
        (
            "horizontal-pod-autoscaler-sync-period",
            &millis(config.hpa_sync_period.as_millis()),
        ),
        ("horizontal-pod-autoscaler-tolerance", &autoscaler.tolerance.to_string()),
        (
            "horizontal-pod-autoscaler-cpu-initialization-period",
            &signed(autoscaler.cpu_initialization_period),
        ),
        (
            "horizontal-pod-autoscaler-initial-readiness-delay",
            &signed(autoscaler.initial_readiness_delay),
        ),
        (
            "horizontal-pod-autoscaler-downscale-stabilization",
            &signed(autoscaler.downscale_stabilization),
        ),
        (
            "node-monitor-grace-period",
            &millis(config.node_grace_period.as_millis()),
        ),
        ("node-monitor-period", &millis(config.node_monitor_period.as_millis())),
    ]);
    (api_server, controller_manager)
}

fn flags(pairs: &[(&str, &str)]) -> Arguments {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}
