//! A small HTTP/1.1 client for loopback and cluster networks: no TLS, no redirects, every call under a deadline.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not an absolute `http://` URL.
    #[error("`{0}` is not an http:// URL")]
    Url(String),
    /// The deadline passed.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Connecting, sending or receiving failed.
    #[error("{0}")]
    Transport(String),
}

/// A client with its own connection pool.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client that keeps at most two idle connections to a host, for ten seconds.
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(10))
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(2)
            .build(connector);
        Self { pool }
    }

    /// Sends `body` and returns the status and at most 64 KiB of the answer, all within `deadline`.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        deadline: Duration,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let request = request(method, url, headers, body)?;
        let call = async {
            let answer = self
                .pool
                .request(request)
                .await
                .map_err(|error| ClientError::Transport(chain(&error)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), 64 * 1024).collect().await;
            let body = body
                .map_err(|error| ClientError::Transport(error.to_string()))?
                .to_bytes();
            Ok((status, body))
        };
        tokio::time::timeout(deadline, call)
            .await
            .unwrap_or(Err(ClientError::Timeout(deadline)))
    }
}

/// Whether [`Client::send`] can use `url`.
pub fn is_usable(url: &str) -> bool {
    request(Method::GET, url, &[], Bytes::new()).is_ok()
}

fn request(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Request<Full<Bytes>>, ClientError> {
    let bad = || ClientError::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| bad())?;
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(bad());
    }
    let mut builder = Request::builder()
        .method(method)
        .uri(uri)
        .header(header::USER_AGENT, "showrunner-media");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::new(body)).map_err(|_| bad())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
