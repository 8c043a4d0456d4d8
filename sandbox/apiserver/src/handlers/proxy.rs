//! `pods/…/proxy` and `services/…/proxy`: HTTP to a pod, over the way the nodes open.

use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::Call;
use crate::body::{ApiBody, BodyError};
use crate::error::{ApiError, ApiResult};

/// Headers that belong to one connection.
const HOP_BY_HOP: &[HeaderName] = &[
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// A pod and the port to dial there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    pod: String,
    port: u16,
}

/// Any method on `proxy` and what is below it.
pub(crate) async fn serve(call: &Call) -> ApiResult<Response<ApiBody>> {
    let (scheme, name, port) = split_name(call.name());
    if scheme == "https" {
        return Err(ApiError::bad_request("the proxy speaks plain http to pods"));
    }
    let target = if call.def.kind == "Pod" {
        pod_target(call, name, port)?
    } else {
        service_target(call, name, port)?
    };
    let deadline = call.engine.config.proxy_timeout;
    let failed = |why: &dyn std::fmt::Display| {
        ApiError::unavailable(format!(
            "error trying to reach {} on port {}: {why}",
            target.pod, target.port
        ))
    };
    match tokio::time::timeout(deadline, forward(call, &target)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(ApiError {
            code: 504,
            ..failed(&format!("no answer within {deadline:?}"))
        }),
    }
}

/// `name`, `name:port` or `scheme:name:port`.
fn split_name(name: &str) -> (&str, &str, &str) {
    match name.split(':').collect::<Vec<_>>().as_slice() {
        [scheme, name, port, ..] => (scheme, name, port),
        [name, port] => ("", name, port),
        _ => ("", name, ""),
    }
}

fn pod_target(call: &Call, name: &str, port: &str) -> ApiResult<Target> {
    let pod = call
        .engine
        .store
        .get("/pods", call.namespace(), name)
        .ok_or_else(|| call.def.not_found(name))?;
    let ports = || {
        let containers = pod.value["spec"]["containers"].as_array().into_iter().flatten();
        containers.flat_map(|container| container["ports"].as_array().into_iter().flatten())
    };
    let number = |port: &Value| port["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok());
    let port = match port {
        "" => ports().next().and_then(number).or(Some(80)),
        text => text
            .parse()
            .ok()
            .or_else(|| ports().find(|p| p["name"] == text).and_then(number)),
    };
    let port = port.ok_or_else(|| ApiError::bad_request(format!("invalid port in {:?}", call.name())))?;
    Ok(Target {
        pod: name.to_owned(),
        port,
    })
}

/// A ready endpoint of the service, any of them.
fn service_target(call: &Call, name: &str, port: &str) -> ApiResult<Target> {
    let (store, namespace) = (&call.engine.store, call.namespace());
    let service = store
        .get("/services", namespace, name)
        .ok_or_else(|| call.def.not_found(name))?;
    let ports = service.value["spec"]["ports"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let wanted = match port {
        "" => ports.first(),
        text => ports
            .iter()
            .find(|p| p["name"] == text || text.parse::<u64>().is_ok_and(|number| p["port"] == number)),
    };
    let wanted =
        wanted.ok_or_else(|| ApiError::unavailable(format!("no service port {port:?} found for service {name:?}")))?;
    let port_name = wanted["name"].as_str().unwrap_or_default();
    let slices = store.list(
        "discovery.k8s.io/endpointslices",
        Some(namespace),
        None,
        None,
        |slice| slice.value["metadata"]["labels"]["kubernetes.io/service-name"] == name,
    );
    let mut targets = Vec::new();
    for slice in &slices.items {
        let mut ports = slice.value["ports"].as_array().into_iter().flatten();
        let port = ports.find(|p| p["name"].as_str().unwrap_or_default() == port_name);
        let Some(port) = port
            .and_then(|p| p["port"].as_u64())
            .and_then(|p| u16::try_from(p).ok())
        else {
            continue;
        };
        for endpoint in slice.value["endpoints"].as_array().into_iter().flatten() {
            if endpoint["conditions"]["ready"] != false
                && let Some(pod) = endpoint["targetRef"]["name"].as_str()
            {
                targets.push(Target {
                    pod: pod.to_owned(),
                    port,
                });
            }
        }
    }
    if targets.is_empty() {
        return Err(ApiError::unavailable(format!(
            "no endpoints available for service {name:?}"
        )));
    }
    let index = fastrand::usize(..targets.len());
    Ok(targets.swap_remove(index))
}

async fn forward(call: &Call, target: &Target) -> Result<Response<ApiBody>, BodyError> {
    let nodes = call.engine.nodes().ok_or("no node is reachable yet")?;
    let stream = nodes.dial(call.namespace(), &target.pod, target.port).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer's body, or when either side closes.
    let connection = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "proxied connection");
        }
    });
    let guard = AbortOnDrop(connection.abort_handle());
    let mut uri = if call.path.rest.is_empty() {
        "/".to_owned()
    } else {
        call.path.rest.clone()
    };
    if let Some(query) = call.parts.uri.query() {
        uri.push('?');
        uri.push_str(query);
    }
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.parts.method.clone();
    *request.uri_mut() = uri.parse::<Uri>()?;
    *request.headers_mut() = end_to_end(&call.parts.headers);
    request.headers_mut().remove(header::AUTHORIZATION);
    request.headers_mut().insert(
        header::HOST,
        HeaderValue::from_str(&format!("{}:{}", target.pod, target.port))?,
    );
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let idle = call.engine.config.proxy_timeout;
    let chunks = futures::stream::unfold((body.into_data_stream(), guard), move |(mut body, guard)| async move {
        let chunk = match tokio::time::timeout(idle, body.next()).await {
            Ok(chunk) => chunk?.map_err(|error| Box::new(error) as BodyError),
            Err(_) => Err(BodyError::from("the pod stopped sending")),
        };
        Some((chunk, (body, guard)))
    });
    // After an error there is nothing more to read.
    let mut failed = false;
    let chunks = chunks.take_while(move |chunk| std::future::ready(!std::mem::replace(&mut failed, chunk.is_err())));
    let mut response = Response::new(ApiBody::Stream(chunks.boxed()));
    *response.status_mut() = parts.status;
    *response.headers_mut() = end_to_end(&parts.headers);
    Ok(response)
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(name));
    let mut out = HeaderMap::new();
    for (name, value) in kept {
        out.append(name.clone(), value.clone());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_names_carry_scheme_and_port() {
        assert_eq!(split_name("a"), ("", "a", ""));
        assert_eq!(split_name("a:8080"), ("", "a", "8080"));
        assert_eq!(split_name("http:a:web"), ("http", "a", "web"));
        assert_eq!(split_name("http:a:"), ("http", "a", ""));
    }
}
