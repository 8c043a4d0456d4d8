//! The two ways to change an object with ownership in mind: applying a configuration, and writing a whole object.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::compare;
use super::fields::FieldSet;
use super::managers::{self, Manager, Operation};
use super::merge;
use crate::error::{ApiError, Cause};
use crate::schema::Schema;

/// Who writes.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) manager: String,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    pub(crate) now: String,
}

impl Writer {
    fn entry(&self, operation: Operation, fields: FieldSet) -> Manager {
        Manager {
            name: self.manager.clone(),
            operation,
            api_version: self.api_version.clone(),
            subresource: self.subresource.clone(),
            time: Some(self.now.clone()),
            fields,
        }
    }
}

/// Fields that belong to the server, or to no one.
const UNOWNED: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
    &["metadata", "deletionTimestamp"],
    &["metadata", "deletionGracePeriodSeconds"],
];

/// Drops what cannot be owned through an endpoint: status through the main one, all but status through `status`.
fn ownable(mut set: FieldSet, subresource: &str, has_status: bool) -> FieldSet {
    for path in UNOWNED {
        set.drop_path(path);
    }
    match subresource {
        "" if has_status => set.drop_path(&["status"]),
        "status" => set.drop_path(&["spec"]),
        _ => {}
    }
    // `metadata: {}` alone is no field of anybody's.
    if set.nodes.get("f:metadata").is_some_and(|node| node.below.is_empty()) {
        set.drop_path(&["metadata"]);
    }
    set
}

/// Applies a configuration to a live object (`Null` where it is to be created). Gives the new object, with its
/// managers; equal to the live one where nothing changes.
pub(crate) fn apply(
    schema: &Schema,
    live: &Value,
    config: &Value,
    writer: &Writer,
    force: bool,
    has_status: bool,
) -> Result<Value, ApiError> {
    let mut entries = managers::read(live);
    let fields = ownable(merge::field_set(schema, config), &writer.subresource, has_status);
    let mut entry = writer.entry(Operation::Apply, fields);
    let position = entries.iter().position(|m| m.is(&entry));
    let last = position.map(|index| entries.remove(index));

    let empty = Value::Object(serde_json::Map::new());
    let base = if live.is_null() { &empty } else { live };
    let mut object = merge::merge(schema, base, config);
    let same_fields = last.as_ref().is_some_and(|last| last.fields == entry.fields);
    // Where the same fields are applied as the last time, none is abandoned.
    if let Some(last) = last.as_ref().filter(|_| !same_fields) {
        let mut kept = entry.fields.clone();
        for manager in &entries {
            kept.unite(manager.fields.clone());
        }
        merge::remove_abandoned(schema, &mut object, &last.fields, &kept);
    }

    let comparison = compare(schema, base, &object);
    let conflicts: Vec<FieldSet> = entries
        .iter()
        .map(|m| m.fields.intersection(&comparison.changed).intersection(&entry.fields))
        .collect();
    if !force && conflicts.iter().any(|c| !c.is_empty()) {
        return Err(conflict(&entries, &conflicts));
    }
    for (manager, lost) in entries.iter_mut().zip(&conflicts) {
        manager.fields.subtract(lost);
        manager.fields.subtract(&comparison.removed);
    }

    if let Some(last) = last.filter(|_| same_fields && comparison.is_empty()) {
        entry.time = last.time;
    }
    match position {
        Some(index) => entries.insert(index, entry),
        None => entries.push(entry),
    }
    managers::write(&mut object, &entries);
    Ok(object)
}

/// Notes in `new` who owns what after a plain write over `old` (`Null` where it is created).
pub(crate) fn note_update(schema: &Schema, old: &Value, new: &mut Value, writer: &Writer, has_status: bool) {
    let empty = Value::Object(serde_json::Map::new());
    let comparison = compare(schema, if old.is_null() { &empty } else { old }, new);
    // A client that clears managedFields resets ownership; anything else it sends there is ignored.
    let cleared = new["metadata"].get("managedFields").is_some_and(|sent| {
        sent.as_array()
            .is_some_and(|entries| entries.is_empty() || entries.iter().all(|e| e == &empty))
    });
    let mut entries = if cleared { Vec::new() } else { managers::read(old) };
    let changed = ownable(comparison.changed, &writer.subresource, has_status);
    let probe = writer.entry(Operation::Update, changed.clone());
    let mut found = false;
    for manager in &mut entries {
        if manager.is(&probe) {
            found = true;
            let before = manager.fields.clone();
            manager.fields.unite(changed.clone());
            manager.fields.subtract(&comparison.removed);
            if manager.fields != before {
                manager.time.clone_from(&probe.time);
            }
        } else {
            manager.fields.subtract(&changed);
            manager.fields.subtract(&comparison.removed);
        }
    }
    if !found {
        entries.push(probe);
    }
    managers::write(new, &entries);
}

fn conflict(entries: &[Manager], conflicts: &[FieldSet]) -> ApiError {
    let mut by_manager: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut causes = Vec::new();
    for (manager, fields) in entries.iter().zip(conflicts) {
        for path in fields.paths() {
            let message = format!("conflict with {}", manager.printed());
            causes.push(Cause {
                reason: "FieldManagerConflict",
                message,
                field: path.clone(),
            });
            by_manager.entry(manager.printed()).or_default().push(path);
        }
    }
    let message = if let [only] = causes.as_slice() {
        format!("Apply failed with 1 conflict: {}: {}", only.message, only.field)
    } else {
        let parts = by_manager
            .iter()
            .map(|(m, paths)| format!("conflicts with {m}:\n- {}", paths.join("\n- ")));
        format!(
            "Apply failed with {} conflicts: {}",
            causes.len(),
            parts.collect::<Vec<_>>().join("\n")
        )
    };
    ApiError::apply_conflict(message, &causes)
}
