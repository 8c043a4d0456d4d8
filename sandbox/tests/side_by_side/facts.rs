//! What was observed of a history, and how far two observations may be apart: pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Times may differ by this many seconds…
const SECONDS: f64 = 3.0;
/// …and by this share of what was recorded: control loops look at things in turns, and machines are slow in different ways.
const SHARE: f64 = 0.25;

/// What was observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// What must be the same.
    pub(crate) exact: BTreeMap<String, Value>,
    /// How long something took, in seconds: compared within bounds.
    pub(crate) seconds: BTreeMap<String, f64>,
}

impl Facts {
    pub(crate) fn fact(&mut self, name: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).unwrap();
        assert!(self.exact.insert(name.to_owned(), value).is_none(), "`{name}` twice");
    }

    pub(crate) fn took(&mut self, name: &str, time: std::time::Duration) {
        // A tenth of a second is more than can be told apart.
        let seconds = (time.as_secs_f64() * 10.0).round() / 10.0;
        assert!(
            self.seconds.insert(name.to_owned(), seconds).is_none(),
            "`{name}` twice"
        );
    }
}

/// What of `found` is not as `expected`, a line each.
pub(crate) fn differences(found: &Facts, expected: &Facts) -> Vec<String> {
    let mut lines = Vec::new();
    for name in names(&found.exact, &expected.exact) {
        let (is, should) = (found.exact.get(name), expected.exact.get(name));
        if is != should {
            lines.push(format!("{name} is {}, not {}", show(is), show(should)));
        }
    }
    for name in names(&found.seconds, &expected.seconds) {
        match (found.seconds.get(name), expected.seconds.get(name)) {
            (Some(is), Some(should)) if (is - should).abs() <= SECONDS + SHARE * should => {}
            (is, should) => lines.push(format!("{name} took {is:?} s, not {should:?} s")),
        }
    }
    lines
}

fn names<'a, V>(one: &'a BTreeMap<String, V>, other: &'a BTreeMap<String, V>) -> BTreeSet<&'a String> {
    one.keys().chain(other.keys()).collect()
}

fn show(value: Option<&Value>) -> String {
    value.map_or_else(|| "not known".to_owned(), Value::to_string)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn facts(ready: u32, seconds: u64) -> Facts {
        let mut facts = Facts::default();
        facts.fact("ready", ready);
        facts.took("replaced", Duration::from_secs(seconds));
        facts
    }

    #[test]
    fn facts_must_be_the_same_and_times_near() {
        assert_eq!(differences(&facts(3, 10), &facts(3, 14)), Vec::<String>::new());
        assert_eq!(differences(&facts(2, 10), &facts(3, 10)), ["ready is 2, not 3"]);
        assert_eq!(
            differences(&facts(3, 20), &facts(3, 10)),
            ["replaced took Some(20.0) s, not Some(10.0) s"]
        );
    }

    #[test]
    fn what_only_one_of_them_has_is_a_difference() {
        let nothing = Facts::default();
        assert_eq!(differences(&nothing, &facts(3, 1)).len(), 2);
        assert_eq!(differences(&facts(3, 1), &nothing).len(), 2);
    }
}
