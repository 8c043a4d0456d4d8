//! Merging an applied configuration into a live object, the fields it names, and removing what nobody applies any more.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::fields::FieldSet;
use super::item;
use crate::schema::Schema;

/// The live object with the applied one on top.
pub(crate) fn merge(schema: &Schema, live: &Value, applied: &Value) -> Value {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) if !schema.atomic => {
            let mut out = live.clone();
            for (name, value) in applied {
                let merged = match live.get(name) {
                    Some(old) => merge(schema.field(name), old, value),
                    None => value.clone(),
                };
                out.insert(name.clone(), merged);
            }
            Value::Object(out)
        }
        (Value::Array(live), Value::Array(applied)) if item::is_associative(schema) => {
            Value::Array(merge_lists(schema, live, applied))
        }
        _ => applied.clone(),
    }
}

/// Applied items keep their order; items of others stay before the applied item they stood before.
fn merge_lists(schema: &Schema, live: &[Value], applied: &[Value]) -> Vec<Value> {
    let identify = |items: &[Value]| items.iter().map(|i| item::element(schema, i)).collect::<Vec<_>>();
    let (live_ids, applied_ids) = (identify(live), identify(applied));
    let by_id: HashMap<_, _> = live_ids.iter().zip(live).collect();
    let mut out = Vec::with_capacity(live.len().max(applied.len()));
    let mut rest = live_ids.iter().zip(live).peekable();
    for (id, value) in applied_ids.iter().zip(applied) {
        // Items of others up to the next item that is applied.
        while let Some((_, theirs)) = rest.next_if(|(live_id, _)| !applied_ids.contains(*live_id)) {
            out.push(theirs.clone());
        }
        rest.next_if(|(live_id, _)| applied_ids.contains(*live_id));
        out.push(
            by_id
                .get(id)
                .map_or_else(|| value.clone(), |old| merge(schema.item(), old, value)),
        );
    }
    out.extend(
        rest.filter(|(id, _)| !applied_ids.contains(*id))
            .map(|(_, theirs)| theirs.clone()),
    );
    out
}

/// The fields a configuration names.
pub(crate) fn field_set(schema: &Schema, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    match value {
        Value::Object(fields) if !schema.atomic => {
            for (name, child) in fields {
                let below = field_set(schema.field(name), child);
                set.insert(format!("f:{name}"), below.is_empty(), below);
            }
        }
        Value::Array(items) => {
            for child in items {
                if let Some(element) = item::element(schema, child) {
                    set.insert(element, true, field_set(schema.item(), child));
                }
            }
        }
        _ => {}
    }
    set
}

/// Removes what `last` named and `kept` (the union of what anyone names now) does not.
pub(crate) fn remove_abandoned(schema: &Schema, value: &mut Value, last: &FieldSet, kept: &FieldSet) {
    match value {
        Value::Object(fields) if !schema.atomic => remove_fields(schema, fields, last, kept),
        Value::Array(items) if item::is_associative(schema) => {
            items.retain_mut(|child| {
                let Some(element) = item::element(schema, child) else {
                    return true;
                };
                let Some(node) = last.nodes.get(&element) else {
                    return true;
                };
                let Some(still) = kept.nodes.get(&element) else {
                    return false;
                };
                remove_abandoned(schema.item(), child, &node.below, &still.below);
                true
            });
        }
        _ => {}
    }
}

fn remove_fields(schema: &Schema, fields: &mut Map<String, Value>, last: &FieldSet, kept: &FieldSet) {
    for (element, node) in &last.nodes {
        let Some(name) = element.strip_prefix("f:") else {
            continue;
        };
        match kept.nodes.get(element) {
            None => drop(fields.remove(name)),
            Some(still) => {
                if let Some(child) = fields.get_mut(name) {
                    remove_abandoned(schema.field(name), child, &node.below, &still.below);
                }
            }
        }
    }
}
