//! Something valid in place of what a schema refuses.

use serde_json::{Map, Value, json};

use crate::{duration, platform::interconnect};

/// The simplest value that satisfies a schema: its default, or the least that is required.
pub(super) fn stand_in(schema: &Value) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    match schema["type"].as_str().unwrap_or_default() {
        "object" => object(schema),
        "array" => (0..schema["minItems"].as_u64().unwrap_or(0))
            .map(|_| stand_in(&schema["items"]))
            .collect(),
        "string" => text(schema).into(),
        "integer" | "number" => {
            let least = schema["minimum"].as_f64().unwrap_or(1.0).max(1.0);
            let most = schema["maximum"].as_f64().unwrap_or(least);
            json!(least.min(most) as i64)
        }
        "boolean" => false.into(),
        _ => Value::Null,
    }
}

fn object(schema: &Value) -> Value {
    let one = &schema["oneOf"][0]["required"];
    let names = schema["required"]
        .as_array()
        .into_iter()
        .chain(one.as_array())
        .flatten();
    let names = names.filter_map(Value::as_str);
    Value::Object(
        names
            .map(|name| (name.to_owned(), stand_in(&schema["properties"][name])))
            .collect::<Map<_, _>>(),
    )
}

fn text(schema: &Value) -> String {
    if let Some(first) = schema["enum"][0].as_str() {
        return first.to_owned();
    }
    if schema["pattern"] == duration::PATTERN {
        return "1s".into();
    }
    if schema["pattern"] == interconnect::RANGE {
        return "0.0.0.0/32".into();
    }
    if schema["format"] == "date-time" {
        return "2000-01-01T00:00:00Z".into();
    }
    let least = usize::try_from(schema["minLength"].as_u64().unwrap_or(1)).unwrap_or(1);
    "x".repeat(least.max(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        crd,
        source::{schema, tree},
    };

    /// Every part of every schema, replaced by its stand-in, passes that schema.
    fn satisfied(part: &Value, path: &str) -> usize {
        let nodes = tree::parse(&json!([stand_in(part)]).to_string()).unwrap();
        let mut findings = vec![];
        let wrapped = json!({"type": "array", "items": part});
        schema::check(&nodes[0], &wrapped, path, &mut findings);
        assert!(findings.is_empty(), "{path}: {findings:?}");
        let properties = part["properties"].as_object().into_iter().flatten();
        let below: usize = properties
            .map(|(name, property)| satisfied(property, &format!("{path}.{name}")))
            .sum();
        let items = if part["items"].is_object() {
            satisfied(&part["items"], &format!("{path}[]"))
        } else {
            0
        };
        1 + below + items
    }

    #[test]
    fn a_stand_in_satisfies_its_schema() {
        for crd in crd::all_crds() {
            let schema = crd::schema(&crd);
            assert!(satisfied(&schema["properties"]["spec"], &crd.spec.names.kind) > 3);
        }
    }
}
