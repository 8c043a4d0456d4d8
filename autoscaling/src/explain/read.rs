//! YAML and JSON as objects that remember where they stand.

use std::fmt::{self, Display};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::{Location, Spanned};

/// A file: its name, and its text.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// What mistakes are reported under; empty for a text without a name.
    pub name: &'a str,
    /// One or several YAML documents, or JSON.
    pub text: &'a str,
}

/// An object and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) value: Value,
    /// `file:line:column`; empty for what comes from no file.
    place: String,
}

impl Object {
    /// The objects of a list (`List`, `PodList`, …), or the object itself.
    pub(super) fn flatten(value: Value) -> Vec<Self> {
        let mut all = Vec::new();
        flatten(value, "", &mut all);
        all
    }

    /// A mistake in this object, with its place, kind and name.
    pub(super) fn wrong(&self, mistake: &dyn Display) -> String {
        let part = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let (kind, name) = (part(&self.value["kind"]), part(&self.value["metadata"]["name"]));
        let separator = if self.place.is_empty() { "" } else { ": " };
        format!("{}{separator}{kind} {name}: {mistake}", self.place)
    }
}

fn flatten(value: Value, place: &str, into: &mut Vec<Object>) {
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    let Some(items) = value["items"].as_array().filter(|_| kind.ends_with("List")) else {
        if !value.is_null() {
            into.push(Object {
                value,
                place: place.to_owned(),
            });
        }
        return;
    };
    for item in items {
        flatten(typed(item.clone(), &kind), place, into);
    }
}

/// Items of a typed list do not repeat its kind.
fn typed(mut item: Value, list: &str) -> Value {
    let kind = list.trim_end_matches("List");
    if item.is_object() && item["kind"].is_null() && !kind.is_empty() {
        item["kind"] = Value::from(kind);
    }
    item
}

/// Every object of a file.
pub(super) fn read(file: &File<'_>) -> Result<Vec<Object>, String> {
    // Above what a namespace of thousands of pods prints, below what hurts: an alias bomb ends here.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_nodes: 8_000_000,
            max_events: 16_000_000,
            max_aliases: 1000,
            max_documents: 10_000,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        with_snippet: false,
    };
    let documents =
        serde_saphyr::from_multiple_with_options::<Spanned<Document>>(file.text, options).map_err(|error| {
            let error = error.without_snippet();
            let message = error.to_string();
            // The place is stated once, in front.
            let message = message.split(" at line ").next().unwrap_or(&message);
            let message = message.trim_end_matches([',', ':']);
            match error.location().map(|location| place(file.name, location)) {
                Some(place) if !place.is_empty() => format!("{place}: not YAML or JSON: {message}"),
                _ => format!("not YAML or JSON: {message}"),
            }
        })?;
    let mut all = Vec::new();
    for document in documents {
        let at = place(file.name, document.referenced);
        match document.value {
            Document::Object(value) => flatten(value, &at, &mut all),
            Document::Other => {
                let separator = if at.is_empty() { "" } else { ": " };
                return Err(format!(
                    "{at}{separator}not a Kubernetes object: expected a mapping with `kind` and `metadata`"
                ));
            }
            Document::List { kind, items } => {
                for item in items {
                    flatten(typed(item.value, &kind), &place(file.name, item.referenced), &mut all);
                }
            }
        }
    }
    Ok(all)
}

fn place(file: &str, location: Location) -> String {
    if file.is_empty() {
        return String::new();
    }
    format!("{file}:{}:{}", location.line(), location.column())
}

/// A document: a list whose items keep their places, another object, or what is no object at all.
enum Document {
    Object(Value),
    Other,
    List { kind: String, items: Vec<Spanned<Value>> },
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object: a mapping with `kind` and `metadata`")
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Object(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Document, E> {
        Ok(Document::Object(Value::Null))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Document, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Document::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Document, A::Error> {
        let (mut fields, mut items) = (Map::new(), None);
        while let Some(key) = entries.next_key::<String>()? {
            if key == "items" {
                items = Some(entries.next_value::<Items>()?);
            } else {
                fields.insert(key, entries.next_value()?);
            }
        }
        let kind = fields.get("kind").and_then(Value::as_str).unwrap_or_default();
        Ok(match items {
            Some(Items(items)) if kind.ends_with("List") => Document::List {
                kind: kind.to_owned(),
                items,
            },
            _ => Document::Object(Value::Object(fields)),
        })
    }
}

/// The field `items` of a list.
struct Items(Vec<Spanned<Value>>);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_unit<E>(self) -> Result<Items, E> {
        Ok(Items(Vec::new()))
    }

    fn visit_none<E>(self) -> Result<Items, E> {
        Ok(Items(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Items(items))
    }
}
