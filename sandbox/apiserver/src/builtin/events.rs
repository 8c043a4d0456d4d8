//! What the server checks of Events. They are kept in the form of core/v1, and one with an `eventTime` is of the new kind,
//! by whichever group it comes.

use serde_json::Value;

use super::names;
use crate::error::Cause;
use crate::registry::ResourceDef;

/// Longest of each field of a new Event, in characters.
const LIMITS: [(&str, usize); 4] = [
    ("reportingInstance", 128),
    ("action", 128),
    ("reason", 128),
    ("message", 1024),
];
/// What events.k8s.io keeps for Events of the old kind.
const OLD: [&str; 4] = ["firstTimestamp", "lastTimestamp", "count", "source"];
/// What an update through events.k8s.io must leave as it is.
const FIXED: [&str; 13] = [
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
];

/// Checks an Event; `old` where it replaces one.
pub(crate) fn validate(def: &ResourceDef, event: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    common(def, event, causes);
    if def.group.is_empty() {
        return;
    }
    if old.is_none_or(|old| old["series"] != event["series"]) {
        series(&event["series"], causes);
    }
    if let Some(old) = old {
        for field in FIXED.iter().filter(|field| old[**field] != event[**field]) {
            causes.push(Cause::invalid(*field, &event[*field], "field is immutable"));
        }
        return;
    }
    if !event["eventTime"].is_string() {
        causes.push(Cause::required("eventTime", ""));
    }
    let kind = event["type"].as_str().unwrap_or_default();
    if !matches!(kind, "Normal" | "Warning") {
        causes.push(Cause::invalid("type", &"".into(), format!("has invalid value: {kind}")));
    }
    for field in OLD.iter().filter(|field| !empty(&event[**field])) {
        causes.push(Cause::invalid(*field, &"".into(), "needs to be unset"));
    }
}

/// What holds in both groups.
fn common(def: &ResourceDef, event: &Value, causes: &mut Vec<Cause>) {
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    let about = event["involvedObject"]["namespace"].as_str().unwrap_or_default();
    let namespace = event["metadata"]["namespace"].as_str().unwrap_or_default();
    let new = event["eventTime"].is_string();
    // Objects without a namespace are told of in `default`.
    let agree = match (about.is_empty(), new) {
        (true, false) => namespace == "default",
        (true, true) => matches!(namespace, "default" | "kube-system"),
        (false, false) => about == namespace,
        (false, true) => true,
    };
    if !agree {
        let detail = "does not match event.namespace";
        causes.push(Cause::invalid("involvedObject.namespace", &about.into(), detail));
    }
    if !new {
        return;
    }
    let reporter = if def.group.is_empty() {
        "reportingComponent"
    } else {
        "reportingController"
    };
    for (name, stored) in [
        (reporter, "reportingComponent"),
        ("reportingInstance", "reportingInstance"),
        ("action", "action"),
        ("reason", "reason"),
    ] {
        if text(stored).is_empty() {
            causes.push(Cause::required(name, ""));
        }
    }
    let controller = text("reportingComponent");
    for rule in names::qualified_name_faults(controller) {
        causes.push(Cause::invalid(reporter, &controller.into(), rule));
    }
    for (field, limit) in LIMITS {
        if text(field).len() > limit {
            let detail = format!("can have at most {limit} characters");
            causes.push(Cause::invalid(field, &"".into(), detail));
        }
    }
}

fn series(series: &Value, causes: &mut Vec<Cause>) {
    if series.is_null() {
        return;
    }
    if series["count"].as_i64().unwrap_or_default() < 2 {
        causes.push(Cause::invalid("series.count", &"".into(), "should be at least 2"));
    }
    if !series["lastObservedTime"].is_string() {
        causes.push(Cause::required("series.lastObservedTime", ""));
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.values().all(empty),
        _ => false,
    }
}
