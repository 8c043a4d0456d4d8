//! What changed between two versions of an object, as field sets.

use serde_json::Value;

use super::fields::FieldSet;
use super::{item, merge};
use crate::schema::Schema;

/// The difference of two objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Fields that are new or have another value.
    pub(crate) changed: FieldSet,
    /// Fields that are gone.
    pub(crate) removed: FieldSet,
}

impl Comparison {
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Compares two objects of a type.
pub(crate) fn compare(schema: &Schema, old: &Value, new: &Value) -> Comparison {
    let mut out = Comparison::default();
    match (old, new) {
        (Value::Object(old), Value::Object(new)) if !schema.atomic => {
            for (name, value) in new {
                let child = schema.field(name);
                let element = format!("f:{name}");
                match old.get(name) {
                    Some(before) => nest(&mut out, element, child, before, value),
                    None => out
                        .changed
                        .insert(element, is_member(child, value), whole(child, value)),
                }
            }
            for (name, value) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
                let child = schema.field(name);
                out.removed.insert(format!("f:{name}"), true, whole(child, value));
            }
        }
        (Value::Array(old), Value::Array(new)) if item::is_associative(schema) => {
            let identify = |items: &[Value]| items.iter().map(|i| item::element(schema, i)).collect::<Vec<_>>();
            let (old_ids, new_ids) = (identify(old), identify(new));
            for (element, value) in new_ids.iter().zip(new) {
                let Some(name) = element.clone() else { continue };
                match old_ids.iter().position(|id| id == element) {
                    Some(index) => nest(&mut out, name, schema.item(), &old[index], value),
                    None => out.changed.insert(name, true, whole(schema.item(), value)),
                }
            }
            for (element, value) in old_ids.iter().zip(old).filter(|(id, _)| !new_ids.contains(*id)) {
                if let Some(name) = element.clone() {
                    out.removed.insert(name, true, whole(schema.item(), value));
                }
            }
        }
        _ => {}
    }
    out
}

/// Compares children and hangs the result below `element`.
fn nest(out: &mut Comparison, element: String, schema: &Schema, old: &Value, new: &Value) {
    if old == new {
        return;
    }
    if divisible(schema, old) && divisible(schema, new) {
        let below = compare(schema, old, new);
        out.removed.insert(element.clone(), false, below.removed);
        out.changed.insert(element, false, below.changed);
    } else {
        out.changed.insert(element.clone(), true, whole(schema, new));
        // Only the parts that did not come back are gone.
        let gone = whole(schema, old).difference(&whole(schema, new));
        out.removed.insert(element, false, gone);
    }
}

fn divisible(schema: &Schema, value: &Value) -> bool {
    match value {
        Value::Object(_) => !schema.atomic,
        Value::Array(_) => item::is_associative(schema),
        _ => false,
    }
}

/// A new container counts as a member itself where it is a map; structs exist by their fields.
fn is_member(schema: &Schema, value: &Value) -> bool {
    merge::field_set(schema, value).is_empty() || schema.additional.is_some()
}

fn whole(schema: &Schema, value: &Value) -> FieldSet {
    merge::field_set(schema, value)
}
