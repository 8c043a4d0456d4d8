//! Unknown fields: found, and removed.

use serde_json::Value;

use crate::schema::{Schema, Ty};

/// Removes fields the schema does not know and notes their paths in `unknown`.
pub(crate) fn prune(schema: &Schema, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if !schema.open() {
                fields.retain(|name, _| {
                    let keep = schema.known_field(name).is_some() || (schema.embedded && embedded_field(name));
                    if !keep {
                        unknown.push(join(path, name));
                    }
                    keep
                });
            }
            if schema.ty == Ty::Any && schema.properties.is_empty() {
                return;
            }
            for (name, child) in fields.iter_mut() {
                if let Some(schema) = schema.known_field(name) {
                    prune(schema, child, &join(path, name), unknown);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                prune(schema, item, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

fn embedded_field(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

/// `path.name`, or `name` at the root.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
