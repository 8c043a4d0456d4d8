//! A stored object: its value, its revision, and its JSON, rendered once.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::Value;

/// One version of an object. Immutable; shared between the table, the history and the watchers.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) value: Value,
    pub(crate) revision: u64,
    json: OnceLock<Bytes>,
}

impl Stored {
    /// Takes a value and stamps its revision on it.
    pub(crate) fn new(mut value: Value, revision: u64) -> Self {
        value["metadata"]["resourceVersion"] = Value::String(revision.to_string());
        Self {
            value,
            revision,
            json: OnceLock::new(),
        }
    }

    /// A value that is not stored: the outcome of a dry run that would have created it has no version.
    pub(crate) fn unsaved(mut value: Value) -> Self {
        if let Some(metadata) = value["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        Self {
            value,
            revision: 0,
            json: OnceLock::new(),
        }
    }

    /// The object as JSON, in the version it is stored in.
    pub(crate) fn json(&self) -> Bytes {
        // A tree of JSON values can always be written.
        let render = || serde_json::to_vec(&self.value).unwrap_or_default().into();
        self.json.get_or_init(render).clone()
    }

    fn metadata(&self) -> &Value {
        &self.value["metadata"]
    }

    /// `metadata.uid`.
    pub(crate) fn uid(&self) -> Option<&str> {
        self.metadata()["uid"].as_str()
    }

    /// `metadata.namespace`, empty for cluster-scoped objects.
    pub(crate) fn namespace(&self) -> &str {
        self.metadata()["namespace"].as_str().unwrap_or_default()
    }

    /// uids of the owners.
    pub(crate) fn owner_uids(&self) -> impl Iterator<Item = &str> {
        self.metadata()["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|owner| owner["uid"].as_str())
    }

    /// Whether the object is being deleted.
    pub(crate) fn deleting(&self) -> bool {
        self.metadata()["deletionTimestamp"].is_string()
    }

    /// Whether the garbage collector has to look at this version.
    pub(crate) fn needs_collector(&self) -> bool {
        self.deleting() || self.owner_uids().next().is_some()
    }
}
