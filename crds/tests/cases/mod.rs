//! Each rule, broken: objects that differ from a valid one in a single thing, and what is said about it.
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

pub(crate) mod platform;
pub(crate) mod premiere;
pub(crate) mod scenario;

use serde_json::Value;

/// An object and the rules that it breaks.
pub(crate) struct Case {
    /// The object as JSON.
    pub(crate) object: Value,
    /// Path and beginning of the message of each violation.
    pub(crate) broken: &'static [(&'static str, &'static str)],
}

/// A valid object after a change.
fn case(mut object: Value, change: fn(&mut Value), broken: &'static [(&'static str, &'static str)]) -> Case {
    change(&mut object);
    Case { object, broken }
}
