//! What Kubernetes' own API server asks of the nodes: container logs, as of a kubelet, and metrics.k8s.io, as of an
//! aggregated server.

use std::{convert::Infallible, io, sync::Arc};

use futures::StreamExt;
use http::{Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use showrunner_apiserver::{ApiBody, BodyError, LogOptions, MeasuredObjects, MeasuredPod, NodeAccess, serve_metrics};
use showrunner_node::{NodeRuntime, key::PodKey};
use tokio::io::{AsyncRead, AsyncWrite};

/// Serves one connection to its end.
pub(super) async fn serve<S>(stream: S, runtime: Arc<NodeRuntime>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let runtime = Arc::clone(&runtime);
        async move { Ok::<_, Infallible>(answer(&runtime, &request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

async fn answer(runtime: &NodeRuntime, request: &Request<Incoming>) -> Response<ApiBody> {
    let uri = request.uri();
    if let Some(rest) = uri.path().strip_prefix("/containerLogs/") {
        return logs(runtime, rest, uri.query().unwrap_or_default()).await;
    }
    serve_metrics(uri, &runtime.usage(), &Known(runtime))
}

/// The pods and nodes of this process.
struct Known<'a>(&'a NodeRuntime);

impl MeasuredObjects for Known<'_> {
    fn pod(&self, namespace: &str, name: &str) -> Option<MeasuredPod> {
        let pod = self.0.pod(&PodKey::new(namespace, name))?;
        Some(MeasuredPod {
            labels: pod
                .metadata
                .labels
                .as_ref()
                .map_or(Value::Null, |labels| serde_json::json!(labels)),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        })
    }

    fn nodes(&self) -> Vec<(String, Value)> {
        self.0
            .node_names()
            .into_iter()
            .map(|name| (name, Value::Null))
            .collect()
    }
}

/// `NAMESPACE/POD/CONTAINER`, as the API server asks a kubelet.
async fn logs(runtime: &NodeRuntime, path: &str, query: &str) -> Response<ApiBody> {
    let mut parts = path.split('/');
    let (Some(namespace), Some(pod), Some(container), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return text(StatusCode::NOT_FOUND, "no such path");
    };
    match runtime.logs(namespace, pod, options(container, query)).await {
        Ok(lines) => {
            let lines = lines.map(|line| line.map_err(|error| Box::new(error) as BodyError));
            plain(StatusCode::OK, ApiBody::Stream(lines.boxed()))
        }
        // As a kubelet: a container that has not run is a request too early.
        Err(error) if error.kind() == io::ErrorKind::NotFound => text(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn options(container: &str, query: &str) -> LogOptions {
    let value = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
    };
    let flag = |name: &str| value(name) == Some("true");
    LogOptions {
        container: Some(container.to_owned()),
        follow: flag("follow"),
        tail_lines: value("tailLines").and_then(|number| number.parse().ok()),
        previous: flag("previous"),
        timestamps: flag("timestamps"),
    }
}

fn text(status: StatusCode, message: &str) -> Response<ApiBody> {
    plain(status, ApiBody::full(message.to_owned()))
}

fn plain(status: StatusCode, body: ApiBody) -> Response<ApiBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_log() {
        let asked = options("web", "follow=true&tailLines=20&timestamps=false");
        let expected = LogOptions {
            container: Some("web".to_owned()),
            follow: true,
            tail_lines: Some(20),
            ..LogOptions::default()
        };
        assert_eq!(asked, expected);
    }
}
