//! What the server itself decides when a built-in object is created or updated.

use std::time::Duration;

use serde_json::{Value, json};

use super::pod_defaults::qos_class;
use crate::config::ApiServerConfig;
use crate::registry::ResourceDef;

/// What a new object has as if its client had sent it.
pub(crate) fn before_ownership(def: &ResourceDef, object: &mut Value) {
    if def.is("", "Namespace") {
        let name = object["metadata"]["name"].clone();
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    }
}

/// Sets what a new object starts with. Its client-sent status is gone already. Nobody owns any of it.
pub(crate) fn on_create(def: &ResourceDef, object: &mut Value, config: &ApiServerConfig) {
    match (def.group.as_str(), def.kind.as_str()) {
        ("", "Namespace") => {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
        }
        ("", "Pod") => {
            object["status"] = json!({"phase": "Pending", "qosClass": qos_class(&object["spec"])});
            super::defaults::default(&mut object["spec"], "serviceAccountName", "default");
            super::defaults::default(&mut object["spec"], "serviceAccount", "default");
            tolerate_lost_nodes(&mut object["spec"], config.lost_node_toleration);
            // What the `Priority` admission plugin resolves where no class is named.
            if object["spec"]["priorityClassName"].as_str().is_none_or(str::is_empty) {
                super::defaults::default(&mut object["spec"], "priority", 0);
                super::defaults::default(&mut object["spec"], "preemptionPolicy", "PreemptLowerPriority");
            }
        }
        ("", "Service") => {
            object["status"] = json!({"loadBalancer": {}});
            super::defaults::families(&mut object["spec"]);
        }
        ("apps", "Deployment") | ("batch", "CronJob") => object["status"] = json!({}),
        ("batch", "Job") => {
            object["status"] = json!({});
            job_selector(object);
        }
        ("apps", "ReplicaSet") => object["status"] = json!({"replicas": 0}),
        ("apps", "StatefulSet") => object["status"] = json!({"replicas": 0, "availableReplicas": 0}),
        ("", "PersistentVolumeClaim") => object["status"] = json!({"phase": "Pending"}),
        ("autoscaling", "HorizontalPodAutoscaler") => object["status"] = json!({"desiredReplicas": 0}),
        ("policy", "PodDisruptionBudget") => {
            object["status"] =
                json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0});
        }
        _ => {}
    }
}

/// What the `DefaultTolerationSeconds` admission plugin adds: some time, in whole seconds, on a node that is lost.
fn tolerate_lost_nodes(spec: &mut Value, time: Duration) {
    if !spec["tolerations"].is_array() {
        spec["tolerations"] = json!([]);
    }
    let Some(tolerations) = spec["tolerations"].as_array_mut() else {
        return;
    };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = |t: &Value| {
            (t["key"] == key || t["key"].as_str().is_none_or(str::is_empty))
                && (t["effect"] == "NoExecute" || t["effect"].as_str().is_none_or(str::is_empty))
        };
        if !tolerations.iter().any(tolerated) {
            let seconds = time.as_secs();
            tolerations
                .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}));
        }
    }
}

/// Jobs select their pods by the job's uid unless told otherwise.
fn job_selector(object: &mut Value) {
    let (uid, name) = (object["metadata"]["uid"].clone(), object["metadata"]["name"].clone());
    let spec = &mut object["spec"];
    if spec["manualSelector"] == true || !spec["template"].is_object() {
        return;
    }
    let labels = &mut spec["template"]["metadata"]["labels"];
    if !labels.is_object() {
        *labels = json!({});
    }
    for (key, value) in [("controller-uid", &uid), ("batch.kubernetes.io/controller-uid", &uid)] {
        labels[key] = value.clone();
    }
    for key in ["job-name", "batch.kubernetes.io/job-name"] {
        labels[key] = name.clone();
    }
    super::defaults::default(
        spec,
        "selector",
        json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}),
    );
}

/// Whether a DELETE answers with the object that is gone, rather than with a Status.
pub(crate) fn returns_deleted(def: &ResourceDef) -> bool {
    let kinds = [
        ("", "Pod"),
        ("", "Service"),
        ("", "ServiceAccount"),
        ("", "PersistentVolume"),
        ("", "PersistentVolumeClaim"),
        ("", "ResourceQuota"),
        ("storage.k8s.io", "StorageClass"),
    ];
    kinds.iter().any(|(group, kind)| def.is(group, kind))
}

/// Whether an update of an object that is not there creates it.
pub(crate) fn creates_on_update(def: &ResourceDef) -> bool {
    let rbac = ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];
    match def.group.as_str() {
        _ if def.custom.is_some() => false,
        "" => matches!(def.kind.as_str(), "Service" | "Endpoints" | "Event" | "LimitRange"),
        "events.k8s.io" | "coordination.k8s.io" => true,
        "rbac.authorization.k8s.io" => rbac.contains(&def.kind.as_str()),
        _ => false,
    }
}

/// Whether the kind counts generations, and of which part.
pub(crate) fn generation_part(def: &ResourceDef) -> Option<&'static str> {
    match (def.group.as_str(), def.kind.as_str()) {
        ("", "Pod")
        | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch" | "policy" | "networking.k8s.io" | "apiextensions.k8s.io", _) => Some("spec"),
        ("discovery.k8s.io", "EndpointSlice") => Some("endpoints"),
        _ => None,
    }
}
