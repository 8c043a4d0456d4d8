//! What changed between two versions of an object, as field sets.

use serde_json::Value;

use super::fields::FieldSet;
use super::item::{self, Shape};
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
    /// Drops a path of fields and what lies below it from both.
    pub(crate) fn drop_path(&mut self, path: &[&str]) {
        self.changed.drop_path(path);
        self.removed.drop_path(path);
    }

    /// Adds what became of one place below.
    fn nest(&mut self, element: impl FnOnce() -> String, schema: &Schema, old: Option<&Value>, new: Option<&Value>) {
        if old == new {
            return;
        }
        let element = element();
        let inner = walk(schema, old, new);
        self.changed.insert(element.clone(), inner.changed, inner.below.changed);
        self.removed.insert(element, inner.removed, inner.below.removed);
    }
}

/// Compares two objects of a type.
pub(crate) fn compare(schema: &Schema, old: &Value, new: &Value) -> Comparison {
    walk(schema, Some(old), Some(new)).below
}

/// What became of one place, and of what lies below it.
#[derive(Default)]
struct Found {
    changed: bool,
    removed: bool,
    below: Comparison,
}

/// A container that is new or gone counts itself, beside all that is in it: whether there is an empty one or none is a
/// difference, too.
fn walk(schema: &Schema, old: Option<&Value>, new: Option<&Value>) -> Found {
    let mut found = Found {
        changed: old.is_none(),
        removed: new.is_none(),
        below: Comparison::default(),
    };
    let shapes = (old.map(|v| item::shape(schema, v)), new.map(|v| item::shape(schema, v)));
    match (old, new, shapes) {
        (Some(before), Some(after), (Some(one), Some(other))) if one != other => {
            // Null and an empty container are alike; everything else is of one type, unless nothing is known of the type.
            if before.is_null() {
                return walk_below(schema, other, old, new, found);
            }
            if after.is_null() {
                return walk_below(schema, one, old, new, found);
            }
            found = walk_below(schema, one, old, None, found);
            found = walk_below(schema, other, None, new, found);
            found.changed = true;
            found
        }
        (_, _, (Some(shape), _) | (None, Some(shape))) => walk_below(schema, shape, old, new, found),
        (_, _, (None, None)) => found,
    }
}

fn walk_below(schema: &Schema, shape: Shape, old: Option<&Value>, new: Option<&Value>, mut found: Found) -> Found {
    if shape == Shape::Leaf || (item::is_bare(old) && item::is_bare(new)) {
        found.changed |= old.is_some() && new.is_some() && old != new;
        return found;
    }
    if shape == Shape::Map {
        let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        for (name, before) in old.into_iter().flatten() {
            found.below.nest(
                || format!("f:{name}"),
                schema.field(name),
                Some(before),
                new.and_then(|new| new.get(name)),
            );
        }
        for (name, after) in new.into_iter().flatten() {
            if old.is_none_or(|old| !old.contains_key(name)) {
                found
                    .below
                    .nest(|| format!("f:{name}"), schema.field(name), None, Some(after));
            }
        }
        return found;
    }
    let (old, new) = (item::groups(schema, old), item::groups(schema, new));
    for element in old
        .keys()
        .chain(new.keys().filter(|element| !old.contains_key(*element)))
    {
        let [before, after] = [&old, &new].map(|items| items.get(element).map_or(&[][..], Vec::as_slice));
        // What is there twice is one field, whatever is in it; beside it, an item that is there once comes or goes whole.
        let [one, other] = [before, after].map(|items| if items.len() > 1 { None } else { items.first().copied() });
        found.below.nest(|| element.clone(), schema.item(), one, other);
        let whole = FieldSet::default;
        match (before.len() > 1, after.len() > 1) {
            (true, true) if before == after => {}
            (_, true) => found.below.changed.insert(element.clone(), true, whole()),
            (true, false) => found.below.removed.insert(element.clone(), true, whole()),
            (false, false) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::schema::parse::parse;
    use serde_json::json;

    fn schema() -> Schema {
        parse(&json!({"type": "object", "properties": {
            "data": {"type": "object", "additionalProperties": {"type": "string"}},
            "part": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}}))
        .unwrap()
    }

    fn changed(old: &Value, new: &Value) -> (Vec<String>, Vec<String>) {
        let found = compare(&schema(), old, new);
        (found.changed.paths(), found.removed.paths())
    }

    #[test]
    fn containers_that_come_and_go_count() {
        let (one, two) = (json!({}), json!({"part": {"a": 1}}));
        let both = vec![".part".to_owned(), ".part.a".to_owned()];
        assert_eq!(changed(&one, &two), (both.clone(), vec![]));
        assert_eq!(changed(&two, &one), (vec![], both));
        let only = vec![".part.a".to_owned()];
        assert_eq!(changed(&json!({"part": null}), &two), (only.clone(), vec![]));
        assert_eq!(changed(&json!({"part": {}}), &two), (only, vec![]));
    }

    #[test]
    fn null_and_empty_differ_as_leaves() {
        assert_eq!(
            changed(&json!({"data": null}), &json!({"data": {}})),
            (vec![".data".to_owned()], vec![])
        );
        assert_eq!(
            changed(&json!({"tags": ["a"]}), &json!({"tags": ["b"]})),
            (vec![".tags[=\"b\"]".to_owned()], vec![".tags[=\"a\"]".to_owned()])
        );
    }
}
