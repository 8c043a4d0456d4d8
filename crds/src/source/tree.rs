//! A YAML document as a tree that remembers where each value stands.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Location, NonFiniteFloatPolicy, Spanned};

use super::{
    diagnostics::{Finding, Place},
    limits,
};

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A field and its place. A key that is stated twice is there twice.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

/// Reads every document of a text. What is not YAML is one finding; empty documents are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Finding> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: limits::DEPTH,
            flow_nesting_limit: limits::DEPTH,
            max_nodes: limits::NODES,
            max_events: limits::EVENTS,
            max_aliases: limits::ALIASES,
            max_documents: limits::DOCUMENTS,
            max_total_scalar_bytes: limits::TEXT_MIB << 20,
            max_recorded_anchor_bytes: limits::TEXT_MIB << 20,
            max_recorded_anchor_events: limits::ANCHORED,
            // Few anchors may have many aliases: what those repeat is bounded.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: limits::REPEATED,
            max_replay_stack_depth: limits::DEPTH,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        // Refused where the schema is, beside every other mistake.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let documents = serde_saphyr::from_multiple_with_options::<Spanned<Raw>>(text, options).map_err(|error| {
        let place = error.location().map(Place::from).unwrap_or_default();
        Finding::new(place, "", limits::words(&error))
    })?;
    Ok(documents.into_iter().map(Node::from).collect())
}

impl Node {
    /// The last entry of this key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().rev().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The text of a field, if it is one.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Where a path such as `spec.regions[1].weight` stands, or as much of it as there is.
    pub(super) fn locate(&self, path: &str) -> Place {
        self.follow(path).0
    }

    /// The same, and whether all of the path is there.
    pub(super) fn follow(&self, path: &str) -> (Place, bool) {
        let (mut node, mut place) = (self, self.place);
        for step in path
            .split(['.', '['])
            .map(|step| step.trim_end_matches(']'))
            .filter(|step| !step.is_empty())
        {
            let (next, at) = match &node.kind {
                Kind::List(items) => match step.parse().ok().and_then(|index: usize| items.get(index)) {
                    Some(item) => (item, item.place),
                    None => return (place, false),
                },
                _ => match node.get(step) {
                    // A field with a text or a number is known by that; one with more, by its name.
                    Some(entry) if matches!(entry.value.kind, Kind::Map(_) | Kind::List(_)) => {
                        (&entry.value, entry.place)
                    }
                    Some(entry) => (&entry.value, entry.value.place),
                    None => return (place, false),
                },
            };
            (node, place) = (next, at);
        }
        (place, true)
    }

    /// The same without places. Of a key that is stated twice the last counts.
    pub(super) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => (*value).into(),
            Kind::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => (*value as f64).into(),
            },
            Kind::Float(value) => (*value).into(),
            Kind::Text(value) => value.as_str().into(),
            Kind::List(items) => items.iter().map(Node::to_json).collect(),
            Kind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.value.to_json()))
                    .collect(),
            ),
        }
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let span = location.span();
        Self {
            line: number(location.line()),
            column: number(location.column()),
            offset: number(span.byte_offset().unwrap_or_default()),
            length: number(span.byte_len().unwrap_or_default()),
        }
    }
}

impl From<Spanned<Raw>> for Node {
    fn from(spanned: Spanned<Raw>) -> Self {
        let kind = match spanned.value {
            Raw::Scalar(kind) => kind,
            Raw::List(items) => Kind::List(items.into_iter().map(Node::from).collect()),
            Raw::Map(entries) => {
                let entry = |(key, value): (Spanned<String>, _)| {
                    let place = key.referenced.into();
                    let mut value = Node::from(value);
                    if matches!(value.kind, Kind::Null) {
                        // Nothing stands there to point at.
                        value.place = place;
                    }
                    Entry {
                        key: key.value,
                        place,
                        value,
                    }
                };
                Kind::Map(entries.into_iter().map(entry).collect())
            }
        };
        Self {
            place: spanned.referenced.into(),
            kind,
        }
    }
}

/// What serde reads: the same tree before places are unwrapped.
enum Raw {
    Scalar(Kind),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Integer(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Integer(value.into())))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Integer(value)))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Scalar(
            i128::try_from(value).map_or(Kind::Float(value as f64), Kind::Integer),
        ))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Text(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Text(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
