//! How Kubernetes' own API server reaches what only this process can reach: it asks a proxy on a Unix socket.
//!
//! An `EgressSelectorConfiguration` sends everything that goes to the cluster there: connections to pods, to the
//! agents of nodes (logs), and to the server of metrics.k8s.io. Connections to pods go on under the network's faults. The
//! other two are no connections at all: this process serves them on the socket itself. Services have loopback addresses, to
//! which the API server does not go.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use showrunner_node::{NodeRuntime, agent::KUBELET_PORT, key::Peer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{agent, certificates::Authority};

/// Connections at once; more wait in the socket's backlog.
const MAX_CONNECTIONS: usize = 1024;
/// How long the API server may take to say where it wants to go, and to shake hands.
const HEAD: Duration = Duration::from_secs(10);
/// Longest request for a connection.
const MAX_HEAD: usize = 8 * 1024;

/// The proxy. Dropping it ends it and its connections.
#[derive(Debug)]
pub(crate) struct Egress {
    runtime: Arc<OnceLock<Arc<NodeRuntime>>>,
    stop: CancellationToken,
}

/// Where the socket of a control plane in `directory` is.
pub(super) fn socket(directory: &Path) -> PathBuf {
    directory.join("egress")
}

/// The API server's configuration.
pub(super) fn configuration(directory: &Path) -> String {
    let socket = socket(directory);
    format!(
        "apiVersion: apiserver.k8s.io/v1beta1\nkind: EgressSelectorConfiguration\negressSelections:\n\
         - name: cluster\n  connection:\n    proxyProtocol: HTTPConnect\n    transport:\n      uds:\n        udsName: {}\n",
        socket.display()
    )
}

/// A pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Egress {
    /// Listens in `directory`. Whoever asks before [`Egress::serve`] is refused.
    pub(super) fn listen(directory: &Path, authority: &Authority) -> io::Result<Self> {
        let path = socket(directory);
        let listener = UnixListener::bind(&path)?;
        let tls = TlsAcceptor::from(Arc::new(tls(authority).map_err(io::Error::other)?));
        let egress = Self {
            runtime: Arc::default(),
            stop: CancellationToken::new(),
        };
        let (runtime, stop) = (Arc::clone(&egress.runtime), egress.stop.clone());
        tokio::spawn(async move {
            let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
            loop {
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                    return;
                };
                let stream = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => stream,
                        Err(error) => {
                            tracing::warn!(%error, "egress of the API server");
                            // Out of descriptors, most likely: asking at once would only ask again.
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                            continue;
                        }
                    },
                };
                let connection = connection(stream, Arc::clone(&runtime), tls.clone());
                let stop = stop.clone();
                tokio::spawn(async move {
                    stop.run_until_cancelled(connection).await;
                    drop(slot);
                });
            }
        });
        Ok(egress)
    }

    /// What the API server reaches from now on.
    pub(crate) fn serve(&self, runtime: Arc<NodeRuntime>) {
        // The first one stays: there is one runtime for each control plane.
        let _ = self.runtime.set(runtime);
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// TLS as the agents of nodes speak it: the API server must show the certificate that its authority gave it.
fn tls(authority: &Authority) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes())?)?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let certificate = CertificateDer::from_pem_file(authority.path("server.crt"))?;
    let key = PrivateKeyDer::from_pem_file(authority.path("server.key"))?;
    Ok(ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)?)
}

async fn connection(mut stream: UnixStream, runtime: Arc<OnceLock<Arc<NodeRuntime>>>, tls: TlsAcceptor) {
    let served = async {
        let target = within(HEAD, head(&mut stream)).await?;
        let Some(runtime) = runtime.get() else {
            return refuse(&mut stream, "no node runs yet").await;
        };
        match Target::parse(&target) {
            Some(Target::Agent(_)) => {
                stream.write_all(GRANTED).await?;
                let stream = within(HEAD, tls.accept(stream)).await?;
                agent::serve(stream, Arc::clone(runtime)).await
            }
            Some(Target::Address(address)) => {
                let network = runtime.network();
                let Some(pod) = network.pod_reported_at(*address.ip()) else {
                    return refuse(&mut stream, "no pod has this address").await;
                };
                match network.dial_lasting(Peer::Host, &pod, address.port()).await {
                    Ok(mut pod) => {
                        stream.write_all(GRANTED).await?;
                        copy_bidirectional(&mut stream, &mut pod).await.map(drop)
                    }
                    Err(error) => refuse(&mut stream, &error.to_string()).await,
                }
            }
            None => refuse(&mut stream, "not a target in this cluster").await,
        }
    };
    if let Err(error) = served.await {
        tracing::debug!(%error, "egress of the API server");
    }
}

/// A step under a deadline.
async fn within<T>(limit: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, step)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

const GRANTED: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

async fn refuse(stream: &mut UnixStream, why: &str) -> io::Result<()> {
    // The reason is all that the API server passes on.
    let why: String = why.chars().filter(|char| !char.is_control()).collect();
    stream
        .write_all(format!("HTTP/1.1 502 {why}\r\nContent-Length: 0\r\n\r\n").as_bytes())
        .await
}

/// Reads a CONNECT request and gives its target. Nothing follows it before it is answered.
async fn head(stream: &mut UnixStream) -> io::Result<String> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not a CONNECT request");
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() > MAX_HEAD || stream.read_buf(&mut bytes).await? == 0 {
            return Err(malformed());
        }
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    match (words.next(), words.next()) {
        (Some("CONNECT"), Some(target)) => Ok(target.to_owned()),
        _ => Err(malformed()),
    }
}

/// Where a connection goes.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    /// What this process serves: the agent of a node, by the node's name, or the server of metrics.
    Agent(&'a str),
    /// A pod's address, as the API server knows it.
    Address(SocketAddrV4),
}

impl<'a> Target<'a> {
    fn parse(authority: &'a str) -> Option<Self> {
        let (host, port) = authority.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        match host.parse::<Ipv4Addr>() {
            Ok(address) if !address.is_loopback() => Some(Self::Address(SocketAddrV4::new(address, port))),
            _ => (i32::from(port) == KUBELET_PORT).then_some(Self::Agent(host)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn targets() {
        let pod = SocketAddrV4::new(Ipv4Addr::new(10, 10, 0, 7), 8080);
        assert_eq!(Target::parse("10.10.0.7:8080"), Some(Target::Address(pod)));
        assert_eq!(Target::parse("eu-0:10250"), Some(Target::Agent("eu-0")));
        assert_eq!(Target::parse("127.0.0.1:10250"), Some(Target::Agent("127.0.0.1")));
        for nowhere in ["eu-0:8080", "eu-0", "127.0.0.1:22", "10.10.0.7:99999", ""] {
            assert_eq!(Target::parse(nowhere), None, "{nowhere}");
        }
    }

    async fn asked(request: &'static str) -> io::Result<String> {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(request.as_bytes()).await.unwrap();
        drop(theirs);
        head(&mut ours).await
    }

    #[tokio::test]
    async fn only_connect_is_understood() {
        let target = asked("CONNECT 10.10.0.7:8080 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
        assert_eq!(target.unwrap(), "10.10.0.7:8080");
        for wrong in ["GET / HTTP/1.1\r\n\r\n", "CONNECT 10.10.0.7:8080 HTTP/1.1\r\n", ""] {
            assert!(asked(wrong).await.is_err(), "{wrong:?}");
        }
    }
}
