//! The server as others hold it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::body::{ApiBody, BodyError};
use crate::config::ApiServerConfig;
use crate::engine::{Engine, WriteOptions};
use crate::error::ApiError;
use crate::nodes::NodeAccess;
use crate::{gc, router};

/// Most connections served at once.
const MAX_CONNECTIONS: usize = 4096;

/// The API server. Clones share one store; it lives as long as any clone, service or client does.
#[derive(Clone, Debug)]
pub struct ApiServer {
    engine: Arc<Engine>,
    _collector: Arc<Collector>,
}

/// Ends the collector with the last handle.
#[derive(Debug)]
struct Collector(AbortHandle);

impl Drop for Collector {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ApiServer {
    /// An API server with the namespaces of a fresh cluster. Starts its garbage collector, so it must be called inside
    /// a tokio runtime.
    pub fn new(config: ApiServerConfig) -> Self {
        let engine = Arc::new(Engine::new(config));
        let options = WriteOptions {
            manager: "kube-apiserver".to_owned(),
            ..WriteOptions::default()
        };
        let snapshot = engine.registry.snapshot();
        if let Some(def) = snapshot.find("", "v1", "namespaces") {
            for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
                let namespace = json!({"metadata": {"name": name}});
                if let Err(error) = engine.create(def, "", namespace, &options, false) {
                    tracing::error!(%error, name, "cannot create the namespace");
                }
            }
        }
        Self::over(engine)
    }

    /// A server of its own that begins with everything that is in this one now: objects, versions, definitions. What is done
    /// to either is not seen by the other. Must be called inside a tokio runtime, not necessarily that of this server; the way
    /// to the pods has to be installed anew.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::over(Arc::new(self.engine.fork()))
    }

    fn over(engine: Arc<Engine>) -> Self {
        let collector = tokio::spawn(gc::run(Arc::downgrade(&engine)));
        Self {
            engine,
            _collector: Arc::new(Collector(collector.abort_handle())),
        }
    }

    /// Installs the way to the pods; before that, logs, proxies and metrics answer 503.
    pub fn set_nodes(&self, nodes: Arc<dyn NodeAccess>) {
        self.engine.set_nodes(nodes);
    }

    /// The tower service.
    pub fn service(&self) -> ApiService {
        ApiService { server: self.clone() }
    }

    /// An in-process client. Must be called inside a tokio runtime.
    pub fn client(&self, default_namespace: impl Into<String>) -> kube::Client {
        kube::Client::new(self.service(), default_namespace)
    }

    /// The current resource version.
    pub fn revision(&self) -> u64 {
        self.engine.store.revision()
    }

    /// Forgets the history: watches from an older resource version get 410 Gone, as after etcd compacts.
    pub fn compact(&self) {
        self.engine.store.compact();
    }

    /// Serves plain HTTP on `addr` (port 0 picks a free one) until the handle is dropped.
    pub async fn listen(&self, addr: SocketAddr) -> std::io::Result<ListenHandle> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(listener, self.clone(), stop.clone()));
        Ok(ListenHandle {
            addr,
            stop,
            task: task.abort_handle(),
        })
    }

    /// A kubeconfig for a server that listens on `addr`.
    pub fn kubeconfig_yaml(&self, addr: SocketAddr) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: sandbox\n\
             clusters:\n- name: sandbox\n  cluster:\n    server: http://{addr}\n\
             contexts:\n- name: sandbox\n  context:\n    cluster: sandbox\n    user: sandbox\n    namespace: default\n\
             users:\n- name: sandbox\n  user: {{}}\n"
        )
    }
}

/// A listening server; dropping it closes the listener and all connections.
#[derive(Debug)]
pub struct ListenHandle {
    addr: SocketAddr,
    stop: CancellationToken,
    task: AbortHandle,
}

impl ListenHandle {
    /// The address in use.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for ListenHandle {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: ApiServer, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = stop.cancelled() => return,
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "nodelay");
        }
        let service = hyper_util::service::TowerToHyperService::new(server.service());
        let builder = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
        connections.spawn(async move {
            let io = hyper_util::rt::TokioIo::new(stream);
            if let Err(error) = builder.serve_connection(io, service).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}

/// The API server as a [`tower::Service`] over any request body.
#[derive(Clone, Debug)]
pub struct ApiService {
    server: ApiServer,
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    type Response = Response<ApiBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<ApiBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.server.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let limit = server.engine.config.max_body;
            let body = match Limited::new(body, limit).collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) if error.is::<LengthLimitError>() => return Ok(ApiError::too_large(limit).into_response()),
                Err(error) => return Ok(ApiError::bad_request(error.to_string()).into_response()),
            };
            Ok(router::route(server.engine.clone(), parts, body).await)
        })
    }
}
