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

/// What a client says of the managers of an object it sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Nothing, or nothing that can be read.
    Nothing,
    /// There are to be none.
    Reset,
    /// These.
    These(Vec<Manager>),
}

/// Reads what a client sent.
pub(crate) fn sent(object: &Value) -> Sent {
    let Some(entries) = object["metadata"]["managedFields"].as_array() else {
        return Sent::Nothing;
    };
    let blank = |entry: &Value| entry.as_object().is_some_and(serde_json::Map::is_empty);
    if entries.is_empty() || matches!(entries.as_slice(), [only] if blank(only)) {
        return Sent::Reset;
    }
    let legible = |entry: &Value| {
        matches!(entry["operation"].as_str(), Some("Apply" | "Update"))
            && entry["apiVersion"].as_str().is_some_and(|version| !version.is_empty())
            && entry["fieldsType"] == "FieldsV1"
    };
    if entries.iter().all(legible) {
        Sent::These(entries.iter().map(Manager::from_json).collect())
    } else {
        Sent::Nothing
    }
}

/// Most managers that update; the oldest are taken together.
const UPDATERS: usize = 10;
/// Who stands for the oldest.
const OLDEST: &str = "ancient-changes";

/// Takes the oldest entries of updates together, version by version, until there are no more than ten.
pub(crate) fn cap(managers: &mut Vec<Manager>) {
    let updates = |m: &Manager| m.operation == Operation::Update;
    if managers.iter().filter(|m| updates(m)).count() <= UPDATERS {
        return;
    }
    let (mut updaters, others): (Vec<Manager>, Vec<Manager>) = managers.drain(..).partition(updates);
    updaters.sort_by(|a, b| (&a.time, &a.name, &a.api_version).cmp(&(&b.time, &b.name, &b.api_version)));
    let mut count = updaters.len();
    for updater in updaters {
        let bucket = managers.iter_mut().find(|m| m.api_version == updater.api_version);
        match bucket {
            Some(bucket) if count > UPDATERS => {
                OLDEST.clone_into(&mut bucket.name);
                bucket.subresource.clear();
                bucket.fields.unite(updater.fields);
                bucket.time = updater.time;
                count -= 1;
            }
            _ => managers.push(updater),
        }
    }
    managers.extend(others);
}

/// Writes the managers into an object, in the order that upstream keeps: those who apply first, then by time and name.
/// Managers without fields disappear.
pub(crate) fn write(object: &mut Value, managers: &[Manager]) {
    let mut living: Vec<&Manager> = managers.iter().filter(|m| !m.fields.is_empty()).collect();
    living.sort_by(|a, b| {
        fn key(m: &Manager) -> (bool, Option<&str>, [&str; 3]) {
            let updates = m.operation == Operation::Update;
            (updates, m.time.as_deref(), [&m.name, &m.api_version, &m.subresource])
        }
        key(a).cmp(&key(b))
    });
    let entries: Vec<Value> = living.into_iter().map(Manager::to_json).collect();
    if entries.is_empty() {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    } else {
        object["metadata"]["managedFields"] = entries.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(name: &str, api_version: &str, second: u32) -> Manager {
        Manager {
            name: name.to_owned(),
            operation: Operation::Update,
            api_version: api_version.to_owned(),
            subresource: String::new(),
            time: Some(format!("2026-01-01T00:00:{second:02}Z")),
            fields: FieldSet::from_json(&json!({"f:data": {format!("f:{name}"): {}}})),
        }
    }

    fn names(managers: &[Manager]) -> Vec<(&str, &str)> {
        managers
            .iter()
            .map(|m| (m.name.as_str(), m.api_version.as_str()))
            .collect()
    }

    #[test]
    fn ten_updaters_stay_as_they_are() {
        let applier = Manager {
            operation: Operation::Apply,
            ..manager("applier", "v1", 0)
        };
        let all: Vec<Manager> = (0..10).map(|n| manager(&format!("m{n}"), "v1", n)).collect();
        let before = [all, vec![applier]].concat();
        let mut after = before.clone();
        cap(&mut after);
        assert_eq!(after, before);
    }

    #[test]
    fn the_oldest_are_taken_together_version_by_version() {
        // Of another version, the oldest of all: nothing to take it together with.
        let mut managers = vec![manager("other", "v2", 0)];
        managers.extend((1..12).rev().map(|n| manager(&format!("m{n:02}"), "v1", n)));
        cap(&mut managers);
        let mut expected = vec![("other", "v2"), (OLDEST, "v1")];
        let left: Vec<String> = (4..12).map(|n| format!("m{n:02}")).collect();
        expected.extend(left.iter().map(|name| (name.as_str(), "v1")));
        assert_eq!(names(&managers), expected);
        let together = json!({"f:data": {"f:m01": {}, "f:m02": {}, "f:m03": {}}});
        assert_eq!(managers[1].fields.to_json(), together);
        assert_eq!(managers[1].time.as_deref(), Some("2026-01-01T00:00:03Z"));
    }
}
