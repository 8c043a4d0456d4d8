//! Recorded traces of the real server, and what of them the embedded server is known to answer otherwise.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::registry::Test;
use crate::trace::Exchange;

/// A test whose answers differ in a way that it does not assert, and why that is so.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/recorded")
}

fn path(test: &Test) -> PathBuf {
    folder().join(test.suite).join(format!("{}.json", test.name))
}

/// Whether there are any traces to compare with.
pub(crate) fn exist() -> bool {
    folder().is_dir()
}

/// Writes what the real server answered.
pub(crate) fn write(test: &Test, exchanges: &[Exchange]) -> Result<(), String> {
    let path = path(test);
    let text = serde_json::to_string_pretty(exchanges).unwrap() + "\n";
    std::fs::create_dir_all(path.parent().unwrap())
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Holds what the embedded server answered against what the real one did.
pub(crate) fn compare(test: &Test, exchanges: &[Exchange]) -> Result<(), String> {
    if !exist() {
        return Ok(());
    }
    let path = path(test);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!(
            "no trace of the real server, {}: {error}; record it with CONTRACT_RECORD=1",
            path.display()
        )
    })?;
    let real: Vec<Exchange> = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let different = DIFFERENT.iter().find(|(name, _)| *name == test.full_name());
    match (difference(&real, exchanges), different) {
        (None, None) | (Some(_), Some(_)) => Ok(()),
        (Some(found), None) => Err(format!("differs from the trace of the real server: {found}")),
        (None, Some((_, why))) => Err(format!(
            "answers as the real server does, but is on the list of differences ({why}): take it off"
        )),
    }
}

/// The first difference, in words.
fn difference(real: &[Exchange], ours: &[Exchange]) -> Option<String> {
    for (index, (real, ours)) in real.iter().zip(ours).enumerate() {
        let asked = format!("request {}, {} {}", index + 1, real.method, real.path);
        if (&real.method, &real.path) != (&ours.method, &ours.path) {
            return Some(format!("{asked}: here it is {} {}", ours.method, ours.path));
        }
        if real.code != ours.code {
            return Some(format!("{asked}: real {}, here {}", real.code, ours.code));
        }
        if real.warnings != ours.warnings {
            return Some(format!(
                "{asked}: real warns {:?}, here {:?}",
                real.warnings, ours.warnings
            ));
        }
        if let Some(found) = at(&real.body, &ours.body, "") {
            return Some(format!("{asked}: {found}"));
        }
    }
    (real.len() != ours.len()).then(|| format!("real made {} requests, here {}", real.len(), ours.len()))
}

/// The first place where two values differ.
fn at(real: &Value, ours: &Value, path: &str) -> Option<String> {
    match (real, ours) {
        (Value::Object(left), Value::Object(right)) => {
            let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
            let null = Value::Null;
            let mut keys = keys;
            keys.find_map(|key| {
                let (left, right) = (left.get(key), right.get(key));
                if left.is_some() != right.is_some() {
                    let (side, value) = if left.is_some() {
                        ("real alone", left)
                    } else {
                        ("here alone", right)
                    };
                    return Some(format!("{path}/{key}: {side}: {}", value.unwrap_or(&null)));
                }
                at(left?, right?, &format!("{path}/{key}"))
            })
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let mut items = left.iter().zip(right).enumerate();
            items.find_map(|(index, (left, right))| at(left, right, &format!("{path}/{index}")))
        }
        _ if real == ours => None,
        _ => Some(format!("{path}: real {real}, here {ours}")),
    }
}
