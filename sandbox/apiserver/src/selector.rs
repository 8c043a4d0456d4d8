//! Label and field selectors.

use serde_json::Value;

use crate::builtin::names::{is_label_value, is_qualified_name};
use crate::error::{ApiError, ApiResult};

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

/// A label selector: all requirements hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    /// Parses the query form: `a=b,c!=d,e in (f,g),!h`.
    pub(crate) fn parse(text: &str) -> ApiResult<Self> {
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if !part.is_empty() || text.contains(',') {
                requirements.push(
                    requirement(part)
                        .ok_or_else(|| ApiError::bad_request(format!("unable to parse requirement: {part:?}")))?,
                );
            }
        }
        Ok(Self(requirements))
    }

    /// From `metav1.LabelSelector`. An empty selector selects everything.
    pub(crate) fn from_object(selector: &Value) -> Self {
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            requirements.push(Requirement::In(
                key.clone(),
                vec![value.as_str().unwrap_or_default().to_owned()],
            ));
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let key = expression["key"].as_str().unwrap_or_default().to_owned();
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.filter_map(|v| v.as_str().map(str::to_owned)).collect();
            requirements.push(match expression["operator"].as_str() {
                Some("In") => Requirement::In(key, values),
                Some("NotIn") => Requirement::NotIn(key, values),
                Some("Exists") => Requirement::Exists(key),
                _ => Requirement::Absent(key),
            });
        }
        Self(requirements)
    }

    /// Whether there is nothing to select by.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the object's labels match.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|requirement| {
            let label = |key: &str| labels[key].as_str();
            match requirement {
                Requirement::In(key, values) => label(key).is_some_and(|v| values.iter().any(|x| x == v)),
                Requirement::NotIn(key, values) => label(key).is_none_or(|v| values.iter().all(|x| x != v)),
                Requirement::Exists(key) => label(key).is_some(),
                Requirement::Absent(key) => label(key).is_none(),
                Requirement::Greater(key, n) => label(key).and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v > *n),
                Requirement::Less(key, n) => label(key).and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v < *n),
            }
        })
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (index, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Option<Requirement> {
    let key_of = |key: &str| {
        let key = key.trim();
        is_qualified_name(key).then(|| key.to_owned())
    };
    let value_of = |value: &str| {
        let value = value.trim();
        is_label_value(value).then(|| value.to_owned())
    };
    let values_of = |text: &str| -> Option<Vec<String>> {
        let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
        inner.split(',').map(value_of).collect()
    };
    if let Some((key, value)) = part.split_once("!=") {
        return Some(Requirement::NotIn(key_of(key)?, vec![value_of(value)?]));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Requirement::In(key_of(key)?, vec![value_of(value)?]));
    }
    if let Some((key, values)) = part.split_once(" notin ") {
        return Some(Requirement::NotIn(key_of(key)?, values_of(values)?));
    }
    if let Some((key, values)) = part.split_once(" in ") {
        return Some(Requirement::In(key_of(key)?, values_of(values)?));
    }
    if let Some((key, n)) = part.split_once('>') {
        return Some(Requirement::Greater(key_of(key)?, n.trim().parse().ok()?));
    }
    if let Some((key, n)) = part.split_once('<') {
        return Some(Requirement::Less(key_of(key)?, n.trim().parse().ok()?));
    }
    match part.strip_prefix('!') {
        Some(key) => Some(Requirement::Absent(key_of(key)?)),
        None => Some(Requirement::Exists(key_of(part)?)),
    }
}

/// A field selector: terms `path = value` or `path != value`, all of which hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<(String, bool, String)>);

/// Fields every resource can be selected by.
const COMMON: &[&str] = &["metadata.name", "metadata.namespace"];

impl FieldSelector {
    /// Parses the query form, `a.b=c,d!=e`, for a resource that supports `fields` beside the common ones.
    pub(crate) fn parse(text: &str, fields: &[String]) -> ApiResult<Self> {
        let mut terms = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (path, true, value)
            } else {
                return Err(ApiError::bad_request(format!("invalid field selector: {part:?}")));
            };
            if !COMMON.contains(&path) && !fields.iter().any(|f| f == path) {
                return Err(ApiError::bad_request(if fields.is_empty() {
                    format!("{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
                } else {
                    format!("field label not supported: {path}")
                }));
            }
            terms.push((path.to_owned(), equal, value.to_owned()));
        }
        Ok(Self(terms))
    }

    /// Whether there is nothing to select by.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name asked for, where the selector pins one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|(path, equal, _)| *equal && path == "metadata.name")
            .map(|(_, _, value)| value.as_str())
    }

    /// Whether the object's fields match.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0
            .iter()
            .all(|(path, equal, wanted)| (text_at(object, path) == *wanted) == *equal)
    }
}

fn text_at(object: &Value, path: &str) -> String {
    let mut node = object;
    for part in path.split('.') {
        node = &node[part];
    }
    match node {
        Value::Null => default_text(path).to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What an absent field selects as.
fn default_text(path: &str) -> &'static str {
    match path {
        "spec.unschedulable" | "spec.hostNetwork" => "false",
        "status.successful" | "status.replicas" => "0",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn label_selectors_read_equality_and_sets() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "edge", "n": "4"}}});
        for (text, wanted) in [
            ("app=web", true),
            ("app==web,tier!=core", true),
            ("app in (web, api),tier notin (core)", true),
            ("app in (api)", false),
            ("!missing,app", true),
            ("missing", false),
            ("missing!=x", true),
            ("n>3,n<5", true),
            ("n>4", false),
            ("", true),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().matches(&object), wanted, "{text}");
        }
        assert!(LabelSelector::parse("a b c").is_err());
    }

    #[test]
    fn field_selectors_refuse_fields_nobody_indexes() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}});
        let fields = ["spec.nodeName".to_owned(), "spec.unschedulable".to_owned()];
        assert!(
            FieldSelector::parse("spec.nodeName=n1,metadata.name!=b", &fields)
                .unwrap()
                .matches(&object)
        );
        assert!(
            !FieldSelector::parse("spec.nodeName=n2", &fields)
                .unwrap()
                .matches(&object)
        );
        assert!(
            FieldSelector::parse("spec.unschedulable=false", &fields)
                .unwrap()
                .matches(&object)
        );
        let error = FieldSelector::parse("spec.foo=1", &fields).unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (400, "field label not supported: spec.foo")
        );
    }
}
