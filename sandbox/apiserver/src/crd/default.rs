//! Schema defaults.

use serde_json::Value;

use crate::schema::Schema;

/// Fills in defaults for absent fields, and for null ones that are not nullable; nulls without a default are dropped.
pub(crate) fn apply(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, property) in &schema.properties {
                if fields.get(name).is_some_and(|v| v.is_null() && !property.nullable) && property.default.is_some() {
                    fields.remove(name);
                }
                if let Some(default) = property.default.as_ref().filter(|_| !fields.contains_key(name)) {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, child) in fields.iter_mut() {
                if let Some(schema) = schema.known_field(name) {
                    apply(schema, child);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for item in items {
                apply(schema, item);
            }
        }
        _ => {}
    }
}

/// Drops null fields the schema knows and does not allow to be null, as decoding into a typed object would.
pub(crate) fn drop_nulls(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, child| {
                !child.is_null() || schema.known_field(name).is_none_or(|s| s.nullable || s.open())
            });
            for (name, child) in fields.iter_mut() {
                if let Some(schema) = schema.known_field(name) {
                    drop_nulls(schema, child);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for item in items {
                drop_nulls(schema, item);
            }
        }
        _ => {}
    }
}
