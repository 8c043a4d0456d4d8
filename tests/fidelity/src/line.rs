//! The access line: the sandbox's network between one player and its stream. A player is a pod whose ingress bandwidth
//! follows the trace, and every byte to it pays half a round trip on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use showrunner_node::key::{PodKey, ServiceKey};
use showrunner_node::network::{
    Backend, FaultRule, Impairment, LinkTarget, Network, NetworkConfig, PeerSet, PodLimits, ServiceEntry, ServiceTable,
};
use tokio::time::{Instant, sleep_until};
use url::Url;

use crate::stream::Stream;
use crate::trace::Trace;

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// No address to be had.
    #[error("cannot listen on loopback: {0}")]
    Io(#[from] std::io::Error),
    /// The network refused.
    #[error(transparent)]
    Link(#[from] showrunner_node::network::LinkError),
    /// A URL that is none.
    #[error(transparent)]
    Url(#[from] url::ParseError),
}

/// One player's way to its stream.
#[derive(Debug)]
pub(crate) struct Line {
    network: Network,
    player: PodKey,
    /// What the player is to open.
    pub(crate) url: Url,
}

impl Line {
    /// Lays a line to `stream` with a round trip of `rtt`.
    pub(crate) async fn lay(stream: &Arc<Stream>, rtt: Duration) -> Result<Self, LineError> {
        let network = Network::new(NetworkConfig::default());
        let (player, server) = (PodKey::new("fidelity", "player"), PodKey::new("fidelity", "stream"));
        let ip = network.add_pod(&server, PodLimits::default())?;
        network.add_pod(&player, PodLimits::default())?;
        let port = stream.serve(ip).await?;
        let backend = Backend {
            ip,
            port,
            pod: Some(server.clone()),
            hostname: None,
        };
        let service = ServiceKey::new("fidelity", "stream");
        let entry = ServiceEntry {
            ports: BTreeMap::from([(port, vec![backend])]),
            ..ServiceEntry::default()
        };
        network.set_services(ServiceTable {
            services: BTreeMap::from([(service.clone(), entry)]),
        });
        let way = |from: &PodKey, to: &PodKey| FaultRule {
            from: PeerSet::pod(from.clone()),
            to: PeerSet::pod(to.clone()),
            impairment: Impairment {
                delay: rtt / 2,
                ..Impairment::default()
            },
        };
        network.set_fault("distance", vec![way(&player, &server), way(&server, &player)]);
        let target = LinkTarget {
            service,
            hostname: None,
        };
        let host = network.link(&player, &target)?;
        let base = format!("http://{host}:{port}");
        let url = Url::parse(&format!("{base}/play/multivariant.m3u8"))?;
        stream.publish(base);
        Ok(Self { network, player, url })
    }

    /// Lets the bandwidth follow `trace` from the moment the player first asks for the stream. Never returns.
    pub(crate) async fn follow(&self, trace: &Trace, stream: &Stream) {
        let mut steps = trace.steps();
        if let Some((_, first)) = steps.next() {
            self.carry(first);
        }
        stream.asked.notified().await;
        let start = Instant::now();
        for (at, bytes_per_second) in steps {
            sleep_until(start + at).await;
            self.carry(bytes_per_second);
        }
        std::future::pending::<()>().await;
    }

    fn carry(&self, bytes_per_second: u64) {
        let limits = PodLimits {
            egress: None,
            ingress: Some(bytes_per_second),
        };
        self.network.set_limits(&self.player, limits);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.network.close();
    }
}
