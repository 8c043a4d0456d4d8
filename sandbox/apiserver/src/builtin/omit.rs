//! What Kubernetes' Go types leave out when they are written: empty maps and lists, and zeros of fields that are no pointers.
//! Source: the `omitempty` tags of k8s.io/api.

use serde_json::Value;

use crate::schema::{Schema, Ty};

/// Lists that are written even when they are empty.
const ALWAYS: &[(&str, &str)] = &[
    ("PodSpec", "containers"),
    ("EndpointSlice", "endpoints"),
    ("EndpointSlice", "ports"),
    ("Role", "rules"),
    ("ClusterRole", "rules"),
    ("CustomResourceDefinitionSpec", "versions"),
    ("CustomResourceDefinitionStatus", "conditions"),
    ("CustomResourceDefinitionStatus", "storedVersions"),
];

/// Scalars that are left out when they are zero, false or empty. Most others are pointers.
const ZEROS: &[(&str, &str)] = &[
    ("Condition", "observedGeneration"),
    ("ContainerPort", "hostPort"),
    ("ContainerPort", "name"),
    ("DaemonSetStatus", "numberAvailable"),
    ("DaemonSetStatus", "numberUnavailable"),
    ("DaemonSetStatus", "observedGeneration"),
    ("DaemonSetStatus", "updatedNumberScheduled"),
    ("DeploymentSpec", "minReadySeconds"),
    ("DeploymentSpec", "paused"),
    ("DeploymentStatus", "availableReplicas"),
    ("DeploymentStatus", "observedGeneration"),
    ("DeploymentStatus", "readyReplicas"),
    ("DeploymentStatus", "replicas"),
    ("DeploymentStatus", "unavailableReplicas"),
    ("DeploymentStatus", "updatedReplicas"),
    ("EnvVar", "value"),
    ("HorizontalPodAutoscalerStatus", "currentReplicas"),
    ("JobStatus", "active"),
    ("JobStatus", "failed"),
    ("JobStatus", "succeeded"),
    ("ObjectMeta", "generateName"),
    ("PodCondition", "observedGeneration"),
    ("PodDisruptionBudgetStatus", "observedGeneration"),
    ("PodStatus", "observedGeneration"),
    ("ReplicaSetStatus", "availableReplicas"),
    ("ReplicaSetStatus", "fullyLabeledReplicas"),
    ("ReplicaSetStatus", "observedGeneration"),
    ("ReplicaSetStatus", "readyReplicas"),
    ("ServicePort", "name"),
    ("ServicePort", "nodePort"),
    ("ServiceSpec", "externalName"),
    ("ServiceSpec", "publishNotReadyAddresses"),
    ("StatefulSetStatus", "currentReplicas"),
    ("StatefulSetStatus", "observedGeneration"),
    ("StatefulSetStatus", "readyReplicas"),
    ("StatefulSetStatus", "updatedReplicas"),
];

/// Drops what a typed object would not be written with. A null in a map or a list of texts is an empty text.
pub(crate) fn empty(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, child| {
                let Some(inner) = schema.known_field(name) else {
                    return true;
                };
                if child.is_null() && schema.additional.is_some() && inner.ty == Ty::String {
                    *child = Value::from("");
                }
                empty(inner, child);
                written(schema, name, inner, child)
            });
        }
        Value::Array(items) => {
            let Some(inner) = &schema.items else { return };
            for item in items {
                if item.is_null() && inner.ty == Ty::String {
                    *item = Value::from("");
                }
                empty(inner, item);
            }
        }
        _ => {}
    }
}

fn written(schema: &Schema, name: &str, inner: &Schema, value: &Value) -> bool {
    let is_in = |list: &[(&str, &str)]| schema.type_name.is_some_and(|ty| list.contains(&(ty, name)));
    match value {
        Value::Null => inner.nullable || inner.open(),
        Value::Object(fields) => {
            !(fields.is_empty() && inner.ty == Ty::Object && inner.additional.is_some()) || keyed(schema)
        }
        Value::Array(items) => !(items.is_empty() && inner.ty == Ty::Array) || is_in(ALWAYS) || keyed(schema),
        Value::String(text) => !(text.is_empty() && is_in(ZEROS)),
        Value::Number(number) => !(number.as_i64() == Some(0) && is_in(ZEROS)),
        Value::Bool(on) => *on || !is_in(ZEROS),
    }
}

/// The values of a map are written whatever they are.
fn keyed(schema: &Schema) -> bool {
    schema.additional.is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::schema::trace::Tracer;
    use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
    use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
    use k8s_openapi::api::batch::v1::Job;
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::api::policy::v1::PodDisruptionBudget;
    use serde_json::json;

    #[test]
    fn empty_maps_and_lists_go_and_structs_stay() {
        let schema = Tracer::default().trace::<Deployment>().unwrap();
        let mut object = json!({"metadata": {"labels": {}, "annotations": {"a": ""}},
            "spec": {"paused": false, "replicas": 0, "selector": {"matchLabels": {}}, "template": {"spec": {
                "securityContext": {}, "containers": [{"name": "a", "args": [], "env": [{"name": "A", "value": ""}]}],
                "volumes": [{"name": "v", "emptyDir": {}}], "nodeSelector": {}}}}});
        empty(&schema, &mut object);
        let left = json!({"metadata": {"annotations": {"a": ""}},
            "spec": {"replicas": 0, "selector": {}, "template": {"spec": {
                "securityContext": {}, "containers": [{"name": "a", "env": [{"name": "A"}]}],
                "volumes": [{"name": "v", "emptyDir": {}}]}}}});
        assert_eq!(object, left);
    }

    #[test]
    fn counts_of_zero_are_not_written() {
        let schema = Tracer::default().trace::<Deployment>().unwrap();
        let mut object =
            json!({"spec": {"replicas": 0}, "status": {"replicas": 2, "readyReplicas": 0, "unavailableReplicas": 0}});
        empty(&schema, &mut object);
        assert_eq!(object, json!({"spec": {"replicas": 0}, "status": {"replicas": 2}}));
    }

    fn left(schema: &Schema, status: &Value) -> Value {
        let mut object = json!({"status": status});
        empty(schema, &mut object);
        object["status"].take()
    }

    #[test]
    fn zeros_of_other_statuses() {
        let tracer = Tracer::default();
        let jobs = tracer.trace::<Job>().unwrap();
        let job = json!({"active": 0, "succeeded": 0, "failed": 0, "ready": 0, "terminating": 0});
        assert_eq!(left(&jobs, &job), json!({"ready": 0, "terminating": 0}));
        let autoscalers = tracer.trace::<HorizontalPodAutoscaler>().unwrap();
        let autoscaler = json!({"currentReplicas": 0, "desiredReplicas": 0, "observedGeneration": 0});
        assert_eq!(
            left(&autoscalers, &autoscaler),
            json!({"desiredReplicas": 0, "observedGeneration": 0})
        );
        let daemons = tracer.trace::<DaemonSet>().unwrap();
        let daemon = json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0,
            "numberReady": 0, "updatedNumberScheduled": 0, "numberAvailable": 0, "numberUnavailable": 0,
            "observedGeneration": 0});
        let kept = json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0});
        assert_eq!(left(&daemons, &daemon), kept);
        let budgets = tracer.trace::<PodDisruptionBudget>().unwrap();
        let budget = json!({"disruptionsAllowed": 0, "observedGeneration": 0,
            "conditions": [{"type": "DisruptionAllowed", "observedGeneration": 0}]});
        let kept = json!({"disruptionsAllowed": 0, "conditions": [{"type": "DisruptionAllowed"}]});
        assert_eq!(left(&budgets, &budget), kept);
    }

    #[test]
    fn a_text_that_is_null_is_empty() {
        let schema = Tracer::default().trace::<ConfigMap>().unwrap();
        let mut object = json!({"data": {"a": null, "b": "1"}, "binaryData": null});
        empty(&schema, &mut object);
        assert_eq!(object, json!({"data": {"a": "", "b": "1"}}));
    }
}
