//! Unknown fields: found, and removed.

use std::fmt;

use serde_json::Value;

use crate::schema::{Schema, Ty};

/// A place in an object. Put into words only where there is something to say of it: every field of every write is passed.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(above, name) => write!(f, "{above}.{name}"),
            Self::Item(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}

/// Removes fields the schema does not know and notes their paths in `unknown`.
pub(crate) fn prune(schema: &Schema, value: &mut Value, place: &Place<'_>, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if !schema.open() {
                fields.retain(|name, _| {
                    let keep = schema.known_field(name).is_some() || (schema.embedded && embedded_field(name));
                    if !keep {
                        unknown.push(Place::Field(place, name).to_string());
                    }
                    keep
                });
            }
            if schema.ty == Ty::Any && schema.properties.is_empty() {
                return;
            }
            for (name, child) in fields.iter_mut() {
                if let Some(schema) = schema.known_field(name) {
                    prune(schema, child, &Place::Field(place, name), unknown);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                prune(schema, item, &Place::Item(place, index), unknown);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_like_a_path() {
        let spec = Place::Field(&Place::Root, "spec");
        let ports = Place::Field(&spec, "ports");
        let port = Place::Item(&ports, 2);
        assert_eq!(Place::Root.to_string(), "");
        assert_eq!(spec.to_string(), "spec");
        assert_eq!(Place::Field(&port, "name").to_string(), "spec.ports[2].name");
    }
}
