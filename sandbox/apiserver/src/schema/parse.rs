//! Parses the OpenAPI v3 schema of a custom resource definition.

use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::{ListKind, PatchMerge, Schema, Ty};
use crate::crd::rules::Rules;

/// Why a schema is not accepted; `field` is relative to the schema's root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub(crate) struct ParseError {
    pub(crate) field: String,
    pub(crate) message: String,
}

/// Deepest nesting accepted, well past what real definitions use.
const MAX_DEPTH: usize = 64;

/// Parses a schema.
pub(crate) fn parse(json: &Value) -> Result<Schema, ParseError> {
    node(json, "", 0, true)
}

fn fail<T>(path: &str, message: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError {
        field: path.trim_start_matches('.').to_owned(),
        message: message.into(),
    })
}

fn flag(json: &Value, name: &str) -> bool {
    json[name].as_bool().unwrap_or(false)
}

fn size(json: &Value, name: &str) -> Option<usize> {
    json[name].as_u64().and_then(|n| usize::try_from(n).ok())
}

fn ty(json: &Value, path: &str, structural: bool) -> Result<Ty, ParseError> {
    if flag(json, "x-kubernetes-int-or-string") {
        return Ok(Ty::IntOrString);
    }
    match json["type"].as_str() {
        Some("object") => Ok(Ty::Object),
        Some("array") => Ok(Ty::Array),
        Some("string") => Ok(Ty::String),
        Some("integer") => Ok(Ty::Integer),
        Some("number") => Ok(Ty::Number),
        Some("boolean") => Ok(Ty::Boolean),
        Some(other) => fail(&format!("{path}.type"), format!("Unsupported value: {other:?}")),
        None if !structural || flag(json, "x-kubernetes-preserve-unknown-fields") => Ok(Ty::Any),
        None => fail(
            &format!("{path}.type"),
            "Required value: must not be empty for specified object fields",
        ),
    }
}

/// `structural` is false inside allOf/anyOf/oneOf/not, where types need not be repeated.
fn node(json: &Value, path: &str, depth: usize, structural: bool) -> Result<Schema, ParseError> {
    if depth > MAX_DEPTH {
        return fail(path, format!("schema is nested more than {MAX_DEPTH} levels deep"));
    }
    let child = |json: &Value, path: String, structural: bool| node(json, &path, depth + 1, structural).map(Arc::new);
    let mut schema = Schema {
        ty: ty(json, path, structural)?,
        description: json["description"].as_str().map(str::to_owned),
        format: json["format"].as_str().map(str::to_owned),
        preserve_unknown: flag(json, "x-kubernetes-preserve-unknown-fields"),
        embedded: flag(json, "x-kubernetes-embedded-resource"),
        nullable: flag(json, "nullable"),
        atomic: json["x-kubernetes-map-type"] == "atomic",
        default: json.get("default").cloned(),
        ..Schema::default()
    };
    for (name, property) in json["properties"].as_object().into_iter().flatten() {
        let property = child(property, format!("{path}.properties[{name}]"), structural)?;
        schema.properties.insert(name.clone(), property);
    }
    match &json["additionalProperties"] {
        Value::Bool(true) => schema.additional = Some(Schema::any().clone()),
        values @ Value::Object(_) => {
            schema.additional = Some(child(values, format!("{path}.additionalProperties"), structural)?);
        }
        _ => {}
    }
    if json["items"].is_object() {
        schema.items = Some(child(&json["items"], format!("{path}.items"), structural)?);
    } else if structural && schema.ty == Ty::Array {
        return fail(&format!("{path}.items"), "Required value: must be specified");
    }
    schema.list = match json["x-kubernetes-list-type"].as_str() {
        Some("set") => ListKind::Set,
        Some("map") => {
            let keys = json["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            ListKind::Map(keys.filter_map(|k| k.as_str().map(str::to_owned)).collect())
        }
        _ => ListKind::Atomic,
    };
    if let (ListKind::Map(keys), true) = (&schema.list, structural) {
        let Some(item) = &schema.items else {
            return fail(path, "a list map needs items");
        };
        if keys.is_empty() || keys.iter().any(|key| !item.properties.contains_key(key)) {
            return fail(
                &format!("{path}.x-kubernetes-list-map-keys"),
                "Invalid value: entries have to be properties of the items",
            );
        }
    }
    schema.merge = PatchMerge::Replace;
    schema.rules = rules(json, path, &child)?.map(Box::new);
    Ok(schema)
}

/// Parses the schema of a child at a path; the flag says whether it has to be structural.
type Parser<'a> = dyn Fn(&Value, String, bool) -> Result<Arc<Schema>, ParseError> + 'a;

fn rules(json: &Value, path: &str, child: &Parser<'_>) -> Result<Option<Rules>, ParseError> {
    const RULE_KEYS: &[&str] = &[
        "required",
        "enum",
        "minimum",
        "maximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
    ];
    if !RULE_KEYS.iter().any(|key| json.get(key).is_some_and(|v| !v.is_null())) {
        return Ok(None);
    }
    let pattern = match json["pattern"].as_str().filter(|p| !p.is_empty()).map(Regex::new) {
        Some(Err(error)) => return fail(&format!("{path}.pattern"), format!("Invalid value: {error}")),
        Some(Ok(regex)) => Some(regex),
        None => None,
    };
    let branches = |name: &str| -> Result<Vec<Arc<Schema>>, ParseError> {
        let branches = json[name].as_array().into_iter().flatten().enumerate();
        branches
            .map(|(i, branch)| child(branch, format!("{path}.{name}[{i}]"), false))
            .collect()
    };
    let strings = |name: &str| {
        json[name]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|v| v.as_str().map(str::to_owned))
    };
    Ok(Some(Rules {
        required: strings("required").collect(),
        enumeration: json["enum"].as_array().cloned().unwrap_or_default(),
        minimum: json["minimum"].as_f64(),
        maximum: json["maximum"].as_f64(),
        exclusive_minimum: flag(json, "exclusiveMinimum"),
        exclusive_maximum: flag(json, "exclusiveMaximum"),
        multiple_of: json["multipleOf"].as_f64(),
        min_length: size(json, "minLength"),
        max_length: size(json, "maxLength"),
        pattern,
        min_items: size(json, "minItems"),
        max_items: size(json, "maxItems"),
        unique_items: flag(json, "uniqueItems"),
        min_properties: size(json, "minProperties"),
        max_properties: size(json, "maxProperties"),
        all_of: branches("allOf")?,
        any_of: branches("anyOf")?,
        one_of: branches("oneOf")?,
        not: if json["not"].is_object() {
            Some(child(&json["not"], format!("{path}.not"), false)?)
        } else {
            None
        },
    }))
}
