//! A stored object: its value, its revision, and its JSON, rendered once.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::Value;

/// One version of an object. Immutable; shared between the table, the history and the watchers.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) value: Value,
    pub(crate) revision: u64,
    /// Whether its metadata is not what is shown of it. What is empty or null is never shown (upstream does show it now and
    /// then, see `docs/fuzzing.md`), and a text that is null is shown as an empty one; but what is written back as it is shown is another object.
    pub(crate) hollow: bool,
    json: OnceLock<Bytes>,
}

/// What an object's metadata is stored with, and shown without: parts that are empty or null, and texts that are null.
#[derive(Debug, Default)]
pub(crate) struct Hidden(Vec<(&'static str, Option<String>, Value)>);

impl Hidden {
    /// Makes metadata what is shown of it.
    pub(crate) fn take(metadata: &mut Value) -> Self {
        let mut hidden = Vec::new();
        let Some(metadata) = metadata.as_object_mut() else {
            return Self(hidden);
        };
        let empty = |value: &Value| match value {
            Value::Null => true,
            Value::Object(fields) => fields.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        for part in ["labels", "annotations", "finalizers", "ownerReferences"] {
            if metadata.get(part).is_some_and(empty)
                && let Some(value) = metadata.remove(part)
            {
                hidden.push((part, None, value));
            }
            let texts = metadata.get_mut(part).and_then(Value::as_object_mut);
            for (key, text) in texts.into_iter().flatten().filter(|(_, text)| text.is_null()) {
                hidden.push((part, Some(key.clone()), text.take()));
                *text = "".into();
            }
        }
        Self(hidden)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes metadata what is stored of it again.
    pub(crate) fn put_back(self, metadata: &mut Value) {
        for (part, key, value) in self.0 {
            match key {
                Some(key) => metadata[part][key] = value,
                None => metadata[part] = value,
            }
        }
    }
}

impl Stored {
    /// Takes a value and stamps its revision on it.
    pub(crate) fn new(mut value: Value, revision: u64) -> Self {
        value["metadata"]["resourceVersion"] = Value::String(revision.to_string());
        Self {
            hollow: !Hidden::take(&mut value["metadata"]).is_empty(),
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
            hollow: !Hidden::take(&mut value["metadata"]).is_empty(),
            value,
            revision: 0,
            json: OnceLock::new(),
        }
    }

    /// What is told and never stored: of a write that ends its object the answer has what is empty in it, too.
    pub(crate) fn told(mut value: Value, revision: u64) -> Self {
        value["metadata"]["resourceVersion"] = Value::String(revision.to_string());
        Self {
            hollow: false,
            value,
            revision,
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
