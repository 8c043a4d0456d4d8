//! Identity of list items, and which values are taken apart.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::schema::{ListKind, Schema, Ty};

/// How a value is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As a whole: scalars, and what is atomic.
    Leaf,
    /// Field by field.
    Map,
    /// Item by item, told apart by [`element`].
    List,
}

/// The shape of a value of a type. Of a type that nothing is known of, the value itself tells.
pub(crate) fn shape(schema: &Schema, value: &Value) -> Shape {
    match (schema.ty, value) {
        (Ty::Object, _) | (Ty::Any, Value::Object(_)) if !schema.atomic => Shape::Map,
        (Ty::Array, _) if schema.list != ListKind::Atomic => Shape::List,
        _ => Shape::Leaf,
    }
}

/// Whether there is nothing in it that could be taken apart.
pub(crate) fn is_bare(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        _ => true,
    }
}

/// The items of a list with their path elements. Those that have none are left out.
pub(crate) fn index<'a>(list: &Schema, value: Option<&'a Value>) -> Vec<(String, &'a Value)> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| Some((element(list, item)?, item))).collect()
}

/// The items of a list by their path elements. No list need be free of items that are there twice: not every type looks.
pub(crate) fn groups<'a>(list: &Schema, value: Option<&'a Value>) -> BTreeMap<String, Vec<&'a Value>> {
    let mut out: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for (element, item) in index(list, value) {
        out.entry(element).or_default().push(item);
    }
    out
}

/// The path element of an item of a list map or set: `k:{"name":"a"}`, `v:"a"`. `None` in atomic lists.
pub(crate) fn element(list: &Schema, item: &Value) -> Option<String> {
    match &list.list {
        ListKind::Atomic => None,
        ListKind::Set => Some(format!("v:{item}")),
        ListKind::Map(keys) => {
            let mut identity: Vec<(&String, Value)> = Vec::with_capacity(keys.len());
            for key in keys {
                let default = || {
                    list.item()
                        .properties
                        .get(key)
                        .and_then(|schema| schema.default.clone())
                };
                if let Some(value) = item.get(key).cloned().or_else(default) {
                    identity.push((key, value));
                }
            }
            identity.sort_by(|a, b| a.0.cmp(b.0));
            let identity: Map<String, Value> = identity.into_iter().map(|(k, v)| (k.clone(), v)).collect();
            Some(format!("k:{}", Value::Object(identity)))
        }
    }
}
