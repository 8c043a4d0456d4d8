//! A tree held against a JSON schema, as far as structural schemas go.

use regex::Regex;
use serde_json::Value;

use super::{
    diagnostics::{Finding, Place},
    names::suggest,
    tree::{Entry, Kind, Node},
};
use crate::duration::{self, GoDuration};

/// Everything in which a value differs from its schema.
pub(super) fn check(node: &Node, schema: &Value, path: &str, findings: &mut Vec<Finding>) {
    let mut say = |message: String| findings.push(Finding::new(node.place, path, message));
    let wanted = schema["type"].as_str().unwrap_or_default();
    match (&node.kind, wanted) {
        (Kind::Map(entries), "object") => object(node, entries, schema, path, findings),
        (Kind::List(items), "array") => {
            length(items.len(), "item", &schema["minItems"], &schema["maxItems"])
                .into_iter()
                .for_each(say);
            for (index, item) in items.iter().enumerate() {
                check(item, &schema["items"], &format!("{path}[{index}]"), findings);
            }
        }
        (Kind::Text(text), "string") => string(text, schema).into_iter().for_each(say),
        (Kind::Integer(value), "integer" | "number") => range(*value as f64, schema).into_iter().for_each(say),
        (Kind::Float(value), "number") => range(*value, schema).into_iter().for_each(say),
        (Kind::Bool(_), "boolean") | (_, "") => {}
        (Kind::Null, _) if schema["nullable"] == true => {}
        (Kind::Null, _) => say("no value is stated; leave the field out for its default".into()),
        (found, wanted) => say(format!("expected {}, found {}", expected(wanted), describe(found))),
    }
}

fn object(node: &Node, entries: &[Entry], schema: &Value, path: &str, findings: &mut Vec<Finding>) {
    let known = schema["properties"].as_object();
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    for (index, entry) in entries.iter().enumerate() {
        let path = join(path, &entry.key);
        if let Some(first) = entries[..index].iter().find(|other| other.key == entry.key) {
            let message = format!("stated twice; first on line {}", first.place.line);
            findings.push(Finding::new(entry.place, &path, message));
        }
        if let Some(property) = known.and_then(|known| known.get(&entry.key)) {
            check(&entry.value, property, &path, findings);
        } else if schema["additionalProperties"].is_object() {
            check(&entry.value, &schema["additionalProperties"], &path, findings);
        } else if !open {
            let names: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            findings.push(Finding::new(
                entry.place,
                &path,
                format!("unknown field{}", suggest(&entry.key, &names)),
            ));
        }
    }
    let stated = |name: &Value| name.as_str().is_some_and(|name| node.get(name).is_some());
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|name| !stated(name))
    {
        let name = name.as_str().unwrap_or_default();
        findings.push(Finding::new(node.place, join(path, name), "required, and not stated"));
    }
    alternatives(node.place, schema, &stated, path, findings);
    let most = schema["maxProperties"]
        .as_u64()
        .and_then(|most| usize::try_from(most).ok());
    if most.is_some_and(|most| entries.len() > most) {
        let names: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        findings.push(Finding::new(
            node.place,
            path,
            format!("state only one of: {}", names.join(", ")),
        ));
    }
}

/// An enumeration whose variants carry fields: exactly one of them is stated.
fn alternatives(
    place: Place,
    schema: &Value,
    stated: &dyn Fn(&Value) -> bool,
    path: &str,
    findings: &mut Vec<Finding>,
) {
    let variants: Vec<&Value> = schema["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["required"][0])
        .collect();
    if variants.is_empty() || variants.iter().filter(|name| stated(name)).count() == 1 {
        return;
    }
    let names: Vec<&str> = variants.iter().filter_map(|name| name.as_str()).collect();
    findings.push(Finding::new(
        place,
        path,
        format!("state exactly one of: {}", names.join(", ")),
    ));
}

fn string(text: &str, schema: &Value) -> Vec<String> {
    if let Some(allowed) = schema["enum"].as_array() {
        let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        return if allowed.contains(&text) {
            vec![]
        } else {
            vec![format!("`{text}` is not a value for this{}", suggest(text, &allowed))]
        };
    }
    let mut found = length(
        text.chars().count(),
        "character",
        &schema["minLength"],
        &schema["maxLength"],
    );
    match schema["pattern"].as_str() {
        Some(duration::PATTERN) => found.extend(text.parse::<GoDuration>().err().map(|error| error.to_string())),
        Some(pattern) if found.is_empty() && !matches(text, pattern) => found.push(if pattern == DNS_LABEL {
            format!("`{text}` is not a DNS label: lower-case letters, digits, and dashes between them")
        } else {
            format!("`{text}` does not match {pattern}")
        }),
        _ => {}
    }
    if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
        found.push(format!(
            "`{text}` is not a point in time; write for example 2027-03-05T19:00:00Z"
        ));
    }
    found
}

const DNS_LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

fn matches(text: &str, pattern: &str) -> bool {
    // A pattern that is none would be ours, and is found by the tests: no reader is to blame for it.
    Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

fn length(found: usize, unit: &str, least: &Value, most: &Value) -> Vec<String> {
    let plural = |number: u64| if number == 1 { "" } else { "s" };
    match (least.as_u64(), most.as_u64()) {
        (Some(least), _) if (found as u64) < least => {
            vec![format!(
                "{found} {unit}{}: at least {least} needed",
                plural(found as u64)
            )]
        }
        (_, Some(most)) if (found as u64) > most => vec![format!("{found} {unit}s: at most {most} allowed")],
        _ => vec![],
    }
}

fn range(value: f64, schema: &Value) -> Vec<String> {
    match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (Some(least), _) if value < least => vec![format!("{value} is below the minimum of {least}")],
        (_, Some(most)) if value > most => vec![format!("{value} is above the maximum of {most}")],
        _ if schema["format"] == "uint32" && value > f64::from(u32::MAX) => {
            vec![format!("{value} is above the maximum of {}", u32::MAX)]
        }
        _ => vec![],
    }
}

fn expected(wanted: &str) -> &'static str {
    match wanted {
        "object" => "fields",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        _ => "true or false",
    }
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Null => "nothing".into(),
        Kind::Bool(value) => format!("{value}"),
        Kind::Integer(value) => format!("the number {value}"),
        Kind::Float(value) => format!("the number {value}"),
        Kind::Text(text) if text.chars().count() > 40 => {
            format!("the text `{}…`", text.chars().take(40).collect::<String>())
        }
        Kind::Text(text) => format!("the text `{text}`"),
        Kind::List(_) => "a list".into(),
        Kind::Map(_) => "fields".into(),
    }
}

/// The tree without fields that its schema does not know.
pub(super) fn prune(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) if schema["x-kubernetes-preserve-unknown-fields"] != true => {
            let known = schema["properties"].as_object();
            let open = &schema["additionalProperties"];
            fields.retain(|name, _| open.is_object() || known.is_some_and(|known| known.contains_key(name)));
            for (name, value) in fields {
                prune(value, known.and_then(|known| known.get(name)).unwrap_or(open));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, &schema["items"])),
        _ => {}
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{crd, source::tree};

    /// An API server refuses a definition whose defaults break its own schema.
    fn defaults(schema: &Value, path: &str) {
        if let Some(default) = schema.get("default") {
            // JSON is YAML; a default of an object's is read as the object would be.
            let text = serde_json::to_string(&serde_json::json!([default])).unwrap();
            let nodes = tree::parse(&text).unwrap();
            let mut findings = vec![];
            check(
                &nodes[0],
                &serde_json::json!({"type": "array", "items": schema}),
                path,
                &mut findings,
            );
            assert!(findings.is_empty(), "{path}: {findings:?}");
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            defaults(property, &join(path, name));
        }
        if schema["items"].is_object() {
            defaults(&schema["items"], &format!("{path}[]"));
        }
    }

    #[test]
    fn defaults_satisfy_their_own_schema() {
        for crd in crd::all_crds() {
            defaults(&crd::schema(&crd), &crd.spec.names.kind);
        }
    }

    #[test]
    fn every_pattern_compiles() {
        fn patterns(schema: &Value, found: &mut Vec<String>) {
            match schema {
                Value::Object(fields) => {
                    found.extend(fields.get("pattern").and_then(Value::as_str).map(str::to_owned));
                    fields.values().for_each(|value| patterns(value, found));
                }
                Value::Array(items) => items.iter().for_each(|item| patterns(item, found)),
                _ => {}
            }
        }
        let mut found = vec![];
        for crd in crd::all_crds() {
            patterns(&crd::schema(&crd), &mut found);
        }
        assert!(!found.is_empty());
        for pattern in found {
            assert!(Regex::new(&pattern).is_ok(), "{pattern}");
        }
    }
}
