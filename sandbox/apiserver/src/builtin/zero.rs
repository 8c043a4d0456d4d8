//! What Kubernetes' Go types write of an object of which nothing is set.
//!
//! A field that is always written is not new when an object is created, so whoever creates it owns what is in it, but not
//! the field itself. Source: the `json` tags of k8s.io/api.

use serde_json::{Value, json};

use crate::schema::{Schema, Ty};

/// An object of a built-in kind of which nothing is set.
pub(crate) fn object(kind: &str, schema: &Schema) -> Value {
    let mut zero = json!({"metadata": {}});
    for part in ["spec", "status"] {
        let is_struct = |part: &Schema| part.ty == Ty::Object && part.additional.is_none();
        if schema.properties.get(part).is_some_and(|part| is_struct(part)) {
            zero[part] = json!({});
        }
    }
    let template = || json!({"metadata": {}, "spec": {"containers": null}});
    // Null stands for what is written, but is not there.
    let more = match kind {
        "Pod" => json!({"spec": {"containers": null}}),
        "Service" => json!({"status": {"loadBalancer": {}}}),
        "Deployment" => json!({"spec": {"selector": null, "template": template(), "strategy": {}}}),
        "ReplicaSet" => json!({"spec": {"selector": null, "template": template()}, "status": {"replicas": 0}}),
        "StatefulSet" => {
            json!({"spec": {"selector": null, "template": template(), "serviceName": "", "updateStrategy": {}}})
        }
        "DaemonSet" => json!({"spec": {"selector": null, "template": template(), "updateStrategy": {}}}),
        "Job" => json!({"spec": {"template": template()}}),
        "CronJob" => {
            json!({"spec": {"schedule": "", "jobTemplate": {"metadata": {}, "spec": {"template": template()}}}})
        }
        "PersistentVolumeClaim" => json!({"spec": {"resources": {}}}),
        "NetworkPolicy" => json!({"spec": {"podSelector": {}}}),
        "HorizontalPodAutoscaler" => json!({"spec": {"scaleTargetRef": {"kind": "", "name": ""}, "maxReplicas": 0}}),
        "PodDisruptionBudget" => json!({"status": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0,
            "expectedPods": 0}}),
        "CustomResourceDefinition" => {
            json!({"spec": {"group": "", "scope": "", "names": {"plural": "", "kind": ""}, "versions": null}})
        }
        _ => return zero,
    };
    for (part, fields) in more.as_object().into_iter().flatten() {
        for (field, value) in fields.as_object().into_iter().flatten() {
            zero[part][field] = value.clone();
        }
    }
    zero
}

/// Adds the structs that are always written.
pub(crate) fn fill(zero: &Value, object: &mut Value) {
    let (Some(zero), Some(fields)) = (zero.as_object(), object.as_object_mut()) else {
        return;
    };
    for (name, value) in zero.iter().filter(|(_, value)| value.is_object()) {
        fill(value, fields.entry(name.as_str()).or_insert_with(|| json!({})));
    }
}
