//! From a CustomResourceDefinition to resources the server serves.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cel::CelRules;
use crate::apply::update::{Writer, note_update};
use crate::engine::delete::add_finalizer;
use crate::engine::{Engine, now};
use crate::error::{ApiResult, Cause};
use crate::registry::printer::Column;
use crate::registry::{Custom, ResourceDef, Scale, builtin};
use crate::schema::{Schema, Ty, parse};

/// Storage key of definitions.
pub(crate) const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";
/// Holds a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Checks a definition about to be written and sets its status. Other kinds pass through.
pub(crate) fn on_write(engine: &Engine, def: &ResourceDef, object: &mut Value, old: Option<&Value>) -> ApiResult<()> {
    if !def.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        return Ok(());
    }
    let mut causes = Vec::new();
    check(object, &mut causes);
    if let Some(old) = old {
        for field in ["group", "scope"] {
            if old["spec"][field] != object["spec"][field] {
                causes.push(Cause::invalid(
                    format!("spec.{field}"),
                    &object["spec"][field],
                    "field is immutable",
                ));
            }
        }
    }
    check_stored(object, &mut causes);
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if !causes.is_empty() {
        return Err(def.invalid(&name, &causes));
    }
    let conflict = name_conflict(engine, &name, object);
    let before = object.clone();
    set_status(object, conflict);
    own_status(def, before, object);
    Ok(())
}

/// The server is the owner of what it says of a definition. Which versions are stored is said at creation, by nobody.
fn own_status(def: &ResourceDef, mut before: Value, object: &mut Value) {
    let status = &mut before["status"];
    status["storedVersions"] = object["status"]["storedVersions"].clone();
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
        status["acceptedNames"] = json!({"plural": "", "kind": ""});
    }
    let server = Writer {
        manager: "kube-apiserver".to_owned(),
        api_version: def.api_version(),
        subresource: "status".to_owned(),
        now: now(),
    };
    note_update(&def.ownership("status"), &before, object, &server);
}

fn check(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let expected = format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"]));
    if object["metadata"]["name"] != expected.as_str() {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &object["metadata"]["name"], detail));
    }
    for (field, value) in [
        ("spec.group", &spec["group"]),
        ("spec.names.plural", &spec["names"]["plural"]),
        ("spec.names.kind", &spec["names"]["kind"]),
    ] {
        if value.as_str().is_none_or(str::is_empty) {
            causes.push(Cause::required(field, ""));
        }
    }
    if !matches!(spec["scope"].as_str(), Some("Namespaced" | "Cluster")) {
        causes.push(Cause::not_supported(
            "spec.scope",
            &spec["scope"],
            &["Cluster".into(), "Namespaced".into()],
        ));
    }
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &Value::Null, detail));
    }
    for (index, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            causes.push(Cause::required(path, "schemas are required"));
            continue;
        }
        match parse::parse(schema) {
            Ok(parsed) => {
                check_defaults(&parsed, &path, causes);
                check_rules(schema, &path, causes);
            }
            Err(error) => {
                let field = if error.field.is_empty() {
                    path
                } else {
                    format!("{path}.{}", error.field)
                };
                causes.push(Cause {
                    reason: "FieldValueInvalid",
                    message: error.message,
                    field,
                });
            }
        }
    }
    if spec["conversion"]["strategy"] == "Webhook" {
        let webhook = &spec["conversion"]["webhook"];
        for field in ["clientConfig", "conversionReviewVersions"] {
            if webhook[field].is_null() {
                let detail = "required when strategy is set to Webhook";
                causes.push(Cause::required(format!("spec.conversion.webhook.{field}"), detail));
            }
        }
    }
}

/// A version that objects may be stored in must stay.
fn check_stored(object: &Value, causes: &mut Vec<Cause>) {
    let versions = object["spec"]["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let stored = object["status"]["storedVersions"].as_array().into_iter().flatten();
    for (index, stored) in stored.enumerate() {
        if !versions.iter().any(|version| version["name"] == *stored) {
            let name = stored.as_str().unwrap_or_default();
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions \
                 until a storage migration ensures no data remains persisted in {name} and removes {name} from \
                 status.storedVersions"
            );
            causes.push(Cause::invalid(
                format!("status.storedVersions[{index}]"),
                stored,
                detail,
            ));
        }
    }
}

/// Defaults must be what their schemas ask for.
fn check_defaults(schema: &Schema, path: &str, causes: &mut Vec<Cause>) {
    if let Some(default) = &schema.default {
        let from = causes.len();
        super::validate::validate(schema, default, "", causes);
        for cause in &mut causes[from..] {
            let below = cause.field.trim_start_matches("<nil>");
            let at = super::prune::join(&format!("{path}.default"), below);
            at.trim_end_matches('.').clone_into(&mut cause.field);
        }
    }
    for (name, property) in &schema.properties {
        check_defaults(property, &format!("{path}.properties[{name}]"), causes);
    }
    for (part, inner) in [("items", &schema.items), ("additionalProperties", &schema.additional)] {
        if let Some(inner) = inner {
            check_defaults(inner, &format!("{path}.{part}"), causes);
        }
    }
}

/// Rules must compile.
fn check_rules(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    for (index, rule) in rules.enumerate() {
        let field = format!("{path}.x-kubernetes-validations[{index}].rule");
        if rule["rule"].as_str().is_none_or(|text| text.trim().is_empty()) {
            causes.push(Cause::required(field, "rule is not specified"));
        } else if let Err(why) = super::cel::compiles(rule) {
            causes.push(Cause::invalid(field, &rule["rule"], why));
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        check_rules(property, &format!("{path}.properties[{name}]"), causes);
    }
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            check_rules(&schema[part], &format!("{path}.{part}"), causes);
        }
    }
}

/// Another definition, or a built-in, of the same group that already has one of the names.
fn name_conflict(engine: &Engine, name: &str, object: &Value) -> Option<String> {
    let group = object["spec"]["group"].as_str().unwrap_or_default();
    let kind = object["spec"]["names"]["kind"].as_str().unwrap_or_default();
    let snapshot = engine.registry.snapshot();
    let mut rivals = snapshot
        .all
        .iter()
        .filter(|def| def.group == group && def.kind == kind && format!("{}.{}", def.plural, def.group) != name);
    rivals.next().map(|_| format!("{kind:?} is already in use"))
}

fn set_status(object: &mut Value, conflict: Option<String>) {
    let accepted = conflict.is_none();
    let names = match conflict {
        None => {
            json!({"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found"})
        }
        Some(message) => {
            json!({"type": "NamesAccepted", "status": "False", "reason": "KindConflict", "message": message})
        }
    };
    let established = if accepted {
        json!({"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "the initial names have been accepted"})
    } else {
        json!({"type": "Established", "status": "False", "reason": "NotAccepted", "message": "not all names are accepted"})
    };
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    if accepted {
        object["status"]["acceptedNames"] = object["spec"]["names"].clone();
    }
    let storage = object["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|v| v["storage"] == true);
    let storage = storage.map(|version| version["name"].clone()).unwrap_or_default();
    let status = &mut object["status"];
    if !status["storedVersions"].is_array() {
        status["storedVersions"] = json!([]);
    }
    if let Some(versions) = status["storedVersions"].as_array_mut()
        && !versions.contains(&storage)
    {
        versions.push(storage);
    }
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    for condition in [names, established] {
        set_condition(&mut status["conditions"], condition);
    }
}

/// A definition that is to go stays until its objects are gone.
pub(crate) fn on_delete(object: &mut Value) {
    object["metadata"]["deletionTimestamp"] = now().into();
    add_finalizer(object, CLEANUP);
    let condition = json!({"type": "Terminating", "status": "True", "reason": "InstanceDeletionPending",
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"});
    set_condition(&mut object["status"]["conditions"], condition);
}

fn set_condition(conditions: &mut Value, mut condition: Value) {
    let Some(list) = conditions.as_array_mut() else { return };
    let before = list.iter_mut().find(|c| c["type"] == condition["type"]);
    match before {
        Some(before) if before["status"] == condition["status"] => {}
        Some(before) => {
            condition["lastTransitionTime"] = now().into();
            *before = condition;
        }
        None => {
            condition["lastTransitionTime"] = now().into();
            list.push(condition);
        }
    }
}

/// Serves exactly the definitions that are stored and established.
pub(crate) fn sync(engine: &Engine) {
    let established = |crd: &Value| {
        let conditions = crd["status"]["conditions"].as_array().into_iter().flatten();
        conditions
            .into_iter()
            .any(|c| c["type"] == "Established" && c["status"] == "True")
    };
    engine.registry.set_custom(|| {
        let definitions = engine
            .store
            .list(DEFINITIONS, None, None, None, |crd| established(&crd.value));
        let resources = definitions.items.iter().flat_map(|crd| resources(&crd.value));
        resources.collect::<Vec<_>>()
    });
}

/// The resources of a definition, one per served version.
fn resources(crd: &Value) -> Vec<Arc<ResourceDef>> {
    let spec = &crd["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(|v| v.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let (group, names) = (text(&spec["group"]), &spec["names"]);
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let storage_version = versions
        .iter()
        .find(|v| v["storage"] == true)
        .map(|v| text(&v["name"]))
        .unwrap_or_default();
    let mut out = Vec::new();
    for version in versions.iter().filter(|version| version["served"] == true) {
        let name = text(&version["name"]);
        let openapi = version["schema"]["openAPIV3Schema"].clone();
        let Ok(schema) = parse::parse(&openapi) else { continue };
        let kind = text(&names["kind"]);
        let scale = &version["subresources"]["scale"];
        out.push(Arc::new(ResourceDef {
            group: group.clone(),
            version: name.clone(),
            plural: text(&names["plural"]),
            singular: text(&names["singular"]),
            list_kind: names["listKind"]
                .as_str()
                .map_or_else(|| format!("{kind}List"), str::to_owned),
            namespaced: spec["scope"] == "Namespaced",
            short_names: list(&names["shortNames"]),
            categories: list(&names["categories"]),
            storage: format!("{group}/{}", text(&names["plural"])).into(),
            storage_api_version: format!("{group}/{storage_version}"),
            status: version["subresources"]["status"].is_object(),
            scale: scale.is_object().then(|| Scale {
                spec: text(&scale["specReplicasPath"]),
                status: text(&scale["statusReplicasPath"]),
                selector: scale["labelSelectorPath"].as_str().map(str::to_owned),
            }),
            schema: Arc::new(with_metadata(schema)),
            zero: json!({}),
            fields: version["selectableFields"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|field| text(&field["jsonPath"]).trim_start_matches('.').to_owned())
                .collect(),
            custom: Some(Custom {
                cel: CelRules::compile(&openapi, &group, &name, &kind),
                columns: Column::parse_all(&version["additionalPrinterColumns"]),
                openapi,
                terminating: crd["metadata"]["deletionTimestamp"].is_string(),
            }),
            kind,
        }));
    }
    out
}

/// Every object has `apiVersion`, `kind` and the standard metadata, whatever its schema says.
fn with_metadata(mut schema: Schema) -> Schema {
    let object_meta = builtin::all()
        .first()
        .map_or_else(|| Schema::any().clone(), |def| def.schema.field("metadata").clone());
    schema.properties.insert("metadata".to_owned(), object_meta);
    for name in ["apiVersion", "kind"] {
        schema.properties.insert(name.to_owned(), Schema::scalar(Ty::String));
    }
    schema
}
