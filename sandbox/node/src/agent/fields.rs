//! The downward API: a pod's own fields and resources as text.

use crate::quantity;
use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// What a pod may learn of its node and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeFacts {
    /// The node's name.
    pub node: String,
    /// The node's address.
    pub host_ip: Ipv4Addr,
    /// The pod's address.
    pub pod_ip: Ipv4Addr,
    /// Allocatable CPU in thousandths of a core: the limit of a container without one.
    pub cpu_millis: u64,
    /// Allocatable memory in bytes: likewise.
    pub memory_bytes: u64,
}

/// A reference that cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FieldError {
    /// No such field in the downward API.
    #[error("the downward API has no field `{0}`")]
    UnknownField(String),
    /// No such resource, or no such container.
    #[error("no resource `{0}` of container `{1}`")]
    UnknownResource(String, String),
    /// A malformed quantity.
    #[error(transparent)]
    Quantity(#[from] quantity::QuantityError),
}

/// The value of a `fieldRef`.
pub(super) fn field(selector: &ObjectFieldSelector, pod: &Pod, facts: &NodeFacts) -> Result<String, FieldError> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let path = selector.field_path.as_str();
    if let Some(key) = subscript(path, "metadata.labels") {
        return Ok(meta
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key))
            .cloned()
            .unwrap_or_default());
    }
    if let Some(key) = subscript(path, "metadata.annotations") {
        return Ok(meta
            .annotations
            .as_ref()
            .and_then(|all| all.get(key))
            .cloned()
            .unwrap_or_default());
    }
    match path {
        "metadata.name" => Ok(meta.name.clone().unwrap_or_default()),
        "metadata.namespace" => Ok(meta.namespace.clone().unwrap_or_default()),
        "metadata.uid" => Ok(meta.uid.clone().unwrap_or_default()),
        "metadata.labels" => Ok(lines(meta.labels.as_ref())),
        "metadata.annotations" => Ok(lines(meta.annotations.as_ref())),
        "spec.nodeName" => Ok(facts.node.clone()),
        "spec.serviceAccountName" => Ok(spec
            .and_then(|spec| spec.service_account_name.clone())
            .unwrap_or_else(|| "default".to_owned())),
        "status.hostIP" | "status.hostIPs" => Ok(facts.host_ip.to_string()),
        "status.podIP" | "status.podIPs" => Ok(facts.pod_ip.to_string()),
        other => Err(FieldError::UnknownField(other.to_owned())),
    }
}

/// The key of `metadata.labels['key']`.
fn subscript<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    let inner = path.strip_prefix(base)?.strip_prefix('[')?.strip_suffix(']')?;
    Some(inner.trim_matches(['\'', '"']))
}

/// A map as the kubelet writes it to a file: one `key="escaped value"` a line.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let mut text = String::new();
    for (key, value) in map.into_iter().flatten() {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{key}={value:?}");
    }
    text
}

/// The value of a `resourceFieldRef`; `own` is the container that holds the reference, if one does.
pub(super) fn resource(
    selector: &ResourceFieldSelector,
    pod: &Pod,
    own: Option<&Container>,
    facts: &NodeFacts,
) -> Result<String, FieldError> {
    let unknown = || {
        FieldError::UnknownResource(
            selector.resource.clone(),
            selector.container_name.clone().unwrap_or_default(),
        )
    };
    let container = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => {
            let spec = pod.spec.as_ref().ok_or_else(unknown)?;
            let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            all.find(|container| container.name == name).ok_or_else(unknown)?
        }
        None => own.ok_or_else(unknown)?,
    };
    let resources = container.resources.as_ref();
    let (kind, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let (limits, requests) = (
        resources.and_then(|r| r.limits.as_ref()),
        resources.and_then(|r| r.requests.as_ref()),
    );
    let given = match kind {
        "limits" => limits.and_then(|map| map.get(name)),
        // A limit without a request is the request.
        "requests" => requests
            .and_then(|map| map.get(name))
            .or_else(|| limits.and_then(|map| map.get(name))),
        _ => return Err(unknown()),
    };
    let value = match (given, kind, name) {
        (Some(quantity), _, _) => quantity.clone(),
        (None, "limits", "cpu") => Quantity(format!("{}m", facts.cpu_millis)),
        (None, "limits", "memory") => Quantity(facts.memory_bytes.to_string()),
        (None, "requests", "cpu" | "memory") | (None, _, "ephemeral-storage") => Quantity("0".to_owned()),
        _ => return Err(unknown()),
    };
    Ok(quantity::divided(&value, selector.divisor.as_ref())?.to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    pub(crate) fn facts() -> NodeFacts {
        NodeFacts {
            node: "n1".into(),
            host_ip: Ipv4Addr::LOCALHOST,
            pod_ip: Ipv4Addr::new(127, 10, 0, 9),
            cpu_millis: 2000,
            memory_bytes: 1 << 30,
        }
    }

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"a": "x\"y", "b": "2"}},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "64Mi"}}}]}
        }))
        .unwrap()
    }

    fn get(path: &str) -> Result<String, FieldError> {
        field(
            &ObjectFieldSelector {
                field_path: path.into(),
                api_version: None,
            },
            &pod(),
            &facts(),
        )
    }

    #[test]
    fn fields_resolve() {
        assert_eq!(get("metadata.name").unwrap(), "p");
        assert_eq!(get("metadata.labels['b']").unwrap(), "2");
        assert_eq!(get("metadata.labels['none']").unwrap(), "");
        assert_eq!(get("metadata.labels").unwrap(), "a=\"x\\\"y\"\nb=\"2\"\n");
        assert_eq!(get("status.podIP").unwrap(), "127.10.0.9");
        assert_eq!(get("spec.nodeName").unwrap(), "n1");
        assert!(matches!(get("spec.priority"), Err(FieldError::UnknownField(_))));
    }

    #[test]
    fn resources_resolve_with_divisor_and_defaults() {
        let pod = pod();
        let own = &pod.spec.as_ref().unwrap().containers[0];
        let get = |resource_name: &str, divisor: Option<&str>| {
            let selector = ResourceFieldSelector {
                container_name: None,
                divisor: divisor.map(|d| Quantity(d.into())),
                resource: resource_name.into(),
            };
            resource(&selector, &pod, Some(own), &facts())
        };
        assert_eq!(get("requests.cpu", Some("1m")).unwrap(), "250");
        assert_eq!(get("requests.cpu", None).unwrap(), "1");
        assert_eq!(get("limits.cpu", None).unwrap(), "2", "the node's");
        assert_eq!(get("limits.memory", Some("1Mi")).unwrap(), "64");
        assert_eq!(get("requests.memory", Some("1Mi")).unwrap(), "64", "the limit");
        assert!(get("limits.bananas", None).is_err());
    }
}
