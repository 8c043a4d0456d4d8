//! One proxied connection from accept to close.

use super::Inner;
use super::pump::{Activity, Cut, Flow, reset};
use super::shaper::{Shaper, handshake};
use super::table::Backend;
use super::traffic::OpenGuard;
use crate::key::Peer;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Endpoints tried before a connection is refused.
const ATTEMPTS: usize = 4;

/// Connects `client` (from `from`) to the first of `backends` that accepts, and pumps until either side is done.
pub(crate) async fn serve(inner: Arc<Inner>, client: TcpStream, from: Peer, backends: Vec<Backend>) {
    let mut connected = None;
    for backend in backends.iter().take(ATTEMPTS) {
        let to = inner.peer_of(backend);
        match open(&inner, &from, &to, backend.ip, backend.port).await {
            Ok(server) => {
                connected = Some((server, to));
                break;
            }
            // Only a refusal says that another endpoint may do better; a silent network does not.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => {
                tracing::debug!(%error, ?to, "connection not established");
                break;
            }
        }
    }
    match connected {
        Some((server, to)) => relay(&inner, client, server, from, to).await,
        None => reset(client),
    }
}

/// Opens a connection as `from` would: it hangs under a partition, and pays for latency and lost SYNs.
pub(crate) async fn open(inner: &Inner, from: &Peer, to: &Peer, ip: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let deadline = Instant::now() + inner.config.hang;
    let mut conditions = inner.state.subscribe();
    while conditions.borrow_and_update().faults.severed(from, to) {
        match timeout_at(deadline, conditions.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(ErrorKind::TimedOut.into()),
        }
    }
    let (out, back) = {
        let current = conditions.borrow();
        (current.faults.effective(from, to), current.faults.effective(to, from))
    };
    if !(out.is_clear() && back.is_clear()) {
        let Some(wait) = handshake(&mut inner.next_rng(), &out, &back) else {
            sleep(inner.config.hang).await;
            return Err(ErrorKind::TimedOut.into());
        };
        sleep(wait.min(inner.config.hang)).await;
    }
    let socket = TcpSocket::new_v4()?;
    if let Peer::Pod(key) = from
        && let Some(address) = inner.pod_ip(key)
    {
        // The server then sees the pod's own address, as it would in a cluster.
        socket.bind((address, 0).into())?;
    }
    let stream = timeout(inner.config.connect_timeout, socket.connect((ip, port).into()))
        .await
        .map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Pumps both ways until both are closed, one fails, a fault cuts them, or nothing moves for too long.
pub(crate) async fn relay(inner: &Arc<Inner>, mut client: TcpStream, mut server: TcpStream, from: Peer, to: Peer) {
    let counters = |peer: &Peer| match peer {
        Peer::Pod(key) => Some(inner.traffic.of(key)),
        Peer::Host | Peer::External => None,
    };
    let (client_counters, server_counters) = (counters(&from), counters(&to));
    let _open: Vec<OpenGuard> = client_counters
        .iter()
        .chain(&server_counters)
        .map(|counters| OpenGuard::new(Arc::clone(counters)))
        .collect();
    let activity = Arc::new(Activity::new());
    let flow = |from: &Peer, to: &Peer, sender: &Option<_>, receiver: &Option<_>| Flow {
        state: Arc::clone(&inner.state),
        pool: Arc::clone(&inner.pool),
        conditions: inner.state.subscribe(),
        from: from.clone(),
        to: to.clone(),
        sender: sender.clone(),
        receiver: receiver.clone(),
        activity: Arc::clone(&activity),
        shaper: Shaper::new(inner.next_rng()),
        hang: inner.config.hang,
    };
    let out = flow(&from, &to, &client_counters, &server_counters);
    let back = flow(&to, &from, &server_counters, &client_counters);
    let outcome = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        tokio::select! {
            pumped = async { tokio::try_join!(out.run(client_read, server_write), back.run(server_read, client_write)) } => pumped.map(|_| ()),
            () = activity.idle(inner.config.idle_timeout) => Err(Cut::Idle),
            () = inner.closing.cancelled() => Err(Cut::Reset),
        }
    };
    if let Err(cut) = outcome {
        tracing::trace!(?cut, ?from, ?to, "connection cut");
        reset(client);
        reset(server);
    }
}

impl Inner {
    pub(crate) fn next_rng(&self) -> SmallRng {
        let ordinal = self.ordinal.fetch_add(1, Ordering::Relaxed);
        // Two streams of one seed must differ in more than the low bits.
        SmallRng::seed_from_u64(self.config.seed ^ ordinal.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}
