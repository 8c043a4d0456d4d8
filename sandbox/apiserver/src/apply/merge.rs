//! Merging an applied configuration into a live object, the fields it names, and removing what nobody applies any more.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::fields::{self, FieldSet};
use super::item::{self, Shape};
use crate::schema::Schema;

/// The live object with the applied one on top.
pub(crate) fn merge(schema: &Schema, live: &Value, applied: &Value) -> Value {
    join(schema, Some(live), Some(applied)).unwrap_or_else(|| Value::Object(Map::new()))
}

/// The same of a place that either may lack. `None` where nothing is left.
fn join(schema: &Schema, live: Option<&Value>, applied: Option<&Value>) -> Option<Value> {
    let Some(applied) = applied else {
        return live.cloned();
    };
    let told = if applied.is_null() { live } else { Some(applied) };
    let shape = told.map_or(Shape::Leaf, |value| item::shape(schema, value));
    if shape == Shape::Leaf || (item::is_bare(live) && item::is_bare(Some(applied))) {
        return Some(applied.clone());
    }
    if shape == Shape::Map {
        let (live, applied) = (live.and_then(Value::as_object), applied.as_object());
        let mut out = Map::new();
        let added = applied.into_iter().flatten().map(|(name, _)| name);
        let names = live.into_iter().flatten().map(|(name, _)| name);
        for name in names.chain(added.filter(|name| live.is_none_or(|live| !live.contains_key(*name)))) {
            let (before, value) = (live.and_then(|f| f.get(name)), applied.and_then(|f| f.get(name)));
            if let Some(joined) = join(schema.field(name), before, value) {
                out.insert(name.clone(), joined);
            }
        }
        return (!out.is_empty()).then_some(Value::Object(out));
    }
    let items = join_lists(schema, live, applied);
    (!items.is_empty()).then_some(Value::Array(items))
}

/// Stands for an item that is there twice: of such, nothing is merged with the applied one.
static TWICE: Value = Value::Null;

/// Applied items keep their order; items of others stay before the applied item they stood before.
fn join_lists(schema: &Schema, live: Option<&Value>, applied: &Value) -> Vec<Value> {
    let (live, applied) = (item::index(schema, live), item::index(schema, Some(applied)));
    let mut before: HashMap<&str, &Value> = HashMap::with_capacity(live.len());
    for (element, value) in &live {
        before
            .entry(element)
            .and_modify(|found| *found = &TWICE)
            .or_insert(value);
    }
    let wanted: HashSet<&str> = applied.iter().map(|(element, _)| element.as_str()).collect();
    let mut shared = applied.iter().map(|(element, _)| element.as_str());
    let mut next_shared = shared.find(|element| before.contains_key(element));
    let mut out = Vec::with_capacity(live.len().max(applied.len()));
    let mut merged: HashSet<&str> = HashSet::new();
    let (mut left, mut right) = (live.iter().peekable(), applied.iter().peekable());
    loop {
        if let (Some((element, _)), Some((next, theirs))) = (left.peek(), right.peek()) {
            let element = element.as_str();
            if element == next {
                out.extend(join(schema.item(), before.get(element).copied(), Some(theirs)));
                merged.insert(element);
                left.next();
                right.next();
                next_shared = shared.find(|element| before.contains_key(element));
                continue;
            }
            if wanted.contains(element) && next_shared.is_some_and(|next| next != element) {
                // Its turn comes where the applied list has it.
                left.next();
                continue;
            }
        }
        if let Some((element, mine)) = left.peek() {
            if !wanted.contains(element.as_str()) {
                out.push((*mine).clone());
                left.next();
                continue;
            }
            if merged.contains(element.as_str()) {
                left.next();
            }
        }
        let Some((element, theirs)) = right.next() else {
            if left.peek().is_none() {
                return out;
            }
            continue;
        };
        let element = element.as_str();
        merged.insert(element);
        out.extend(join(schema.item(), before.get(element).copied(), Some(theirs)));
        if next_shared == Some(element) {
            next_shared = shared.find(|element| before.contains_key(element));
        }
    }
}

/// The fields a configuration names.
pub(crate) fn field_set(schema: &Schema, value: &Value) -> FieldSet {
    name_fields(schema, value).1
}

/// Whether a place is a field by itself, and the fields below it.
fn name_fields(schema: &Schema, value: &Value) -> (bool, FieldSet) {
    let mut set = FieldSet::default();
    match item::shape(schema, value) {
        Shape::Leaf => return (true, set),
        Shape::Map => {
            for (name, child) in value.as_object().into_iter().flatten() {
                let inner = schema.field(name);
                let (own, below) = name_fields(inner, child);
                // The keys of a map are chosen by whoever writes them, the fields of a struct are not.
                let chosen = !schema.properties.contains_key(name);
                let empty = child.is_null() || child.as_object().is_some_and(Map::is_empty);
                set.insert(format!("f:{name}"), own || chosen || empty, below);
            }
        }
        Shape::List => {
            for (element, items) in item::groups(schema, Some(value)) {
                // What is there twice is one field, whatever is in it.
                let below = match items.as_slice() {
                    [only] => field_set(schema.item(), only),
                    _ => FieldSet::default(),
                };
                set.insert(element, true, below);
            }
        }
    }
    (false, set)
}

/// Each item that a configuration has once more, in upstream's words, which begin with its place. Places are put together
/// on the way back: there is hardly ever one.
pub(crate) fn twice(schema: &Schema, value: &Value) -> Vec<String> {
    let beneath = |place: String, found: Vec<String>| found.into_iter().map(move |words| format!("{place}{words}"));
    match (item::shape(schema, value), value) {
        (Shape::Map, Value::Object(fields)) => fields
            .iter()
            .flat_map(|(name, child)| match twice(schema.field(name), child) {
                found if found.is_empty() => Vec::new(),
                found => beneath(format!(".{name}"), found).collect(),
            })
            .collect(),
        (Shape::List, value) => {
            let items = item::index(schema, Some(value));
            let (mut seen, mut found) = (HashSet::with_capacity(items.len()), Vec::new());
            for (element, item) in &items {
                if !seen.insert(element) {
                    found.push(format!(": duplicate entries for key {}", fields::printed(element)));
                }
                let below = twice(schema.item(), item);
                if !below.is_empty() {
                    found.extend(beneath(fields::printed(element), below));
                }
            }
            found
        }
        _ => Vec::new(),
    }
}

/// Removes what `last` named, unless somebody in `kept` (the union of what all name now) still does. What `last` did not
/// name stays, whoever put it there.
pub(crate) fn remove_abandoned(schema: &Schema, value: &Value, last: &FieldSet, kept: &FieldSet) -> Value {
    let last = last.with_named_parents(schema);
    let there = field_set(schema, value).with_named_parents(schema);
    let left_by = |removed: &FieldSet| {
        let pruned = remove(schema, value, removed).unwrap_or(Value::Null);
        field_set(schema, &pruned).with_named_parents(schema)
    };
    let mut owned = left_by(&last);
    owned.unite(kept.with_named_parents(schema));
    let left = left_by(&there.difference(&owned));
    remove(schema, value, &there.difference(&left).intersection(&last)).unwrap_or_else(|| Value::Object(Map::new()))
}

/// A value without some of its fields and items; `None` where nothing is left of it.
fn remove(schema: &Schema, value: &Value, fields: &FieldSet) -> Option<Value> {
    match (item::shape(schema, value), value) {
        (Shape::Map, Value::Object(all)) => {
            let mut out = Map::new();
            for (name, child) in all {
                match fields.nodes.get(&format!("f:{name}")) {
                    None => drop(out.insert(name.clone(), child.clone())),
                    Some(node) if node.member => {}
                    Some(node) => {
                        let left = remove(schema.field(name), child, &node.below).unwrap_or(Value::Null);
                        out.insert(name.clone(), left);
                    }
                }
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
        (Shape::List, Value::Array(items)) => {
            let mut out = Vec::new();
            for child in items {
                match item::element(schema, child).and_then(|element| fields.nodes.get(&element)) {
                    None => out.push(child.clone()),
                    Some(node) if node.member => {}
                    Some(node) => out.push(remove(schema.item(), child, &node.below).unwrap_or(Value::Null)),
                }
            }
            (!out.is_empty()).then_some(Value::Array(out))
        }
        (Shape::Leaf, scalar) if !scalar.is_object() && !scalar.is_array() => Some(scalar.clone()),
        _ => None,
    }
}
