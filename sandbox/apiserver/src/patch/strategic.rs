//! Strategic merge patch: merge patch that knows which lists are maps, and the `$` directives.

use serde_json::{Map, Value};

use crate::error::{ApiError, ApiResult};
use crate::schema::{PatchMerge, Schema};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_LIST: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// Merges `patch` into `target`, an object of the type `schema`.
pub(crate) fn apply(schema: &Schema, target: &mut Value, patch: &Value) -> ApiResult<()> {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return Ok(());
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return Ok(()) };
    merge_objects(schema, fields, patch)
}

fn merge_objects(schema: &Schema, fields: &mut Map<String, Value>, patch: &Map<String, Value>) -> ApiResult<()> {
    match patch.get(PATCH).and_then(Value::as_str) {
        Some("replace") => {
            *fields = patch
                .iter()
                .filter(|(name, _)| name.as_str() != PATCH)
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            return Ok(());
        }
        Some("delete") => {
            fields.clear();
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(ApiError::bad_request(format!("Unknown patch type found: {other}"))),
    }
    if let Some(retained) = patch.get(RETAIN_KEYS).and_then(Value::as_array) {
        fields.retain(|name, _| retained.iter().any(|r| r == name));
    }
    for (directive, values) in patch {
        if let (Some(name), Some(values)) = (directive.strip_prefix(DELETE_LIST), values.as_array())
            && let Some(Value::Array(list)) = fields.get_mut(name)
        {
            list.retain(|item| !values.contains(item));
        }
    }
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        if !fields.contains_key(name) {
            if let Some(value) = undirected(value) {
                fields.insert(name.clone(), value);
            }
            continue;
        }
        let child = schema.field(name);
        match value {
            Value::Null => drop(fields.remove(name)),
            Value::Array(items) => {
                let list = fields.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
                merge_lists(child, list, items)?;
            }
            Value::Object(_) => {
                let empty = value.get(PATCH).is_some_and(|directive| directive == "delete");
                apply(child, fields.entry(name.clone()).or_insert(Value::Null), value)?;
                if empty {
                    fields.remove(name);
                }
            }
            scalar => drop(fields.insert(name.clone(), scalar.clone())),
        }
    }
    for (directive, order) in patch {
        if let (Some(name), Some(order)) = (directive.strip_prefix(ELEMENT_ORDER), order.as_array())
            && let Some(Value::Array(list)) = fields.get_mut(name)
        {
            reorder(schema.field(name), list, order);
        }
    }
    Ok(())
}

fn merge_lists(schema: &Schema, list: &mut Value, patch: &[Value]) -> ApiResult<()> {
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    let Value::Array(items) = list else { return Ok(()) };
    match &schema.merge {
        PatchMerge::Replace => *items = patch.iter().map(without_directives).collect(),
        PatchMerge::Primitive => {
            // Each is there once, whether the patch names it or not.
            let before = std::mem::take(items);
            for value in before.iter().chain(patch) {
                if !items.contains(value) {
                    items.push(value.clone());
                }
            }
            arrange(items, &before, patch, |item| Some(item));
        }
        PatchMerge::Key(key) => {
            if patch.iter().any(|entry| entry[PATCH] == "replace") {
                *items = patch
                    .iter()
                    .filter(|entry| entry[PATCH] != "replace")
                    .map(without_directives)
                    .collect();
                return Ok(());
            }
            let before = items.clone();
            for entry in patch {
                let Some(identity) = entry.get(key) else {
                    let entry = go_text(entry);
                    let message = format!("map: {entry} does not contain declared merge key: {key}");
                    return Err(ApiError::unmapped(message));
                };
                let position = items.iter().position(|item| item.get(key) == Some(identity));
                match (entry[PATCH].as_str(), position) {
                    (Some("delete"), _) => items.retain(|item| item.get(key) != Some(identity)),
                    (_, Some(index)) => apply(schema.item(), &mut items[index], entry)?,
                    (_, None) => {
                        let mut fresh = Value::Null;
                        apply(schema.item(), &mut fresh, entry)?;
                        items.push(fresh);
                    }
                }
            }
            arrange(items, &before, patch, |item| item.get(key));
        }
    }
    Ok(())
}

/// The order of a merged list: what the patch names in the order of the patch, what it does not in the order it was in.
/// Between the two, what the patch brings anew comes first, and what was there before keeps to its side of the others.
fn arrange(
    items: &mut Vec<Value>,
    before: &[Value],
    patch: &[Value],
    id: impl for<'b> Fn(&'b Value) -> Option<&'b Value>,
) {
    let place = |list: &[Value], item: &Value| {
        list.iter()
            .position(|other| id(other).is_some() && id(other) == id(item))
    };
    let (mut named, others): (Vec<Value>, Vec<Value>) = items.drain(..).partition(|item| place(patch, item).is_some());
    named.sort_by_key(|item| place(patch, item));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let Some(next) = named.peek() {
        let at = place(before, next);
        match others.next_if(|other| at.is_some() && place(before, other) < at) {
            Some(other) => items.push(other),
            None => items.extend(named.next()),
        }
    }
    items.extend(others);
}

/// What becomes of a value where there is nothing to merge it into: what has a directive goes, with all that is in it.
fn undirected(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(fields) if fields.contains_key(PATCH) => None,
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| !name.starts_with('$'));
            Some(
                kept.filter_map(|(name, value)| Some((name.clone(), undirected(value)?)))
                    .collect::<Map<_, _>>()
                    .into(),
            )
        }
        Value::Array(items) => Some(items.iter().filter_map(undirected).collect()),
        scalar => Some(scalar.clone()),
    }
}

/// A value as Go prints it.
fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}:{}", go_text(value)));
            format!("map[{}]", fields.collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

/// A value that is taken whole: its directives and nulls have nothing to act on.
fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(name, value)| !name.starts_with('$') && !value.is_null());
            Value::Object(
                kept.map(|(name, value)| (name.clone(), without_directives(value)))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}

/// Brings the items named in `order` into that order; the others keep their places behind the item they followed.
fn reorder(schema: &Schema, items: &mut Vec<Value>, order: &[Value]) {
    let rank = |item: &Value| {
        order.iter().position(|wanted| match &schema.merge {
            PatchMerge::Key(key) => wanted.get(key).is_some() && wanted.get(key) == item.get(key),
            _ => wanted == item,
        })
    };
    let mut named: Vec<(usize, Vec<Value>)> = Vec::new();
    let mut leading = Vec::new();
    for item in items.drain(..) {
        match (rank(&item), named.last_mut()) {
            (Some(rank), _) => named.push((rank, vec![item])),
            (None, Some((_, group))) => group.push(item),
            (None, None) => leading.push(item),
        }
    }
    named.sort_by_key(|(rank, _)| *rank);
    items.extend(leading);
    items.extend(named.into_iter().flat_map(|(_, group)| group));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::schema::trace::Tracer;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    fn patched(mut object: Value, patch: &Value) -> Value {
        let schema = Tracer::default().trace::<Pod>().unwrap();
        apply(&schema, &mut object, patch).unwrap();
        object
    }

    #[test]
    fn lists_with_a_merge_key_are_maps() {
        let pod = json!({"spec": {"containers": [
            {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "b:1"}]}});
        let patch = json!({"spec": {"containers": [
            {"name": "a", "env": [{"name": "Y", "value": "2"}]}, {"name": "b", "$patch": "delete"}, {"name": "c", "image": "c"}]}});
        assert_eq!(
            patched(pod, &patch)["spec"]["containers"],
            json!([{"name": "a", "image": "a:1", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
                {"name": "c", "image": "c"}])
        );
    }

    #[test]
    fn lists_without_one_are_replaced() {
        let pod = json!({"spec": {"tolerations": [{"key": "a"}], "containers": [{"name": "a", "args": ["1", "2"]}]}});
        let patch = json!({"spec": {"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["3"]}]}});
        let out = patched(pod, &patch);
        assert_eq!(out["spec"]["tolerations"], json!([{"key": "b"}]));
        assert_eq!(out["spec"]["containers"][0]["args"], json!(["3"]));
    }

    #[test]
    fn directives_act() {
        let pod = json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1"}},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"k": "v"}}});
        let patch = json!({
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"], "labels": {"$patch": "replace", "y": "2"}},
            "spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "nodeSelector": {"$patch": "delete"}}});
        let out = patched(pod, &patch);
        assert_eq!(out["metadata"], json!({"finalizers": ["c", "b"], "labels": {"y": "2"}}));
        assert_eq!(out["spec"], json!({"containers": [{"name": "b"}, {"name": "a"}]}));
    }

    #[test]
    fn a_list_entry_without_its_key_is_refused() {
        let schema = Tracer::default().trace::<Pod>().unwrap();
        let error = apply(
            &schema,
            &mut json!({"spec": {"containers": []}}),
            &json!({"spec": {"containers": [{"image": "x"}]}}),
        )
        .unwrap_err();
        assert!(
            error.message.contains("does not contain declared merge key: name"),
            "{error}"
        );
    }
}
