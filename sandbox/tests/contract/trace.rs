//! Every request of a test with its answer, with what differs between any two runs masked.
//!
//! Where traces of the real server were recorded, a run on the embedded one is compared with them, so that a machine without
//! Kubernetes checks fidelity too. None is committed yet.

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
                for (key, value) in fields {
                    match (key.as_str(), &*value) {
                        ("resourceVersion", Value::String(text)) if !text.is_empty() => {
                            *value = Value::String(self.name("version", text));
                        }
                        ("uid", Value::String(text)) => *value = Value::String(self.name("uid", text)),
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

/// RFC 3339, as Kubernetes writes it: `2026-01-02T03:04:05Z`, with or without a fraction.
fn times() -> &'static Regex {
    static TIMES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").unwrap());
    &TIMES
}
