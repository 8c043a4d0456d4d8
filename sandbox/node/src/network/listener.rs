//! Listeners and the choice of an endpoint.

use super::Inner;
use super::connection::serve;
use super::pump::reset;
use super::table::Backend;
use crate::key::{Peer, ServiceKey};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const BACKLOG: u32 = 4096;
/// A pause after a failed accept (out of descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How connections are spread over endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Each endpoint in turn.
    #[default]
    RoundRobin,
    /// The endpoint with the fewest open connections; ties in turn.
    LeastConnections,
}

/// Where a listener's connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The pod that owns the link, or `None` on addresses anyone may call.
    pub(crate) source: Option<crate::key::PodKey>,
    pub(crate) service: ServiceKey,
    pub(crate) port: u16,
    pub(crate) hostname: Option<String>,
}

/// A running listener; dropping it stops accepting and leaves established connections alone.
#[derive(Debug)]
pub(crate) struct ListenerHandle {
    pub(crate) route: Route,
    stop: CancellationToken,
}

impl Drop for ListenerHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn listen(inner: &Arc<Inner>, address: Ipv4Addr, route: Route) -> io::Result<ListenerHandle> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((address, route.port).into())?;
    let listener = socket.listen(BACKLOG)?;
    let stop = inner.closing.child_token();
    // Links of many pods to one Service should not all begin with the same endpoint.
    let turn = inner.ordinal.fetch_add(1, Ordering::Relaxed) as usize;
    tokio::spawn(accept(
        Arc::downgrade(inner),
        listener,
        route.clone(),
        turn,
        stop.clone(),
    ));
    Ok(ListenerHandle { route, stop })
}

async fn accept(inner: Weak<Inner>, listener: TcpListener, route: Route, turn: usize, stop: CancellationToken) {
    let turn = AtomicUsize::new(turn);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (client, caller) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, service = %route.service, "accept failed");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(inner) = inner.upgrade() else { return };
        // Beyond the limit this caller waits here and the rest in the backlog.
        let permit = tokio::select! {
            () = stop.cancelled() => return,
            permit = Arc::clone(&inner.slots).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return };
        let from = match &route.source {
            Some(pod) => Peer::Pod(pod.clone()),
            None => inner.peer_at(caller.ip()),
        };
        let backends = inner.order(&route, &turn);
        if backends.is_empty() || client.set_nodelay(true).is_err() {
            reset(client);
            continue;
        }
        tokio::spawn(async move {
            serve(inner, client, from, backends).await;
            drop(permit);
        });
    }
}

impl Inner {
    /// Who calls from `address`: a pod that bound its own address, or somebody outside.
    fn peer_at(&self, address: IpAddr) -> Peer {
        let IpAddr::V4(address) = address else {
            return Peer::External;
        };
        if address == Ipv4Addr::LOCALHOST {
            return Peer::External;
        }
        self.pod_at(address).map_or(Peer::External, Peer::Pod)
    }

    /// The endpoints of a route, the one to try first in front.
    fn order(&self, route: &Route, turn: &AtomicUsize) -> Vec<Backend> {
        let mut backends = self
            .table()
            .backends(&route.service, route.port, route.hostname.as_deref());
        if backends.len() > 1 {
            let turn = turn.fetch_add(1, Ordering::Relaxed) % backends.len();
            backends.rotate_left(turn);
            if self.config.balance == Balance::LeastConnections {
                // A stable sort keeps the rotation among equals.
                backends.sort_by_cached_key(|backend| {
                    backend
                        .pod
                        .as_ref()
                        .map_or(0, |pod| self.traffic.of(pod).open.load(Ordering::Relaxed))
                });
            }
        }
        backends
    }
}
