//! `metadata.managedFields`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::fields::FieldSet;

/// How a manager came by its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Apply,
    Update,
}

/// One manager and its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) operation: Operation,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    pub(crate) time: Option<String>,
    pub(crate) fields: FieldSet,
}

impl Manager {
    /// Whether this entry is the same manager doing the same thing.
    pub(crate) fn is(&self, other: &Manager) -> bool {
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            // An applier keeps its fields when it moves to another version.
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// The manager in conflict messages.
    pub(crate) fn printed(&self) -> String {
        // Writing to a String cannot fail.
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            let _ = write!(text, " with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            let _ = write!(text, " using {}", self.api_version);
            if let Some(time) = &self.time {
                let _ = write!(text, " at {time}");
            }
        }
        text
    }

    fn to_json(&self) -> Value {
        let mut out = json!({
            "manager": self.name,
            "operation": match self.operation { Operation::Apply => "Apply", Operation::Update => "Update" },
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_json(),
        });
        if let Some(time) = &self.time {
            out["time"] = time.as_str().into();
        }
        if !self.subresource.is_empty() {
            out["subresource"] = self.subresource.as_str().into();
        }
        out
    }

    fn from_json(json: &Value) -> Self {
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        Self {
            name: text("manager"),
            operation: if json["operation"] == "Apply" {
                Operation::Apply
            } else {
                Operation::Update
            },
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: json["time"].as_str().map(str::to_owned),
            fields: FieldSet::from_json(&json["fieldsV1"]),
        }
    }
}

/// The managers of an object.
pub(crate) fn read(object: &Value) -> Vec<Manager> {
    object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(Manager::from_json)
        .collect()
}

/// Writes the managers into an object; managers without fields disappear.
pub(crate) fn write(object: &mut Value, managers: &[Manager]) {
    let entries: Vec<Value> = managers
        .iter()
        .filter(|m| !m.fields.is_empty())
        .map(Manager::to_json)
        .collect();
    if entries.is_empty() {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    } else {
        object["metadata"]["managedFields"] = entries.into();
    }
}
