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
    let usage = nodes.usage();
    let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())?;
    let mut items = match path.resource.as_str() {
        "pods" => pods(engine, &usage, path.namespace.as_deref()),
        "nodes" => by_node(engine, &usage),
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

fn pods(engine: &Engine, usage: &[PodUsage], namespace: Option<&str>) -> Vec<Value> {
    let wanted = usage
        .iter()
        .filter(|pod| namespace.is_none_or(|ns| ns == pod.namespace));
    wanted
        .filter_map(|pod| {
            let object = engine.store.get("/pods", &pod.namespace, &pod.pod)?;
            let containers: Vec<Value> = pod
                .containers
                .iter()
                .map(|c| json!({"name": c.container, "usage": quantities(c.cpu_nanocores, c.memory_bytes)}))
                .collect();
            let mut metadata =
                json!({"name": pod.pod, "namespace": pod.namespace, "creationTimestamp": crate::engine::now()});
            if object.value["metadata"]["labels"].is_object() {
                metadata["labels"] = object.value["metadata"]["labels"].clone();
            }
            Some(json!({"metadata": metadata, "timestamp": pod.timestamp.to_string(),
                "window": format!("{}s", pod.window.as_secs_f64()), "containers": containers}))
        })
        .collect()
}

fn by_node(engine: &Engine, usage: &[PodUsage]) -> Vec<Value> {
    let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for pod in usage {
        let Some(object) = engine.store.get("/pods", &pod.namespace, &pod.pod) else {
            continue;
        };
        let Some(node) = object.value["spec"]["nodeName"].as_str() else {
            continue;
        };
        let sum = sums.entry(node.to_owned()).or_default();
        for container in &pod.containers {
            sum.0 += container.cpu_nanocores;
            sum.1 += container.memory_bytes;
        }
    }
    let window = usage.first().map_or(0.0, |pod| pod.window.as_secs_f64());
    let nodes = engine.store.list("/nodes", None, None, None, |_| true).items;
    nodes
        .iter()
        .map(|node| {
            let name = node.value["metadata"]["name"].as_str().unwrap_or_default();
            let (cpu, memory) = sums.get(name).copied().unwrap_or_default();
            json!({"metadata": {"name": name, "creationTimestamp": crate::engine::now(), "labels": node.value["metadata"]["labels"]},
                "timestamp": crate::engine::now(), "window": format!("{window}s"), "usage": quantities(cpu, memory)})
        })
        .collect()
}
