//! What the API server asks of the nodes: connections to pods, container logs, resource usage.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

/// What part of a container's log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Container name; the only container of the pod where absent.
    pub container: Option<String>,
    /// Keep the stream open for lines to come.
    pub follow: bool,
    /// Only so many lines from the end.
    pub tail_lines: Option<u64>,
    /// The log of the container's previous run.
    pub previous: bool,
    /// Prefix each line with its RFC 3339 time.
    pub timestamps: bool,
}

/// What one container uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Container name.
    pub container: String,
    /// CPU, in billionths of a core, averaged over the window.
    pub cpu_nanocores: u64,
    /// Working set, in bytes.
    pub memory_bytes: u64,
}

/// What one pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUsage {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// End of the measured window.
    pub timestamp: jiff::Timestamp,
    /// Length of the measured window.
    pub window: Duration,
    /// Each container.
    pub containers: Vec<ContainerUsage>,
}

/// The way from the control plane to the pods, as a kubelet gives it to a real API server.
pub trait NodeAccess: Send + Sync + 'static {
    /// Opens a connection to a pod's port as the control plane would.
    fn dial(&self, namespace: &str, pod: &str, port: u16) -> BoxFuture<'_, std::io::Result<tokio::net::TcpStream>>;

    /// The log of a container.
    fn logs(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions,
    ) -> BoxFuture<'_, std::io::Result<BoxStream<'static, std::io::Result<Bytes>>>>;

    /// Resource usage of every running pod.
    fn usage(&self) -> Vec<PodUsage>;
}
