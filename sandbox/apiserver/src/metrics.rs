//! metrics.k8s.io, from what the nodes measure.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, Response};
use serde_json::{Value, json};

use crate::body::ApiBody;
use crate::engine::Engine;
use crate::error::{ApiError, ApiResult};
use crate::handlers::answer;
use crate::nodes::PodUsage;
use crate::request::{Query, ResourcePath};
use crate::selector::LabelSelector;

const GROUP: &str = "metrics.k8s.io";

/// What metrics say of a pod beside its usage.
#[derive(Clone, Debug, Default)]
pub struct MeasuredPod {
    /// Its labels, or null.
    pub labels: Value,
    /// Where it runs.
    pub node: Option<String>,
}

/// What is known of the objects whose usage is measured.
pub trait MeasuredObjects {
    /// A pod.
    fn pod(&self, namespace: &str, name: &str) -> Option<MeasuredPod>;
    /// The name and the labels of every node.
    fn nodes(&self) -> Vec<(String, Value)>;
}

/// The embedded server's own objects.
struct Own<'a>(&'a Engine);

impl MeasuredObjects for Own<'_> {
    fn pod(&self, namespace: &str, name: &str) -> Option<MeasuredPod> {
        let pod = self.0.store.get("/pods", namespace, name)?;
        Some(MeasuredPod {
            labels: pod.value["metadata"]["labels"].clone(),
            node: pod.value["spec"]["nodeName"].as_str().map(str::to_owned),
        })
    }

    fn nodes(&self) -> Vec<(String, Value)> {
        let nodes = self.0.store.list("/nodes", None, None, None, |_| true).items;
        let described = |metadata: &Value| {
            let name = metadata["name"].as_str().unwrap_or_default().to_owned();
            (name, metadata["labels"].clone())
        };
        nodes.iter().map(|node| described(&node.value["metadata"])).collect()
    }
}

/// GET of pod and node metrics.
pub(crate) fn serve(
    engine: &Arc<Engine>,
    path: &ResourcePath,
    query: &Query,
    _headers: &HeaderMap,
) -> ApiResult<Response<ApiBody>> {
    let nodes = engine
        .nodes()
        .ok_or_else(|| ApiError::unavailable("the server is currently unable to handle the request"))?;
    answer_for(&nodes.usage(), &Own(engine), path, query)
}

/// metrics.k8s.io as a server of its own, to be aggregated by another API server. Errors are Status objects.
pub fn serve_metrics(uri: &http::Uri, usage: &[PodUsage], objects: &dyn MeasuredObjects) -> Response<ApiBody> {
    let answer = match uri.path() {
        "/apis/metrics.k8s.io/v1beta1" => Ok(answer::json(&resources())),
        path => crate::request::parse_path(path)
            .filter(|path| path.group == GROUP)
            .ok_or_else(ApiError::no_such_path)
            .and_then(|path| answer_for(usage, objects, &path, &Query::parse(uri.query()))),
    };
    answer.unwrap_or_else(ApiError::into_response)
}

fn resources() -> Value {
    let resource = |name: &str, namespaced: bool, kind: &str| json!({"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]});
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.k8s.io/v1beta1",
        "resources": [resource("nodes", false, "NodeMetrics"), resource("pods", true, "PodMetrics")]})
}

fn answer_for(
    usage: &[PodUsage],
    objects: &dyn MeasuredObjects,
    path: &ResourcePath,
    query: &Query,
) -> ApiResult<Response<ApiBody>> {
    let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())?;
    let mut items = match path.resource.as_str() {
        "pods" => pods(objects, usage, path.namespace.as_deref()),
        "nodes" => by_node(objects, usage),
        _ => return Err(ApiError::no_such_path()),
    };
    items.retain(|item| labels.matches(item));
    let kind = if path.resource == "pods" {
        "PodMetrics"
    } else {
        "NodeMetrics"
    };
    for item in &mut items {
        item["kind"] = kind.into();
        item["apiVersion"] = "metrics.k8s.io/v1beta1".into();
    }
    if let Some(name) = &path.name {
        let found = items.into_iter().find(|item| item["metadata"]["name"] == name.as_str());
        return found
            .map(|item| answer::json(&item))
            .ok_or_else(|| ApiError::not_found(GROUP, &path.resource, name));
    }
    Ok(answer::json(
        &json!({"kind": format!("{kind}List"), "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {}, "items": items}),
    ))
}

fn quantities(cpu_nanocores: u64, memory_bytes: u64) -> Value {
    json!({"cpu": format!("{cpu_nanocores}n"), "memory": format!("{}Ki", memory_bytes / 1024)})
}

fn pods(objects: &dyn MeasuredObjects, usage: &[PodUsage], namespace: Option<&str>) -> Vec<Value> {
    let wanted = usage
        .iter()
        .filter(|pod| namespace.is_none_or(|ns| ns == pod.namespace));
    wanted
        .filter_map(|pod| {
            let known = objects.pod(&pod.namespace, &pod.pod)?;
            let containers: Vec<Value> = pod
                .containers
                .iter()
                .map(|c| json!({"name": c.container, "usage": quantities(c.cpu_nanocores, c.memory_bytes)}))
                .collect();
            let mut metadata =
                json!({"name": pod.pod, "namespace": pod.namespace, "creationTimestamp": crate::engine::now()});
            if known.labels.is_object() {
                metadata["labels"] = known.labels;
            }
            Some(json!({"metadata": metadata, "timestamp": pod.timestamp.to_string(),
                "window": format!("{}s", pod.window.as_secs_f64()), "containers": containers}))
        })
        .collect()
}

fn by_node(objects: &dyn MeasuredObjects, usage: &[PodUsage]) -> Vec<Value> {
    let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for pod in usage {
        let Some(node) = objects.pod(&pod.namespace, &pod.pod).and_then(|known| known.node) else {
            continue;
        };
        let sum = sums.entry(node).or_default();
        for container in &pod.containers {
            sum.0 += container.cpu_nanocores;
            sum.1 += container.memory_bytes;
        }
    }
    let window = usage.first().map_or(0.0, |pod| pod.window.as_secs_f64());
    let described = |(name, labels): (String, Value)| {
        let (cpu, memory) = sums.get(&name).copied().unwrap_or_default();
        json!({"metadata": {"name": name, "creationTimestamp": crate::engine::now(), "labels": labels},
            "timestamp": crate::engine::now(), "window": format!("{window}s"), "usage": quantities(cpu, memory)})
    };
    objects.nodes().into_iter().map(described).collect()
}
