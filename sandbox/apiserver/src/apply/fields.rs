//! Sets of fields, in the `fieldsV1` form of `metadata.managedFields`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Map, Value};

use crate::schema::Schema;

/// A set of fields as a tree. Keys are `fieldsV1` path elements: `f:name`, `k:{…}`, `v:…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    pub(crate) nodes: BTreeMap<String, Node>,
}

/// A node of a set: whether the path itself is a member, and what lies below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) member: bool,
    pub(crate) below: FieldSet,
}

impl FieldSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A leaf, or a subtree whose root is itself a member.
    pub(crate) fn insert(&mut self, element: String, member: bool, below: FieldSet) {
        if !member && below.is_empty() {
            return;
        }
        match self.nodes.entry(element) {
            Entry::Vacant(place) => drop(place.insert(Node { member, below })),
            Entry::Occupied(mut node) => {
                let node = node.get_mut();
                node.member |= member;
                node.below.unite(below);
            }
        }
    }

    /// Adds every member of `other`.
    pub(crate) fn unite(&mut self, other: FieldSet) {
        for (element, node) in other.nodes {
            self.insert(element, node.member, node.below);
        }
    }

    /// Members of both.
    pub(crate) fn intersection(&self, other: &FieldSet) -> FieldSet {
        let mut out = FieldSet::default();
        for (element, node) in &self.nodes {
            if let Some(theirs) = other.nodes.get(element) {
                out.insert(
                    element.clone(),
                    node.member && theirs.member,
                    node.below.intersection(&theirs.below),
                );
            }
        }
        out
    }

    /// Members of this set only.
    pub(crate) fn difference(&self, other: &FieldSet) -> FieldSet {
        let mut out = FieldSet::default();
        for (element, node) in &self.nodes {
            match other.nodes.get(element) {
                None => out.insert(element.clone(), node.member, node.below.clone()),
                Some(theirs) => {
                    out.insert(
                        element.clone(),
                        node.member && !theirs.member,
                        node.below.difference(&theirs.below),
                    );
                }
            }
        }
        out
    }

    /// Takes the members of `other` out.
    pub(crate) fn subtract(&mut self, other: &FieldSet) {
        for (element, theirs) in &other.nodes {
            let Some(node) = self.nodes.get_mut(element) else {
                continue;
            };
            node.member &= !theirs.member;
            node.below.subtract(&theirs.below);
            if !node.member && node.below.is_empty() {
                self.nodes.remove(element);
            }
        }
    }

    /// Drops a path of fields and what lies below it.
    pub(crate) fn drop_path(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let element = format!("f:{first}");
        if rest.is_empty() {
            self.nodes.remove(&element);
        } else if let Some(node) = self.nodes.get_mut(&element) {
            node.below.drop_path(rest);
            if !node.member && node.below.is_empty() {
                self.nodes.remove(&element);
            }
        }
    }

    /// Every member, as paths in Kubernetes' notation: `.spec.ports[name="http"].port`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect_paths("", &mut out);
        out
    }

    /// The members of a level come before what lies below any of them, as upstream lists them.
    fn collect_paths(&self, prefix: &str, out: &mut Vec<String>) {
        let path = |element: &str| format!("{prefix}{}", printed(element));
        let members = self.nodes.iter().filter(|(_, node)| node.member);
        out.extend(members.map(|(element, _)| path(element)));
        for (element, node) in &self.nodes {
            node.below.collect_paths(&path(element), out);
        }
    }

    /// Each field of a struct that has members below it is one, too: with the last of them it goes itself. The keys of
    /// maps and the items of lists are members only where they were named.
    pub(crate) fn with_named_parents(&self, schema: &Schema) -> Self {
        let mut out = Self::default();
        for (element, node) in &self.nodes {
            let name = element.strip_prefix("f:");
            let inner = name.map_or_else(|| schema.item(), |name| schema.field(name));
            let named = name.is_some_and(|name| schema.properties.contains_key(name));
            let member = node.member || (named && !node.below.is_empty());
            out.insert(element.clone(), member, node.below.with_named_parents(inner));
        }
        out
    }

    /// Takes one path of fields out; what lies below it stays.
    pub(crate) fn forget(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let element = format!("f:{first}");
        let Some(node) = self.nodes.get_mut(&element) else {
            return;
        };
        if rest.is_empty() {
            node.member = false;
        } else {
            node.below.forget(rest);
        }
        if !node.member && node.below.is_empty() {
            self.nodes.remove(&element);
        }
    }

    /// `fieldsV1`.
    pub(crate) fn to_json(&self) -> Value {
        let mut out = Map::new();
        for (element, node) in &self.nodes {
            let mut below = node.below.to_json();
            if node.member
                && !node.below.is_empty()
                && let Value::Object(fields) = &mut below
            {
                fields.insert(".".to_owned(), Value::Object(Map::new()));
            }
            out.insert(element.clone(), below);
        }
        Value::Object(out)
    }

    /// Reads `fieldsV1`; elements that are no path elements are ignored.
    pub(crate) fn from_json(json: &Value) -> Self {
        let mut out = Self::default();
        for (element, below) in json
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(element, _)| element.as_str() != ".")
        {
            let empty = below.as_object().is_none_or(Map::is_empty);
            let member = empty || below.get(".").is_some();
            out.insert(element.clone(), member, Self::from_json(below));
        }
        out
    }
}

/// A path element in Kubernetes' notation.
pub(super) fn printed(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys = keys
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>();
            format!("[{}]", keys.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        _ => format!("[{element}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_json_form_round_trips() {
        let json = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:ports": {"k:{\"port\":80}": {".": {}, "f:port": {}}}, "f:replicas": {}}});
        let set = FieldSet::from_json(&json);
        assert_eq!(set.to_json(), json);
        assert_eq!(
            set.paths(),
            [
                ".metadata.labels",
                ".metadata.labels.app",
                ".spec.replicas",
                ".spec.ports[port=80]",
                ".spec.ports[port=80].port"
            ]
        );
    }

    #[test]
    fn difference_and_intersection_part_a_set() {
        let a = FieldSet::from_json(&json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
        let b = FieldSet::from_json(&json!({"f:a": {"f:b": {}}, "f:d": {}}));
        assert_eq!(a.intersection(&b).paths(), [".a.b"]);
        assert_eq!(a.difference(&b).paths(), [".a", ".c"]);
        assert!(a.difference(&a).is_empty());
        for other in [&a, &b, &FieldSet::default()] {
            let mut rest = a.clone();
            rest.subtract(other);
            assert_eq!(rest, a.difference(other));
        }
    }
}
