//! Giving `spec.replicas` to an autoscaler without letting it fall to one. (Taking it back is `memory.rs`'s business.)
//!
//! A field that its only applier stops applying is reset to its default. So before the field is left out, a second manager
//! takes a share in it, at the value it has; from then on it is the autoscaler's to change.

use kube::{ResourceExt, core::DynamicObject};
use serde_json::{Value, json};

use crate::{kind::Kind, resources::Object};

/// The manager that holds the field between us and the autoscaler.
pub const MANAGER: &str = "showrunner-operator/handover";

/// The object to apply as [`MANAGER`] first, if we own `spec.replicas` now and are about to leave it out. It is refused
/// if the object has changed meanwhile: a number that is out of date must not win.
#[must_use]
pub(super) fn first_step(object: &Object, live: &DynamicObject) -> Option<Value> {
    let drops = object.kind == Kind::Deployment && object.body.pointer("/spec/replicas").is_none();
    let replicas = live.data.pointer("/spec/replicas")?;
    (drops && owns_replicas(live)).then(|| {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": live.name_any(), "resourceVersion": live.resource_version() },
            "spec": { "replicas": replicas },
        })
    })
}

fn owns_replicas(live: &DynamicObject) -> bool {
    live.managed_fields().iter().any(|entry| {
        entry.manager.as_deref() == Some(Kind::Deployment.field_manager())
            && entry.operation.as_deref() == Some("Apply")
            && entry
                .fields_v1
                .as_ref()
                .is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use showrunner_crds::platform::Role;

    use super::*;

    fn deployment(manager: &str, operation: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "d", "managedFields": [{
                "manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
                "fieldsV1": { "f:spec": { "f:replicas": {} } },
            }]},
            "spec": { "replicas": 7 },
        }))
        .unwrap()
    }

    fn object(spec: &Value) -> Object {
        let body = json!({"spec": spec});
        Object {
            kind: Kind::Deployment,
            name: "d".into(),
            region: None,
            role: Role::Edge,
            cluster: None,
            withheld: false,
            body,
        }
    }

    #[test]
    fn a_field_is_handed_over_only_by_its_owner_and_only_when_left_out() {
        let ours = deployment("showrunner-operator/workloads", "Apply");
        let step = first_step(&object(&json!({})), &ours).unwrap();
        assert_eq!(step.pointer("/spec/replicas"), Some(&json!(7)));
        assert_eq!(first_step(&object(&json!({ "replicas": 3 })), &ours), None);
        for other in [
            deployment("kube-controller-manager", "Update"),
            deployment("showrunner-operator/workloads", "Update"),
        ] {
            assert_eq!(first_step(&object(&json!({})), &other), None);
        }
    }
}
