//! A tree held against a JSON schema, as far as structural schemas go.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::Value;

use super::{
    diagnostics::{Finding, Place},
    mend::stand_in,
    names::{shown, suggest},
    tree::{Entry, Kind, Node},
};
use crate::duration::{self, GoDuration};

/// Mistakes that are put into words. What comes after them is counted: words take time, and nobody reads as many.
pub(super) const SAID: usize = 1000;

/// What a tree comes to.
pub(super) struct Checked {
    /// The tree as JSON: without fields that the schema does not know, and with something valid in place of what the
    /// schema refuses, so that the rest can be held against the rules all the same.
    pub(super) value: Value,
    /// Paths of what was put in place. Nothing may be concluded from what stands there.
    pub(super) mended: Vec<String>,
    /// Mistakes beyond the most that are put into words.
    pub(super) unsaid: usize,
}

/// Adds everything in which a value differs from its schema.
pub(super) fn check(node: &Node, schema: &Value, path: &str, findings: &mut Vec<Finding>) -> Checked {
    let mut checker = Checker {
        findings,
        mended: vec![],
        unsaid: 0,
        patterns: BTreeMap::new(),
    };
    let value = checker.value_or_stand_in(node, schema, path);
    Checked {
        value,
        mended: checker.mended,
        unsaid: checker.unsaid,
    }
}

struct Checker<'a> {
    findings: &'a mut Vec<Finding>,
    mended: Vec<String>,
    unsaid: usize,
    /// Compiled once a document: compiling takes far longer than matching.
    patterns: BTreeMap<String, Option<Regex>>,
}

impl Checker<'_> {
    fn say(&mut self, node: &Node, path: &str, message: impl Into<String>) {
        self.say_at(node.place, || (path.to_owned(), message.into()));
    }

    fn say_at(&mut self, place: Place, words: impl FnOnce() -> (String, String)) {
        if self.findings.len() < SAID {
            let (path, message) = words();
            self.findings.push(Finding::new(place, path, message));
        } else {
            self.unsaid += 1;
        }
    }

    fn value_or_stand_in(&mut self, node: &Node, schema: &Value, path: &str) -> Value {
        self.value(node, schema, path).unwrap_or_else(|| {
            self.mended.push(path.to_owned());
            stand_in(schema)
        })
    }

    /// The value; `None` where it is none of what the schema says.
    fn value(&mut self, node: &Node, schema: &Value, path: &str) -> Option<Value> {
        match (&node.kind, schema["type"].as_str().unwrap_or_default()) {
            (Kind::Map(entries), "object") => Some(self.object(node, entries, schema, path)),
            (Kind::List(items), "array") => Some(self.list(node, items, schema, path)),
            (Kind::Text(text), "string") => self.string(node, text, schema, path),
            (Kind::Integer(value), "integer" | "number") => self.integer(node, *value, schema, path),
            (Kind::Float(value), "number") if value.is_finite() => {
                for message in range(*value, &format!("{value:?}"), schema) {
                    self.say(node, path, message);
                }
                Some(node.to_json())
            }
            // A whole number too large for the parser's integers.
            (Kind::Float(value), "integer") if value.fract() == 0.0 && value.abs() > i64::MAX as f64 => {
                let (least, most) = limits(schema["format"].as_str());
                let mut messages = range(*value, &format!("{value}"), schema);
                if messages.is_empty() {
                    let bound = if *value < 0.0 {
                        format!("below the minimum of {least}")
                    } else {
                        format!("above the maximum of {most}")
                    };
                    messages.push(format!("{value} is {bound}"));
                }
                for message in messages {
                    self.say(node, path, message);
                }
                None
            }
            (Kind::Bool(_), "boolean") => Some(node.to_json()),
            (_, "") => {
                self.anything(node, path);
                Some(node.to_json())
            }
            (Kind::Null, _) if schema["nullable"] == true => Some(Value::Null),
            (Kind::Null, _) => {
                self.say(node, path, "no value is stated; leave the field out for its default");
                None
            }
            (found, wanted) => {
                self.say(
                    node,
                    path,
                    format!("expected {}, found {}", expected(wanted), describe(found)),
                );
                None
            }
        }
    }

    fn list(&mut self, node: &Node, items: &[Node], schema: &Value, path: &str) -> Value {
        for message in length(items.len(), "item", &schema["minItems"], &schema["maxItems"]) {
            self.say(node, path, message);
        }
        // What is beyond the most allowed is not looked at: neither schema nor rules take longer for it.
        let most = number(&schema["maxItems"]).unwrap_or(usize::MAX);
        let values = items.iter().take(most).enumerate();
        values
            .map(|(index, item)| self.value_or_stand_in(item, &schema["items"], &format!("{path}[{index}]")))
            .collect()
    }

    fn object(&mut self, node: &Node, entries: &[Entry], schema: &Value, path: &str) -> Value {
        self.repeated(entries, path);
        let mut fields = serde_json::Map::new();
        let known = schema["properties"].as_object();
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for entry in entries {
            let path = join(path, &entry.key);
            let further = &schema["additionalProperties"];
            if let Some(property) = known.and_then(|known| known.get(&entry.key)) {
                if let Some(value) = self.value(&entry.value, property, &path) {
                    fields.insert(entry.key.clone(), value);
                } else {
                    self.mended.push(path);
                    if required.contains(&entry.key.as_str()) {
                        fields.insert(entry.key.clone(), stand_in(property));
                    }
                }
            } else if further.is_object() {
                let value = self.value_or_stand_in(&entry.value, further, &path);
                fields.insert(entry.key.clone(), value);
            } else if schema["x-kubernetes-preserve-unknown-fields"] == true {
                self.anything(&entry.value, &path);
                fields.insert(entry.key.clone(), entry.value.to_json());
            } else {
                self.say_at(entry.place, || {
                    let names: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                    (path, format!("unknown field{}", suggest(&entry.key, &names)))
                });
            }
        }
        for name in required.into_iter().filter(|name| node.get(name).is_none()) {
            let path = join(path, name);
            self.say(node, &path, "required, and not stated");
            self.mended.push(path);
            fields.insert(name.to_owned(), stand_in(&schema["properties"][name]));
        }
        self.alternatives(node, schema, &mut fields, path);
        let most = number(&schema["maxProperties"]);
        if most.is_some_and(|most| entries.len() > most) {
            let names: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            self.say(node, path, format!("state only one of: {}", names.join(", ")));
            self.mended.push(path.to_owned());
            fields.clear();
        }
        Value::Object(fields)
    }

    /// An enumeration whose variants carry fields: exactly one of them is stated.
    fn alternatives(&mut self, node: &Node, schema: &Value, fields: &mut serde_json::Map<String, Value>, path: &str) {
        let variants = schema["oneOf"].as_array().into_iter().flatten();
        let names: Vec<&str> = variants.filter_map(|one| one["required"][0].as_str()).collect();
        let stated = names.iter().filter(|name| node.get(name).is_some()).count();
        if names.is_empty() {
            return;
        }
        if stated != 1 {
            self.say(node, path, format!("state exactly one of: {}", names.join(", ")));
        }
        if fields.len() != 1 || stated != 1 {
            self.mended.push(path.to_owned());
            if let Value::Object(one) = stand_in(schema) {
                *fields = one;
            }
        }
    }

    fn repeated(&mut self, entries: &[Entry], path: &str) {
        let mut first = BTreeMap::new();
        for entry in entries {
            if let Some(line) = first.get(entry.key.as_str()) {
                let words = || (join(path, &entry.key), format!("stated twice; first on line {line}"));
                self.say_at(entry.place, words);
            } else {
                first.insert(entry.key.as_str(), entry.place.line);
            }
        }
    }

    /// What no schema describes still has to be something that JSON can say, said once.
    fn anything(&mut self, node: &Node, path: &str) {
        match &node.kind {
            Kind::Float(value) if !value.is_finite() => {
                self.say(node, path, format!("expected a number, found {}", describe(&node.kind)));
            }
            Kind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.anything(item, &format!("{path}[{index}]"));
                }
            }
            Kind::Map(entries) => {
                self.repeated(entries, path);
                for entry in entries {
                    self.anything(&entry.value, &join(path, &entry.key));
                }
            }
            _ => {}
        }
    }

    fn integer(&mut self, node: &Node, value: i128, schema: &Value, path: &str) -> Option<Value> {
        let (least, most) = limits(schema["format"].as_str());
        let fits = (least..=most).contains(&value);
        let mut messages = range(value as f64, &value.to_string(), schema);
        if !fits && messages.is_empty() {
            messages.push(if value < least {
                format!("{value} is below the minimum of {least}")
            } else {
                format!("{value} is above the maximum of {most}")
            });
        }
        for message in messages {
            self.say(node, path, message);
        }
        fits.then(|| node.to_json())
    }

    /// The text; `None` where nothing could be made of it.
    fn string(&mut self, node: &Node, text: &str, schema: &Value, path: &str) -> Option<Value> {
        if let Some(allowed) = schema["enum"].as_array() {
            let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
            let known: BTreeSet<&str> = allowed.iter().copied().collect();
            if known.contains(text) {
                return Some(text.into());
            }
            let message = format!("`{}` is not a value for this{}", shown(text), suggest(text, &allowed));
            self.say(node, path, message);
            return None;
        }
        let mut messages = length(
            text.chars().count(),
            "character",
            &schema["minLength"],
            &schema["maxLength"],
        );
        let mut usable = true;
        match schema["pattern"].as_str() {
            Some(duration::PATTERN) => {
                if let Err(error) = text.parse::<GoDuration>() {
                    usable = false;
                    messages = vec![error.to_string()];
                }
            }
            Some(pattern) if messages.is_empty() && !self.matches(text, pattern) => {
                messages.push(if pattern == DNS_LABEL {
                    format!(
                        "`{}` is not a DNS label: lower-case letters, digits, and dashes between them",
                        shown(text)
                    )
                } else {
                    format!("`{}` does not match {pattern}", shown(text))
                });
            }
            _ => {}
        }
        if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
            usable = false;
            messages.push(format!(
                "`{}` is not a point in time; write for example 2027-03-05T19:00:00Z",
                shown(text)
            ));
        }
        for message in messages {
            self.say(node, path, message);
        }
        usable.then(|| text.into())
    }

    fn matches(&mut self, text: &str, pattern: &str) -> bool {
        // A pattern that is none would be ours, and is found by the tests: no reader is to blame for it.
        let compiled = self
            .patterns
            .entry(pattern.to_owned())
            .or_insert_with(|| Regex::new(pattern).ok());
        compiled.as_ref().is_some_and(|pattern| pattern.is_match(text))
    }
}

pub(super) const DNS_LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

fn number(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|value| usize::try_from(value).ok())
}

fn length(found: usize, unit: &str, least: &Value, most: &Value) -> Vec<String> {
    let plural = |number: usize| if number == 1 { "" } else { "s" };
    match (number(least), number(most)) {
        (Some(least), _) if found < least => vec![format!("{found} {unit}{}: at least {least} needed", plural(found))],
        (_, Some(most)) if found > most => vec![format!("{found} {unit}s: at most {most} allowed")],
        _ => vec![],
    }
}

fn range(value: f64, written: &str, schema: &Value) -> Vec<String> {
    match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (Some(least), _) if value < least => vec![format!("{written} is below the minimum of {least}")],
        (_, Some(most)) if value > most => vec![format!("{written} is above the maximum of {most}")],
        _ => vec![],
    }
}

/// What an integer of this format can hold.
fn limits(format: Option<&str>) -> (i128, i128) {
    match format {
        Some("uint8") => (0, u8::MAX.into()),
        Some("uint16") => (0, u16::MAX.into()),
        Some("uint32") => (0, u32::MAX.into()),
        Some("uint64" | "uint") => (0, u64::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

fn expected(wanted: &str) -> &'static str {
    match wanted {
        "object" => "fields",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        _ => "true or false",
    }
}

/// What was found, in words.
pub(super) fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Null => "nothing".into(),
        Kind::Bool(value) => format!("{value}"),
        Kind::Integer(value) => format!("the number {value}"),
        Kind::Float(value) if value.is_nan() => "`.nan`".into(),
        Kind::Float(value) if value.is_infinite() => "an infinite number".into(),
        Kind::Float(value) => format!("the number {value:?}"),
        Kind::Text(text) => format!("the text `{}`", shown(text)),
        Kind::List(_) => "a list".into(),
        Kind::Map(_) => "fields".into(),
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    let name = shown(name);
    if path.is_empty() {
        name
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{crd, source::tree};

    /// An API server refuses a definition whose defaults break its own schema.
    fn defaults(schema: &Value, path: &str) {
        if let Some(default) = schema.get("default") {
            // JSON is YAML; a default of an object's is read as the object would be.
            let text = serde_json::to_string(&serde_json::json!([default])).unwrap();
            let nodes = tree::parse(&text).unwrap();
            let mut findings = vec![];
            check(
                &nodes[0],
                &serde_json::json!({"type": "array", "items": schema}),
                path,
                &mut findings,
            );
            assert!(findings.is_empty(), "{path}: {findings:?}");
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            defaults(property, &join(path, name));
        }
        if schema["items"].is_object() {
            defaults(&schema["items"], &format!("{path}[]"));
        }
    }

    #[test]
    fn defaults_satisfy_their_own_schema() {
        for crd in crd::all_crds() {
            defaults(&crd::schema(&crd), &crd.spec.names.kind);
        }
    }

    #[test]
    fn every_pattern_compiles() {
        fn patterns(schema: &Value, found: &mut Vec<String>) {
            match schema {
                Value::Object(fields) => {
                    found.extend(fields.get("pattern").and_then(Value::as_str).map(str::to_owned));
                    fields.values().for_each(|value| patterns(value, found));
                }
                Value::Array(items) => items.iter().for_each(|item| patterns(item, found)),
                _ => {}
            }
        }
        let mut found = vec![];
        for crd in crd::all_crds() {
            patterns(&crd::schema(&crd), &mut found);
        }
        assert!(!found.is_empty());
        for pattern in found {
            assert!(Regex::new(&pattern).is_ok(), "{pattern}");
        }
    }
}
