//! Defaults of the built-in kinds: the ones controllers and clients read back.

use serde_json::{Value, json};

use super::pod_defaults::pod_spec;
use super::services;
use crate::registry::ResourceDef;

/// Sets a field that is absent or null.
pub(crate) fn default(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut()
        && fields.get(field).is_none_or(Value::is_null)
    {
        fields.insert(field.to_owned(), value.into());
    }
}

/// Visits the items of a list.
pub(crate) fn each(object: &mut Value, list: &str, mut visit: impl FnMut(&mut Value)) {
    if let Some(items) = object.get_mut(list).and_then(Value::as_array_mut) {
        items.iter_mut().filter(|item| item.is_object()).for_each(&mut visit);
    }
}

/// Fills in the defaults of a built-in object.
pub(crate) fn apply(def: &ResourceDef, object: &mut Value) {
    let kind = (def.group.as_str(), def.kind.as_str());
    if let ("", "Secret") = kind {
        default(object, "type", "Opaque");
        encode_plain_text(object);
    }
    if let ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") = kind {
        each(object, "subjects", |subject| {
            if matches!(subject["kind"].as_str(), Some("User" | "Group")) {
                default(subject, "apiGroup", "rbac.authorization.k8s.io");
            }
        });
    }
    if let ("", "Service") = kind
        && object["spec"]["type"] == "LoadBalancer"
        && let Some(balancer) = object.pointer_mut("/status/loadBalancer")
    {
        each(balancer, "ingress", |ingress| {
            if ingress["ip"].as_str().is_some_and(|ip| !ip.is_empty()) {
                default(ingress, "ipMode", "VIP");
            }
        });
    }
    if let ("storage.k8s.io", "StorageClass") = kind {
        default(object, "reclaimPolicy", "Delete");
        default(object, "volumeBindingMode", "Immediate");
    }
    if let ("", "ConfigMap" | "ServiceAccount" | "Event") = kind {
        return;
    }
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    match kind {
        ("", "Pod") => {
            default(spec, "enableServiceLinks", true);
            pod_spec(spec);
            super::pod_defaults::pod(spec);
        }
        ("", "Service") => service(spec),
        ("", "PersistentVolumeClaim") => default(spec, "volumeMode", "Filesystem"),
        ("apps", "Deployment") => deployment(spec),
        ("apps", "ReplicaSet") => {
            default(spec, "replicas", 1);
            pod_spec(&mut spec["template"]["spec"]);
        }
        ("apps", "StatefulSet") => stateful_set(spec),
        ("apps", "DaemonSet") => {
            default(spec, "revisionHistoryLimit", 10);
            default(spec, "updateStrategy", json!({"type": "RollingUpdate"}));
            pod_spec(&mut spec["template"]["spec"]);
        }
        ("batch", "Job") => job(spec),
        ("batch", "CronJob") => {
            default(spec, "concurrencyPolicy", "Allow");
            default(spec, "suspend", false);
            default(spec, "successfulJobsHistoryLimit", 3);
            default(spec, "failedJobsHistoryLimit", 1);
        }
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(spec),
        ("networking.k8s.io", "NetworkPolicy") => network_policy(spec),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(spec),
        _ => {}
    }
}

/// Plain text of a Secret wins over what is encoded already, and is never kept as such.
fn encode_plain_text(secret: &mut Value) {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let plain = secret.as_object_mut().and_then(|fields| fields.remove("stringData"));
    for (key, text) in plain.iter().filter_map(Value::as_object).flatten() {
        secret["data"][key] = STANDARD.encode(text.as_str().unwrap_or_default()).into();
    }
}

fn deployment(spec: &mut Value) {
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    default(spec, "strategy", json!({}));
    let strategy = &mut spec["strategy"];
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        default(strategy, "rollingUpdate", json!({}));
        default(&mut strategy["rollingUpdate"], "maxUnavailable", "25%");
        default(&mut strategy["rollingUpdate"], "maxSurge", "25%");
    }
    pod_spec(&mut spec["template"]["spec"]);
}

fn stateful_set(spec: &mut Value) {
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "podManagementPolicy", "OrderedReady");
    default(spec, "serviceName", "");
    default(spec, "updateStrategy", json!({}));
    let strategy = &mut spec["updateStrategy"];
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        default(strategy, "rollingUpdate", json!({}));
        default(&mut strategy["rollingUpdate"], "partition", 0);
    }
    default(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
    let retention = &mut spec["persistentVolumeClaimRetentionPolicy"];
    default(retention, "whenDeleted", "Retain");
    default(retention, "whenScaled", "Retain");
    pod_spec(&mut spec["template"]["spec"]);
}

fn job(spec: &mut Value) {
    // No completions but a parallelism means a work queue: then completions stay unset.
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        default(spec, "completions", 1);
    }
    default(spec, "parallelism", 1);
    default(spec, "backoffLimit", 6);
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    default(spec, "podReplacementPolicy", "TerminatingOrFailed");
    default(spec, "manualSelector", false);
    pod_spec(&mut spec["template"]["spec"]);
}

fn service(spec: &mut Value) {
    default(spec, "type", "ClusterIP");
    default(spec, "sessionAffinity", "None");
    if spec["sessionAffinity"] == "None"
        && let Some(fields) = spec.as_object_mut()
    {
        fields.remove("sessionAffinityConfig");
    }
    if spec["sessionAffinity"] == "ClientIP" {
        default(
            spec,
            "sessionAffinityConfig",
            json!({"clientIP": {"timeoutSeconds": 10800}}),
        );
    }
    if spec["type"] != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if services::has_node_ports(spec) {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    if spec["type"] == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    }
    each(spec, "ports", |port| {
        default(port, "protocol", "TCP");
        let number = port["port"].clone();
        default(port, "targetPort", number);
    });
}

/// What is decided with the address of a Service, so that nobody who sends one owns it.
pub(crate) fn families(spec: &mut Value) {
    if spec["type"] != "ExternalName" {
        default(spec, "ipFamilies", json!(["IPv4"]));
        default(spec, "ipFamilyPolicy", "SingleStack");
    }
}

fn autoscaler(spec: &mut Value) {
    default(spec, "minReplicas", 1);
    default(
        spec,
        "metrics",
        json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]),
    );
    let Some(behavior) = spec.get_mut("behavior").filter(|behavior| behavior.is_object()) else {
        return;
    };
    let up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]});
    let down = json!({"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]});
    for (direction, defaults) in [("scaleUp", up), ("scaleDown", down)] {
        default(behavior, direction, json!({}));
        for (field, value) in defaults.as_object().into_iter().flatten() {
            default(&mut behavior[direction], field, value.clone());
        }
    }
}

fn network_policy(spec: &mut Value) {
    let mut types = vec!["Ingress"];
    if spec["egress"].as_array().is_some_and(|rules| !rules.is_empty()) {
        types.push("Egress");
    }
    default(spec, "policyTypes", json!(types));
    for (list, ports) in [("ingress", "ports"), ("egress", "ports")] {
        each(spec, list, |rule| {
            each(rule, ports, |port| default(port, "protocol", "TCP"));
        });
    }
}

fn definition(spec: &mut Value) {
    let kind = spec["names"]["kind"].as_str().unwrap_or_default().to_owned();
    if spec["names"].is_object() {
        default(&mut spec["names"], "singular", kind.to_ascii_lowercase());
        default(&mut spec["names"], "listKind", format!("{kind}List"));
    }
    default(spec, "conversion", json!({"strategy": "None"}));
}
