//! Command lines of the control plane.

use std::{net::SocketAddr, path::Path};

use super::certificates::{Authority, CONTROLLER_MANAGER, FRONT_PROXY, SCHEDULER};

/// ClusterIPs, as the embedded server gives them out.
const SERVICE_RANGE: &str = "127.20.0.0/16";

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

pub(super) fn api_server(at: Addresses, authority: &Authority) -> Arguments {
    let file = |name: &str| authority.path(name).display().to_string();
    flags(&[
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
        ("profiling", "false"),
    ])
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

fn flags(pairs: &[(&str, &str)]) -> Arguments {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}
