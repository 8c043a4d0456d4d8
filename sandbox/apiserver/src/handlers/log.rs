//! Container logs.

use futures::StreamExt as _;
use http::{HeaderValue, Response, header};
use serde_json::Value;

use super::{Call, answer};
use crate::body::{ApiBody, BodyError};
use crate::error::{ApiError, ApiResult};
use crate::nodes::LogOptions;

/// GET of `pods/NAME/log`.
pub(crate) async fn serve(call: &Call) -> ApiResult<Response<ApiBody>> {
    let (namespace, name) = (call.namespace(), call.name());
    let pod = call
        .engine
        .store
        .get(&call.def.storage, namespace, name)
        .ok_or_else(|| call.def.not_found(name))?;
    let container = container(&pod.value, name, call.query.get("container"))?;
    if pod.value["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
        // No node has it, so there is no log, which is no error.
        return Ok(answer::nothing());
    }
    super::pods::locate(call)?;
    if let Some(reason) = waiting(&pod.value, &container)
        && !call.query.flag("previous")
    {
        let message = format!("container {container:?} in pod {name:?} is waiting to start: {reason}");
        return Err(ApiError::bad_request(message));
    }
    let options = LogOptions {
        container: Some(container),
        follow: call.query.flag("follow"),
        tail_lines: call.query.number("tailLines")?,
        previous: call.query.flag("previous"),
        timestamps: call.query.flag("timestamps"),
    };
    let nodes = call
        .engine
        .nodes()
        .ok_or_else(|| ApiError::unavailable("no node serves logs yet"))?;
    let deadline = call.engine.config.proxy_timeout;
    let opened = tokio::time::timeout(deadline, nodes.logs(namespace, name, options)).await;
    let stream = match opened {
        Err(_) => {
            return Err(ApiError::timeout(format!(
                "the node did not open the log of {name} within {deadline:?}"
            )));
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(ApiError::bad_request(error.to_string()));
        }
        Ok(Err(error)) => return Err(ApiError::internal(error)),
        Ok(Ok(stream)) => stream,
    };
    let body = stream.map(|chunk| chunk.map_err(|error| Box::new(error) as BodyError));
    let mut response = Response::new(ApiBody::Stream(body.boxed()));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// The container whose log is wanted.
fn container(pod: &Value, name: &str, wanted: Option<&str>) -> ApiResult<String> {
    let names = |list: &str| -> Vec<String> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers
            .filter_map(|c| c["name"].as_str().map(str::to_owned))
            .collect()
    };
    let main = names("containers");
    match wanted {
        Some(wanted) => {
            let known = [main, names("initContainers"), names("ephemeralContainers")].concat();
            if known.iter().any(|container| container == wanted) {
                Ok(wanted.to_owned())
            } else {
                Err(ApiError::bad_request(format!(
                    "container {wanted} is not valid for pod {name}"
                )))
            }
        }
        None => match main.as_slice() {
            [only] => Ok(only.clone()),
            several => Err(ApiError::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                several.join(" ")
            ))),
        },
    }
}

/// Why a container has not started yet.
fn waiting(pod: &Value, container: &str) -> Option<String> {
    let statuses = ["containerStatuses", "initContainerStatuses"];
    let mut statuses = statuses
        .iter()
        .flat_map(|list| pod["status"][*list].as_array().into_iter().flatten());
    match statuses.find(|status| status["name"] == container) {
        None => Some("ContainerCreating".to_owned()),
        Some(status) if status["restartCount"].as_i64().unwrap_or_default() > 0 => None,
        Some(status) => status["state"]["waiting"]["reason"].as_str().map(str::to_owned),
    }
}
