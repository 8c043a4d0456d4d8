//! The HTTP/1.1 server under every role: bounded connections, bounded headers, bounded silence, bounded drain.

mod idle;
pub mod reply;

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, warn};

use self::idle::IdleGuard;

/// What a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more are closed at once.
    pub connections: usize,
    /// Time for a complete request head, also between two requests of a connection.
    pub header: Duration,
    /// Longest time in which a connection that owes or is owed bytes may move none.
    pub stall: Duration,
    /// Time for a complete request body.
    pub body: Duration,
    /// Time that open requests get to finish on shutdown.
    pub drain: Duration,
    /// Finish a request whose client has closed its sending side. ffmpeg does so right after each PUT.
    pub half_close: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            header: Duration::from_secs(20),
            stall: Duration::from_secs(20),
            body: Duration::from_secs(10),
            drain: Duration::from_secs(5),
            half_close: false,
        }
    }
}

/// Serves `app` until `shutdown`, then lets open requests finish within [`Limits::drain`].
pub async fn serve(listener: TcpListener, app: Router, limits: Limits, shutdown: CancellationToken) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            debug!(%peer, "all connections taken, closing a new one");
            continue;
        };
        let watcher = graceful.watcher();
        let service = TowerToHyperService::new(app.clone());
        connections.spawn(
            async move {
                let connection = builder(limits).serve_connection(TokioIo::new(guarded(stream, limits)), service);
                if let Err(error) = watcher.watch(connection).await {
                    debug!(%error, "connection ended");
                }
                drop(slot);
            }
            .instrument(tracing::debug_span!("connection", %peer)),
        );
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        warn!(drain = ?limits.drain, "requests still open after the drain, cutting them");
    }
    connections.shutdown().await;
}

/// Serves one connection that is open already, to its end. There is no shutdown: dropping the future cuts it.
pub async fn serve_stream<S>(stream: S, app: Router, limits: Limits)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = TokioIo::new(IdleGuard::new(stream, limits.stall));
    if let Err(error) = builder(limits)
        .serve_connection(stream, TowerToHyperService::new(app))
        .await
    {
        debug!(%error, "connection ended");
    }
}

fn guarded(stream: TcpStream, limits: Limits) -> IdleGuard<TcpStream> {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY refused");
    }
    IdleGuard::new(stream, limits.stall)
}

fn builder(limits: Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(64 * 1024)
        .max_headers(64)
        .half_close(limits.half_close);
    builder
}

/// A peer that went away costs nothing; running out of descriptors must not become a busy loop.
async fn pause_after(error: &io::Error) {
    let harmless = matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused
    );
    if !harmless {
        warn!(%error, "accept failed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
