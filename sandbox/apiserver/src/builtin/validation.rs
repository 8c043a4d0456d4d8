//! Validation of built-in objects: what a real server would refuse and a client is likely to get wrong.

use serde_json::Value;

use super::names;
use crate::crd::prune::Place;
use crate::error::{ApiError, ApiResult, Cause};
use crate::registry::ResourceDef;
use crate::schema::{Schema, Ty};
use crate::selector::LabelSelector;

/// The first value whose type contradicts the schema, in the words of Go's decoder.
pub(crate) fn check_types(def: &ResourceDef, object: &Value) -> ApiResult<()> {
    fn visit(schema: &Schema, value: &Value, place: &Place<'_>) -> Option<String> {
        if value.is_null() || schema.open() {
            return None;
        }
        if !crate::crd::validate::type_matches(schema.ty, value) {
            let found = match value {
                Value::Bool(_) => "bool".to_owned(),
                Value::Number(n) => format!("number {n}"),
                Value::String(_) => "string".to_owned(),
                Value::Array(_) => "array".to_owned(),
                _ => "object".to_owned(),
            };
            let wanted = match schema.ty {
                Ty::Integer => schema.format.as_deref().unwrap_or("int32"),
                Ty::Boolean => "bool",
                Ty::Array => "[]",
                Ty::Object => schema.type_name.unwrap_or("map"),
                other => other.openapi(),
            };
            return Some(format!(
                "json: cannot unmarshal {found} into Go struct field {place} of type {wanted}"
            ));
        }
        match value {
            Value::Object(fields) => fields
                .iter()
                .find_map(|(name, child)| visit(schema.known_field(name)?, child, &Place::Field(place, name))),
            Value::Array(items) => items.iter().find_map(|item| visit(schema.items.as_ref()?, item, place)),
            Value::String(text) if schema.format.as_deref() == Some("date-time") => text
                .parse::<jiff::Timestamp>()
                .is_err()
                .then(|| format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?}")),
            _ => None,
        }
    }
    let secret = def.is("", "Secret").then(|| illegal_base64(&object["data"])).flatten();
    match visit(&def.schema, object, &Place::Root).or(secret) {
        None => Ok(()),
        Some(why) => {
            let kind = &def.kind;
            let message = format!(
                "{kind} in version {:?} cannot be handled as a {kind}: {why}",
                def.version
            );
            Err(ApiError::bad_request(message))
        }
    }
}

/// What Go's decoder says of a Secret's data that is not base64.
fn illegal_base64(data: &Value) -> Option<String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let mut values = data.as_object()?.values().filter_map(Value::as_str);
    values
        .find_map(|text| STANDARD.decode(text).err())
        .map(|error| match error {
            base64::DecodeError::InvalidByte(at, _) => format!("illegal base64 data at input byte {at}"),
            _ => "illegal base64 data".to_owned(),
        })
}

/// The same for the metadata of a custom object, whose own fields its schema judges.
pub(crate) fn check_metadata_types(def: &ResourceDef, object: &Value) -> ApiResult<()> {
    for field in ["labels", "annotations"] {
        for (key, value) in object["metadata"][field].as_object().into_iter().flatten() {
            if !value.is_string() && !value.is_null() {
                let message = format!(
                    "{} in version {:?} cannot be handled as a {}: unable to decode metadata.{field}[{key}]: not a string",
                    def.kind, def.version, def.kind
                );
                return Err(ApiError::bad_request(message));
            }
        }
    }
    Ok(())
}

/// Finalizers that need no domain.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// Checks `metadata` of any object.
pub(crate) fn metadata(def: &ResourceDef, object: &Value, causes: &mut Vec<Cause>) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let (legal, rule) = match (def.group.as_str(), def.kind.as_str()) {
        ("", "Namespace") => (names::is_label(name), names::LABEL_RULE),
        ("", "Service") => (names::is_service_name(name), names::SERVICE_RULE),
        // RBAC names are path segments.
        ("rbac.authorization.k8s.io", _) => (
            !name.is_empty() && !name.contains(['/', '%']) && name != "." && name != "..",
            "a path segment",
        ),
        _ => (names::is_subdomain(name), names::SUBDOMAIN_RULE),
    };
    if !legal {
        causes.push(Cause::invalid("metadata.name", &object["metadata"]["name"], rule));
    }
    labels(&object["metadata"]["labels"], "metadata.labels", causes);
    label_names(&object["metadata"]["annotations"], "metadata.annotations", causes);
    let finalizers = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    for (index, finalizer) in finalizers.enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        for rule in names::qualified_name_faults(name) {
            causes.push(Cause::invalid("metadata.finalizers", &name.into(), rule));
        }
        // Those of custom resources are not looked at any closer.
        let builtin = def.custom.is_none() && !def.is("apiextensions.k8s.io", "CustomResourceDefinition");
        if builtin && !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
            let rule = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid(
                format!("metadata.finalizers[{index}]"),
                &name.into(),
                rule,
            ));
        }
    }
    for owner in object["metadata"]["ownerReferences"].as_array().into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let detail = if field == "apiVersion" {
                    "version must not be empty"
                } else {
                    "must not be empty"
                };
                let path = format!("metadata.ownerReferences.{field}");
                causes.push(Cause::invalid(path, &Value::from(""), detail));
            }
        }
    }
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let controllers: Vec<&Value> = owners.filter(|owner| owner["controller"] == true).collect();
    if let [first, second, ..] = controllers.as_slice() {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
            first["name"].as_str().unwrap_or_default(),
            second["name"].as_str().unwrap_or_default()
        );
        let all = &object["metadata"]["ownerReferences"];
        causes.push(Cause::invalid("metadata.ownerReferences", all, detail));
    }
}

/// Checks a map of labels.
fn labels(map: &Value, path: &str, causes: &mut Vec<Cause>) {
    label_names(map, path, causes);
    for value in map.as_object().into_iter().flat_map(|map| map.values()) {
        if value.as_str().is_none_or(|value| !names::is_label_value(value)) {
            causes.push(Cause::invalid(path, value, names::LABEL_VALUE_RULE));
        }
    }
}

/// Checks the keys of a map of labels or annotations.
fn label_names(map: &Value, path: &str, causes: &mut Vec<Cause>) {
    for key in map.as_object().into_iter().flat_map(|map| map.keys()) {
        for rule in names::qualified_name_faults(key) {
            causes.push(Cause::invalid(path, &key.as_str().into(), rule));
        }
    }
}

/// Checks a built-in object; `old` where it replaces one.
pub(crate) fn validate(def: &ResourceDef, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    match (def.group.as_str(), def.kind.as_str()) {
        ("", "Pod") => {
            pod_spec(spec, "spec", causes);
            if let Some(old) = old {
                pod_update(spec, &old["spec"], causes);
            }
        }
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => {
            workload(spec, old.map(|old| &old["spec"]), causes);
            if def.kind == "StatefulSet"
                && let Some(old) = old
            {
                stateful_set_update(spec, &old["spec"], causes);
            }
        }
        ("batch", "Job") => {
            pod_spec(&spec["template"]["spec"], "spec.template.spec", causes);
            if !matches!(
                spec["template"]["spec"]["restartPolicy"].as_str(),
                Some("OnFailure" | "Never")
            ) {
                let supported = [Value::from("OnFailure"), Value::from("Never")];
                let field = "spec.template.spec.restartPolicy";
                causes.push(Cause::not_supported(
                    field,
                    &spec["template"]["spec"]["restartPolicy"],
                    &supported,
                ));
            }
            if let Some(old) = old
                && spec["template"] != old["spec"]["template"]
            {
                causes.push(immutable("spec.template", &spec["template"]));
            }
        }
        ("", "Service") => super::services::validate(spec, old.map(|old| &old["spec"]), causes),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(spec, causes),
        ("", "ConfigMap" | "Secret") => config(object, old, causes),
        ("" | "events.k8s.io", "Event") => super::events::validate(def, object, old, causes),
        _ => {}
    }
}

/// Checks the status of a built-in object.
pub(crate) fn status(def: &ResourceDef, object: &Value, causes: &mut Vec<Cause>) {
    if def.is("", "Service") {
        super::services::status(object, causes);
    }
}

fn immutable(field: &str, value: &Value) -> Cause {
    Cause::invalid(field, value, "field is immutable")
}

fn pod_spec(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let containers = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if containers.is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let volumes = spec["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut seen: Vec<&str> = Vec::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            let here = format!("{path}.{list}[{index}]");
            let name = container["name"].as_str().unwrap_or_default();
            if name.is_empty() {
                causes.push(Cause::required(format!("{here}.name"), ""));
            } else if !names::is_label(name) {
                causes.push(Cause::invalid(format!("{here}.name"), &name.into(), names::LABEL_RULE));
            } else if seen.contains(&name) {
                causes.push(Cause::duplicate(format!("{here}.name"), &name.into()));
            }
            seen.push(name);
            if container["image"].as_str().is_none_or(str::is_empty) {
                causes.push(Cause::required(format!("{here}.image"), ""));
            }
            for (at, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
                check_port(
                    &port["containerPort"],
                    format!("{here}.ports[{at}].containerPort"),
                    causes,
                );
            }
            for (at, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
                if !volumes.iter().any(|volume| volume["name"] == mount["name"]) {
                    causes.push(Cause {
                        reason: "FieldValueNotFound",
                        message: format!("Not found: {}", mount["name"]),
                        field: format!("{here}.volumeMounts[{at}].name"),
                    });
                }
            }
        }
    }
    labels(&spec["nodeSelector"], &format!("{path}.nodeSelector"), causes);
    if let Some(policy) = spec["restartPolicy"].as_str()
        && !matches!(policy, "Always" | "OnFailure" | "Never")
    {
        let supported = ["Always", "OnFailure", "Never"].map(Value::from);
        causes.push(Cause::not_supported(
            format!("{path}.restartPolicy"),
            &policy.into(),
            &supported,
        ));
    }
}

pub(super) fn check_port(port: &Value, field: String, causes: &mut Vec<Cause>) {
    if port.as_i64().is_none_or(|port| !(1..=65535).contains(&port)) {
        let number = if port.is_null() { &Value::from(0) } else { port };
        causes.push(Cause::invalid(field, number, "must be between 1 and 65535, inclusive"));
    }
}

/// A running pod's spec is fixed but for a few fields.
fn pod_update(new: &Value, old: &Value, causes: &mut Vec<Cause>) {
    let frozen = |spec: &Value| {
        let mut spec = spec.clone();
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                if let Some(fields) = container.as_object_mut() {
                    fields.remove("image");
                    fields.remove("resources");
                }
            }
        }
        if let Some(fields) = spec.as_object_mut() {
            let free = [
                "activeDeadlineSeconds",
                "tolerations",
                "terminationGracePeriodSeconds",
                "schedulingGates",
            ];
            fields.retain(|name, _| !free.contains(&name.as_str()) && name != "ephemeralContainers");
            fields.retain(|_, value| !value.is_null());
        }
        spec
    };
    if frozen(new) != frozen(old) {
        let detail = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        causes.push(Cause::forbidden("spec", detail));
    }
}

fn workload(spec: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if spec["replicas"].as_i64().is_some_and(|n| n < 0) {
        causes.push(Cause::invalid(
            "spec.replicas",
            &spec["replicas"],
            "must be greater than or equal to 0",
        ));
    }
    if !spec["selector"].is_object() {
        causes.push(Cause::required("spec.selector", ""));
    } else if LabelSelector::from_object(&spec["selector"]).is_empty() {
        let detail = "empty selector is invalid for deployment";
        causes.push(Cause::invalid("spec.selector", &spec["selector"], detail));
    }
    // No selector selects nothing.
    let selects = || LabelSelector::from_object(&spec["selector"]).matches(&spec["template"]);
    if !spec["selector"].is_object() || !selects() {
        let labels = &spec["template"]["metadata"]["labels"];
        let detail = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", labels, detail));
    }
    labels(&spec["template"]["metadata"]["labels"], "spec.template.labels", causes);
    label_names(
        &spec["template"]["metadata"]["annotations"],
        "spec.template.annotations",
        causes,
    );
    let pod = &spec["template"]["spec"];
    pod_spec(pod, "spec.template.spec", causes);
    if let Some(policy) = pod["restartPolicy"]
        .as_str()
        .filter(|policy| matches!(*policy, "OnFailure" | "Never"))
    {
        let field = "spec.template.spec.restartPolicy";
        causes.push(Cause::not_supported(field, &policy.into(), &[Value::from("Always")]));
    }
    if let Some(old) = old
        && old["selector"] != spec["selector"]
    {
        causes.push(immutable("spec.selector", &spec["selector"]));
    }
}

fn stateful_set_update(new: &Value, old: &Value, causes: &mut Vec<Cause>) {
    const FREE: &[&str] = &[
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
        "selector",
    ];
    let frozen = |spec: &Value| {
        let fields = spec.as_object().into_iter().flatten();
        let kept = fields.filter(|(name, _)| !FREE.contains(&name.as_str()));
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect::<serde_json::Map<_, _>>()
    };
    if frozen(new) != frozen(old) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        causes.push(Cause::forbidden("spec", detail));
    }
}

fn autoscaler(spec: &Value, causes: &mut Vec<Cause>) {
    let (min, max) = (
        spec["minReplicas"].as_i64(),
        spec["maxReplicas"].as_i64().unwrap_or_default(),
    );
    if max < 1 {
        causes.push(Cause::invalid(
            "spec.maxReplicas",
            &spec["maxReplicas"],
            "must be greater than 0",
        ));
    }
    if min.is_some_and(|min| min > max) {
        let detail = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", &spec["maxReplicas"], detail));
    }
    for field in ["kind", "name"] {
        if spec["scaleTargetRef"][field].as_str().is_none_or(str::is_empty) {
            causes.push(Cause::required(format!("spec.scaleTargetRef.{field}"), ""));
        }
    }
}

fn config(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    for field in ["data", "binaryData"] {
        for key in object[field].as_object().into_iter().flatten().map(|(key, _)| key) {
            if !names::is_config_key(key) {
                causes.push(Cause::invalid(
                    format!("{field}[{key}]"),
                    &key.as_str().into(),
                    names::CONFIG_KEY_RULE,
                ));
            }
        }
    }
    let Some(old) = old.filter(|old| old["immutable"] == true) else {
        return;
    };
    let changed = ["data", "binaryData"]
        .into_iter()
        .find(|field| old[*field] != object[*field]);
    if let Some(field) = changed {
        causes.push(Cause::forbidden(field, "field is immutable when `immutable` is set"));
    }
    if object["immutable"] != true {
        causes.push(Cause::forbidden(
            "immutable",
            "field is immutable when `immutable` is set",
        ));
    }
}
