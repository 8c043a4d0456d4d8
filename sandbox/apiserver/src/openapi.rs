//! OpenAPI: an index, and one document per group and version with the schemas and just enough of the paths for
//! `kubectl apply` to know that the server validates fields, and for `kubectl explain`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use http::header;
use http::request::Parts;
use serde_json::{Map, Value, json};

use crate::error::{ApiError, ApiResult};
use crate::registry::{ResourceDef, Snapshot};
use crate::schema::{ListKind, PatchMerge, Schema, Ty};

/// `/openapi/v2`: an empty document, for clients that take JSON. Everything real is in v3.
pub(crate) fn v2(parts: &Parts) -> ApiResult<Value> {
    let accept = parts
        .headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("*/*");
    if accept.contains("json") || accept.contains("*/*") {
        return Ok(
            json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "unversioned"}, "paths": {}, "definitions": {}}),
        );
    }
    let message = "only the following media types are accepted: application/json".to_owned();
    Err(ApiError {
        code: 406,
        reason: "NotAcceptable",
        message,
        details: None,
    })
}

fn path_of(def: &ResourceDef) -> String {
    if def.group.is_empty() {
        format!("api/{}", def.version)
    } else {
        format!("apis/{}/{}", def.group, def.version)
    }
}

/// `/openapi/v3`.
pub(crate) fn index(snapshot: &Snapshot) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for def in &snapshot.all {
        let path = path_of(def);
        if paths.contains_key(&path) {
            continue;
        }
        let mut hasher = DefaultHasher::new();
        for other in snapshot.all.iter().filter(|other| path_of(other) == path) {
            (
                &other.kind,
                other.custom.as_ref().map(|custom| custom.openapi.to_string()),
            )
                .hash(&mut hasher);
        }
        let url = format!("/openapi/v3/{path}?hash={:016X}", hasher.finish());
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// `/openapi/v3/apis/GROUP/VERSION`.
pub(crate) fn document(snapshot: &Snapshot, segments: &[&str]) -> ApiResult<Value> {
    let path = segments.join("/");
    let defs: Vec<_> = snapshot.all.iter().filter(|def| path_of(def) == path).collect();
    if defs.is_empty() {
        return Err(ApiError::no_such_path());
    }
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for def in defs {
        let name = schema_name(def, &def.kind);
        let gvk = json!({"group": def.group, "version": def.version, "kind": def.kind});
        let reference = match &def.custom {
            Some(custom) => {
                let mut schema = custom.openapi.clone();
                schema["properties"]["apiVersion"] = json!({"type": "string"});
                schema["properties"]["kind"] = json!({"type": "string"});
                let metadata = render(&def.schema.field("metadata").clone(), def, &mut schemas);
                schema["properties"]["metadata"] = metadata;
                schemas.insert(name.clone(), schema);
                json!({"$ref": format!("#/components/schemas/{name}")})
            }
            None => render(&def.schema, def, &mut schemas),
        };
        if let Some(schema) = schemas.get_mut(&name) {
            schema["x-kubernetes-group-version-kind"] = json!([gvk]);
        }
        let scope = if def.namespaced { "/namespaces/{namespace}" } else { "" };
        let collection = format!("/{path}{scope}/{}", def.plural);
        paths.insert(format!("{collection}/{{name}}"), item_path(&reference, &gvk));
        paths.insert(collection, collection_path(&reference, &gvk));
    }
    Ok(
        json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths, "components": {"schemas": schemas}}),
    )
}

fn parameter(name: &str, ty: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": ty, "uniqueItems": true}})
}

fn answer(reference: &Value) -> Value {
    json!({"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}})
}

fn operation(action: &str, reference: &Value, gvk: &Value, parameters: &Value) -> Value {
    json!({"responses": answer(reference), "parameters": parameters,
        "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk})
}

fn write_parameters() -> Value {
    json!([
        parameter("dryRun", "string"),
        parameter("fieldManager", "string"),
        parameter("fieldValidation", "string")
    ])
}

fn collection_path(reference: &Value, gvk: &Value) -> Value {
    let mut post = operation("post", reference, gvk, &write_parameters());
    post["requestBody"] = json!({"content": {"application/json": {"schema": reference}}});
    let list = json!([
        parameter("labelSelector", "string"),
        parameter("fieldSelector", "string"),
        parameter("watch", "boolean")
    ]);
    json!({"get": operation("list", reference, gvk, &list), "post": post})
}

fn item_path(reference: &Value, gvk: &Value) -> Value {
    let mut parameters = write_parameters();
    if let Some(list) = parameters.as_array_mut() {
        list.push(parameter("force", "boolean"));
    }
    let mut patch = operation("patch", reference, gvk, &parameters);
    let body = json!({"schema": {"type": "object"}});
    patch["requestBody"] = json!({"content": {"application/json-patch+json": body, "application/merge-patch+json": body,
        "application/apply-patch+yaml": body}});
    let mut put = operation("put", reference, gvk, &write_parameters());
    put["requestBody"] = json!({"content": {"application/json": {"schema": reference}}});
    json!({"get": operation("get", reference, gvk, &json!([])), "put": put, "patch": patch,
        "delete": operation("delete", reference, gvk, &json!([parameter("dryRun", "string")]))})
}

/// Name of a component: reversed group, version, kind for custom resources; `io.k8s.…` for built-ins.
fn schema_name(def: &ResourceDef, kind: &str) -> String {
    if def.custom.is_some() && kind == def.kind {
        let group = def.group.split('.').rev().collect::<Vec<_>>().join(".");
        return format!("{group}.{}.{kind}", def.version);
    }
    let group = def.group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
    format!("io.k8s.api.{group}.{}.{kind}", def.version)
}

/// A built-in schema; named types become components.
fn render(schema: &Schema, def: &ResourceDef, schemas: &mut Map<String, Value>) -> Value {
    let mut out = json!({});
    match schema.ty {
        Ty::Any => out["x-kubernetes-preserve-unknown-fields"] = true.into(),
        Ty::IntOrString => {
            out["format"] = "int-or-string".into();
            out["oneOf"] = json!([{"type": "integer"}, {"type": "string"}]);
        }
        ty => out["type"] = ty.openapi().into(),
    }
    for (name, text) in [("format", &schema.format), ("description", &schema.description)] {
        if let Some(text) = text {
            out[name] = text.as_str().into();
        }
    }
    if let Some(default) = &schema.default {
        out["default"] = default.clone();
    }
    if schema.atomic {
        out["x-kubernetes-map-type"] = "atomic".into();
    }
    if let Some(items) = &schema.items {
        out["items"] = render(items, def, schemas);
        match &schema.list {
            ListKind::Atomic => out["x-kubernetes-list-type"] = "atomic".into(),
            ListKind::Set => out["x-kubernetes-list-type"] = "set".into(),
            ListKind::Map(keys) => {
                out["x-kubernetes-list-type"] = "map".into();
                out["x-kubernetes-list-map-keys"] = json!(keys);
            }
        }
        match &schema.merge {
            PatchMerge::Replace => {}
            PatchMerge::Primitive => out["x-kubernetes-patch-strategy"] = "merge".into(),
            PatchMerge::Key(key) => {
                out["x-kubernetes-patch-strategy"] = "merge".into();
                out["x-kubernetes-patch-merge-key"] = key.as_str().into();
            }
        }
    }
    if let Some(values) = &schema.additional {
        out["additionalProperties"] = render(values, def, schemas);
    }
    let Some(type_name) = schema.type_name else {
        return properties(out, schema, def, schemas);
    };
    let name = if schema.type_name == Some(def.kind.as_str()) || def.custom.is_none() {
        schema_name(def, type_name)
    } else {
        format!("io.k8s.apimachinery.pkg.apis.meta.v1.{type_name}")
    };
    if !schemas.contains_key(&name) {
        schemas.insert(name.clone(), Value::Null);
        let full = properties(out, schema, def, schemas);
        schemas.insert(name.clone(), full);
    }
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn properties(mut out: Value, schema: &Schema, def: &ResourceDef, schemas: &mut Map<String, Value>) -> Value {
    for (name, property) in &schema.properties {
        let rendered = render(property, def, schemas);
        // Siblings of a `$ref` are ignored, so it goes into an allOf of its own, as upstream writes it.
        out["properties"][name] = if rendered.get("$ref").is_some() {
            json!({"allOf": [rendered], "default": {}})
        } else {
            rendered
        };
    }
    out
}
