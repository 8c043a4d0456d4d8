//! Every request of a test with its answer, with what differs between any two runs masked.
//!
//! A run on the embedded server is compared with the recorded traces of the real one, so that a machine without Kubernetes
//! checks fidelity too.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<Value>,
    pub(crate) code: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Value,
}

/// What one test asked and was answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    exchanges: Vec<Exchange>,
    /// Texts that each run makes up, and what stands for them.
    known: Vec<(String, String)>,
}

impl Trace {
    pub(crate) fn push(&mut self, exchange: Exchange) {
        self.exchanges.push(exchange);
    }

    /// From now on `text` is written as `name`, wherever it stands.
    pub(crate) fn mask(&mut self, text: &str, name: &str) {
        self.known.push((text.to_owned(), name.to_owned()));
    }

    /// The exchanges, masked.
    pub(crate) fn masked(&self) -> Vec<Exchange> {
        let mut masks = Masks::default();
        let exchanges = self.exchanges.iter();
        exchanges
            .map(|exchange| {
                let mut exchange = exchange.clone();
                drop_global(&mut exchange);
                exchange.path = masks.text(&self.known, &exchange.path);
                for value in exchange.sent.iter_mut().chain([&mut exchange.body]) {
                    masks.value(&self.known, value);
                }
                exchange
            })
            .collect()
    }
}

/// Numbers uids and versions by their first appearance: two that are equal stay equal, and two that differ stay different.
#[derive(Default)]
struct Masks(HashMap<(&'static str, String), String>);

impl Masks {
    fn name(&mut self, kind: &'static str, text: &str) -> String {
        let next = self.0.keys().filter(|(of, _)| *of == kind).count() + 1;
        self.0
            .entry((kind, text.to_owned()))
            .or_insert_with(|| format!("<{kind} {next}>"))
            .clone()
    }

    fn value(&mut self, known: &[(String, String)], value: &mut Value) {
        match value {
            Value::Object(fields) => {
                if fields.keys().any(|key| key.starts_with("k:")) {
                    // Items of lists are named by their keys, of which a uid may be one.
                    let named = std::mem::take(fields).into_iter();
                    *fields = named.map(|(key, value)| (self.text(known, &key), value)).collect();
                }
                for (key, value) in fields {
                    match (key.as_str(), &*value) {
                        ("resourceVersion", Value::String(text)) if !text.is_empty() => {
                            *value = Value::String(self.name("version", text));
                        }
                        ("uid", Value::String(text)) if !text.is_empty() => {
                            *value = Value::String(self.name("uid", text));
                        }
                        ("continue", Value::String(text)) if !text.is_empty() => {
                            *value = Value::String("<continue>".into());
                        }
                        _ => self.value(known, value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(known, item)),
            Value::String(text) => *text = self.text(known, text),
            _ => {}
        }
    }

    fn text(&mut self, known: &[(String, String)], text: &str) -> String {
        let text = times().replace_all(text, "<time>").into_owned();
        let text = addresses().replace_all(&text, "<address>").into_owned();
        let text = versions().replace_all(&text, "$1<version>").into_owned();
        let mut text = known.iter().fold(text, |text, (from, to)| text.replace(from, to));
        for ((_, from), to) in self.0.iter().filter(|((kind, _), _)| *kind == "uid") {
            text = text.replace(from, to);
        }
        // Tokens and versions in queries.
        for parameter in ["continue=", "resourceVersion="] {
            if let Some(at) = text.find(parameter) {
                let from = at + parameter.len();
                let to = text[from..].find('&').map_or(text.len(), |end| from + end);
                if &text[from..to] != "0" {
                    text.replace_range(from..to, "<opaque>");
                }
            }
        }
        text
    }
}

/// Takes out what depends on all that a server has done, and what the embedded one is known to write besides.
fn drop_global(exchange: &mut Exchange) {
    let event = exchange.method == "EVENT";
    if event && exchange.body["type"] == "BOOKMARK" {
        exchange.body["object"]["metadata"]["resourceVersion"] = Value::Null;
    }
    let object = if event { "/object" } else { "" };
    if let Some(object) = exchange.body.pointer_mut(object) {
        drop_account(object);
        if object["kind"] == "PodList" {
            let items = object.get_mut("items").and_then(Value::as_array_mut);
            items.into_iter().flatten().for_each(drop_account);
        }
    }
    if exchange.body["kind"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("List"))
    {
        if let Some(metadata) = exchange.body["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        // On the list of exclusions.
        for item in exchange.body["items"].as_array_mut().into_iter().flatten() {
            if let Some(fields) = item.as_object_mut() {
                fields.remove("kind");
                fields.remove("apiVersion");
            }
        }
    }
}

/// Takes the service account that nobody named out of a pod: the plugin that names it is off in the control plane that is
/// recorded, for it would mount a token.
fn drop_account(object: &mut Value) {
    let unnamed = |field: &str, value: &Value| field.starts_with("serviceAccount") && value == "default";
    let pod = object.get("kind").is_none_or(|kind| kind == "Pod");
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut).filter(|_| pod) {
        spec.retain(|field, value| !unnamed(field, value));
    }
}

/// An exchange without what has no order, or depends on the clock or on the order of fields in a text.
pub(crate) fn normal(mut exchange: Exchange) -> Exchange {
    if exchange.code >= 400 {
        // On the list of exclusions: the embedded server warns of what it does alone.
        exchange.warnings.clear();
    }
    let body = match exchange.method.as_str() {
        "EVENT" => &mut exchange.body["object"],
        _ => &mut exchange.body,
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(entries) = body
        .pointer_mut("/metadata/managedFields")
        .and_then(Value::as_array_mut)
    {
        // By time otherwise, which two servers need not agree on to the second.
        entries.sort_by_key(|entry| {
            ["operation", "manager", "apiVersion", "subresource"].map(|field| text(&entry[field]))
        });
    }
    if let Some((head, errors)) = text(&body["message"]).split_once("errors:\n") {
        // In the order of a Go map.
        let mut errors: Vec<&str> = errors.lines().collect();
        errors.sort_unstable();
        body["message"] = format!("{head}errors:\n{}", errors.join("\n")).into();
    }
    let mut whole = false;
    if let Some(causes) = body.pointer_mut("/details/causes").and_then(Value::as_array_mut) {
        causes.sort_by_key(|cause| [text(&cause["field"]), text(&cause["message"])]);
        // How often a cause is told is how often upstream looks.
        causes.dedup();
        for cause in causes.iter_mut().filter(|cause| cause["field"] == "patch") {
            // The message holds the whole object or patch, as it was printed.
            cause["message"] = "<message>".into();
            whole = true;
        }
    }
    let several = body
        .pointer("/details/causes")
        .and_then(Value::as_array)
        .is_some_and(|all| all.len() > 1);
    if whole || (several && exchange.code == 422) {
        // What several causes say is in the causes; the message has them in the order of a Go map.
        body["message"] = "<message>".into();
    }
    exchange
}

/// RFC 3339, as Kubernetes writes it: `2026-01-02T03:04:05Z`, with or without a fraction.
fn times() -> &'static Regex {
    static TIMES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").unwrap());
    &TIMES
}

/// Versions in sentences.
fn versions() -> &'static Regex {
    static VERSIONS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(, current: |ResourceVersion in record \()\d+").unwrap());
    &VERSIONS
}

/// Addresses of Services, which each server gives out as it likes.
fn addresses() -> &'static Regex {
    static ADDRESSES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"127\.20\.\d+\.\d+").unwrap());
    &ADDRESSES
}
