//! Identity of list items.

use serde_json::{Map, Value};

use crate::schema::{ListKind, Schema};

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

/// Whether a list is taken apart at all.
pub(crate) fn is_associative(list: &Schema) -> bool {
    list.list != ListKind::Atomic
}
