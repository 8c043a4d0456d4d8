//! The two ways to change an object with ownership in mind: applying a configuration, and writing a whole object.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::{Comparison, compare};
use super::fields::FieldSet;
use super::managers::{self, Manager, Operation, Sent};
use super::merge;
use crate::error::{ApiError, Cause};
use crate::schema::Schema;

/// Who owns what was there before anybody's ownership was noted.
const BEFORE: &str = "before-first-apply";

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

/// The type of an object, as far as ownership is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind<'a> {
    pub(crate) schema: &'a Schema,
    /// An object of which nothing is set: what a type always writes is not new when an object is created.
    pub(crate) zero: &'a Value,
    /// Fields that the endpoint resets, which nobody gains or loses through it.
    pub(crate) reset: &'static [&'static [&'static str]],
}

impl Kind<'_> {
    /// What changed from `old` to `new`, without what the endpoint resets.
    fn compare(&self, old: &Value, new: &Value) -> Comparison {
        let mut comparison = compare(self.schema, old, new);
        for path in self.reset {
            comparison.drop_path(path);
        }
        comparison
    }
}

/// Fields that belong to the server, or to no one.
const UNOWNED: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

fn ownable(mut set: FieldSet) -> FieldSet {
    for path in UNOWNED {
        set.forget(path);
    }
    set
}

/// Applies a configuration to a live object (`Null` where it is to be created). Gives the new object, with its
/// managers; equal to the live one where nothing changes.
pub(crate) fn apply(
    kind: &Kind<'_>,
    live: &Value,
    config: &Value,
    writer: &Writer,
    force: bool,
) -> Result<Value, ApiError> {
    let schema = kind.schema;
    let mut entries = managers::read(live);
    let empty = Value::Object(serde_json::Map::new());
    let base = if live.is_null() { &empty } else { live };
    if entries.is_empty() && !live.is_null() {
        let before = Writer {
            manager: BEFORE.to_owned(),
            ..writer.clone()
        };
        let all = ownable(kind.compare(kind.zero, base).changed);
        entries.push(before.entry(Operation::Update, all));
    }
    let mut named = merge::field_set(schema, config);
    for path in kind.reset {
        named.drop_path(path);
    }
    let mut entry = writer.entry(Operation::Apply, ownable(named.clone()));
    let last = entries
        .iter()
        .position(|m| m.is(&entry))
        .map(|index| entries.remove(index));

    let mut object = merge::merge(schema, base, config);
    // The commonest of all is an applier that names what it named before: nothing is abandoned then.
    let same_fields = last.as_ref().is_some_and(|last| last.fields == entry.fields);
    if let Some(last) = last.as_ref().filter(|last| !same_fields && !last.fields.is_empty()) {
        let mut kept = named;
        for manager in &entries {
            kept.unite(manager.fields.clone());
        }
        object = merge::remove_abandoned(schema, &object, &last.fields, &kept);
    }

    let same_version = |last: &Manager| last.api_version == entry.api_version;
    if object == *base && same_fields && last.as_ref().is_some_and(same_version) {
        return Ok(object);
    }
    let comparison = kind.compare(base, &object);
    let conflicts: Vec<FieldSet> = entries
        .iter()
        .map(|m| m.fields.intersection(&comparison.changed))
        .collect();
    if !force && conflicts.iter().any(|c| !c.is_empty()) {
        return Err(conflict(&entries, &conflicts));
    }
    for (manager, lost) in entries.iter_mut().zip(&conflicts) {
        manager.fields.subtract(lost);
        manager.fields.subtract(&comparison.removed);
    }
    // The moment is that of the last change by this manager: one that changes nothing leaves it, or has none.
    if object == *base {
        entry.time = last.and_then(|last| last.time);
    }
    entries.push(entry);
    managers::write(&mut object, &entries);
    Ok(object)
}

/// Notes in `new` who owns what after a plain write over `old` (`Null` where it is created).
pub(crate) fn note_update(kind: &Kind<'_>, old: &Value, new: &mut Value, writer: &Writer) {
    let mut entries = match managers::sent(new) {
        Sent::Reset if writer.subresource.is_empty() => Vec::new(),
        Sent::These(entries) if writer.subresource.is_empty() => entries,
        _ => managers::read(old),
    };
    if entries.is_empty() && !old.is_null() {
        // Nobody's ownership is noted, and that stays so until somebody applies.
        managers::write(new, &[]);
        return;
    }
    let comparison = kind.compare(if old.is_null() { kind.zero } else { old }, new);
    for manager in &mut entries {
        manager.fields.subtract(&comparison.changed);
        manager.fields.subtract(&comparison.removed);
    }
    entries.retain(|manager| !manager.fields.is_empty());
    let taken = writer.entry(Operation::Update, ownable(comparison.changed));
    if !taken.fields.is_empty() {
        match entries.iter_mut().find(|manager| manager.is(&taken)) {
            Some(before) => {
                before.fields.unite(taken.fields);
                before.time = taken.time;
            }
            None => entries.push(taken),
        }
    }
    managers::cap(&mut entries);
    managers::write(new, &entries);
}

fn conflict(entries: &[Manager], conflicts: &[FieldSet]) -> ApiError {
    // In the order of upstream's identifiers: those who apply first, whose versions do not tell them apart.
    let key = |m: &Manager| {
        let updates = m.operation == Operation::Update;
        let version = if updates { m.api_version.clone() } else { String::new() };
        // One without a subresource ends earlier, and so comes later.
        (
            m.name.clone(),
            updates,
            version,
            m.subresource.is_empty(),
            m.subresource.clone(),
        )
    };
    let mut by_manager: BTreeMap<_, (String, Vec<String>)> = BTreeMap::new();
    let mut causes = Vec::new();
    for (manager, fields) in entries.iter().zip(conflicts) {
        for path in fields.paths() {
            let message = format!("conflict with {}", manager.printed());
            causes.push(Cause {
                reason: "FieldManagerConflict",
                message,
                field: path.clone(),
            });
            let entry = by_manager.entry(key(manager));
            entry.or_insert_with(|| (manager.printed(), Vec::new())).1.push(path);
        }
    }
    let message = if let [only] = causes.as_slice() {
        format!("Apply failed with 1 conflict: {}: {}", only.message, only.field)
    } else {
        let parts = by_manager
            .values()
            .map(|(m, paths)| format!("conflicts with {m}:\n- {}", paths.join("\n- ")));
        format!(
            "Apply failed with {} conflicts: {}",
            causes.len(),
            parts.collect::<Vec<_>>().join("\n")
        )
    };
    ApiError::apply_conflict(message, &causes)
}
