//! Recorded traces of the real server, and the places in them where the embedded server is known to answer otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::backend::Kind;
use crate::exclusions;
use crate::registry::Test;
use crate::trace::{Exchange, normal};

/// Where answers differ, and why: a list of lines `["suite::test", ["2/message"], "why"]`, in which `2/message` is the
/// field `message` of the second answer.
const DIFFERENT: &str = "different.jsonl";

/// Files are read and written again, and several tests end at a time.
static TURN: Mutex<()> = Mutex::new(());

/// What the answers to one test differ in, and why that is so.
#[derive(Clone, Debug, Default)]
struct Known {
    places: BTreeSet<String>,
    why: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/recorded")
}

/// The lines of a file; none where there is no file.
fn lines<T: DeserializeOwned>(file: &str) -> Result<Vec<T>, String> {
    let path = folder().join(file);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let lines = text.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn write_lines(file: &str, lines: impl Iterator<Item = Value>) -> Result<(), String> {
    let path = folder().join(file);
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    std::fs::create_dir_all(folder())
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// The traces of a suite, by test: one file for each suite, one line for each test.
fn read(suite: &str) -> Result<BTreeMap<String, Vec<Exchange>>, String> {
    Ok(lines(&format!("{suite}.jsonl"))?.into_iter().collect())
}

fn known() -> Result<BTreeMap<String, Known>, String> {
    let lines = lines::<(String, BTreeSet<String>, String)>(DIFFERENT)?.into_iter();
    Ok(lines.map(|(test, places, why)| (test, Known { places, why })).collect())
}

/// Whether the answers to a test are compared: those to one that the embedded server fails are not.
fn compared(test: &str) -> bool {
    exclusions::find(Kind::Embedded, test).is_none()
}

/// Keeps what the real server answered.
pub(crate) fn write(test: &Test, exchanges: &[Exchange]) -> Result<(), String> {
    if !compared(&test.full_name()) {
        return Ok(());
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut suite = read(test.suite)?;
    let answers = exchanges.iter().cloned().map(|exchange| Exchange {
        // The test says what it sends.
        sent: None,
        content_type: None,
        ..normal(exchange)
    });
    suite.insert(test.name.to_owned(), answers.collect());
    let entries = suite.iter().map(|entry| serde_json::json!(entry));
    write_lines(&format!("{}.jsonl", test.suite), entries)
}

/// Holds what the embedded server answered against what the real one did. Where `record` says so, what differs is written
/// down instead; why must be added by hand.
pub(crate) fn compare(test: &Test, exchanges: &[Exchange], record: bool) -> Result<(), String> {
    let suite = read(test.suite)?;
    let real = suite
        .get(test.name)
        .ok_or("no trace of the real server: record it with CONTRACT_RECORD=1")?;
    let ours: Vec<Exchange> = exchanges.iter().cloned().map(normal).collect();
    let found = differences(real, &ours);
    if record {
        return note(&test.full_name(), &found);
    }
    let listed = known()?.remove(&test.full_name()).unwrap_or_default();
    if let Some(unknown) = found.iter().find(|found| !listed.places.contains(&found.name())) {
        return Err(format!(
            "answers otherwise than the real server, at {}: {}",
            unknown.name(),
            unknown.words
        ));
    }
    match listed
        .places
        .iter()
        .find(|place| found.iter().all(|found| found.name() != **place))
    {
        Some(place) => Err(format!(
            "answers as the real server does at {place}, which is on the list of differences ({}): take it off",
            listed.why
        )),
        None => Ok(()),
    }
}

/// Writes down where the answers to a test differ.
fn note(test: &str, found: &[Difference]) -> Result<(), String> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = known()?;
    for difference in found {
        println!("{test}: {}: {}", difference.name(), difference.words);
    }
    let places: BTreeSet<String> = found.iter().map(Difference::name).collect();
    match all.get_mut(test) {
        Some(entry) => entry.places = places,
        None => drop(all.insert(
            test.to_owned(),
            Known {
                places,
                ..Known::default()
            },
        )),
    }
    all.retain(|_, entry| !entry.places.is_empty());
    let entries = all
        .iter()
        .map(|(test, entry)| serde_json::json!([test, entry.places, entry.why]));
    write_lines(DIFFERENT, entries)
}

/// What is wrong with the files: traces of no test, differences without a reason, and changes to a trace that would go
/// unnoticed. Of each exchange, the code and one value are changed.
pub(crate) fn control(suites: &[&str], all: &[Test]) -> Vec<String> {
    let mut wrong = Vec::new();
    let names: BTreeSet<String> = all.iter().map(Test::full_name).collect();
    match known() {
        Ok(known) => {
            let stale = known
                .iter()
                .filter(|(test, entry)| entry.why.is_empty() || !names.contains(*test));
            wrong.extend(stale.map(|(test, _)| format!("{DIFFERENT}: {test} is no test, or has no reason")));
        }
        Err(why) => wrong.push(why),
    }
    for suite in suites {
        let traces = match read(suite) {
            Ok(traces) => traces,
            Err(why) => {
                wrong.push(why);
                continue;
            }
        };
        for (name, real) in &traces {
            let name = format!("{suite}::{name}");
            if !names.contains(&name) || !compared(&name) {
                wrong.push(format!("{name}: a trace that is compared with nothing"));
            }
            wrong.extend(unnoticed(&name, real));
        }
    }
    wrong
}

fn unnoticed(name: &str, real: &[Exchange]) -> Vec<String> {
    let mut out = Vec::new();
    for (at, exchange) in real.iter().enumerate() {
        let (mut code, mut body) = (exchange.clone(), exchange.clone());
        code.code += 1;
        match body.body.as_object_mut() {
            Some(fields) => drop(fields.insert("changed".to_owned(), true.into())),
            None => body.body = "changed".into(),
        }
        let one = &real[at..=at];
        if [code, body]
            .map(normal)
            .iter()
            .any(|changed| difference(one, std::slice::from_ref(changed)).is_none())
        {
            out.push(format!("{name}: a change of answer {} goes unnoticed", at + 1));
        }
    }
    if !real.is_empty() && difference(real, &real[1..]).is_none() {
        out.push(format!("{name}: a missing answer goes unnoticed"));
    }
    out
}

/// The first difference, in words.
pub(crate) fn difference(real: &[Exchange], ours: &[Exchange]) -> Option<String> {
    let Difference { answer, place, words } = differences(real, ours).into_iter().next()?;
    let asked = real.get(answer - 1).or(ours.get(answer - 1))?;
    Some(format!(
        "request {answer}, {} {}: {place}: {words}",
        asked.method, asked.path
    ))
}

/// A place where two traces differ.
#[derive(Clone, Debug)]
struct Difference {
    /// The number of the answer, from 1 on.
    answer: usize,
    /// A path in its body, or what else.
    place: String,
    /// What is there.
    words: String,
}

impl Difference {
    fn name(&self) -> String {
        format!("{}{}", self.answer, self.place)
    }
}

fn differences(real: &[Exchange], ours: &[Exchange]) -> Vec<Difference> {
    let mut found = Vec::new();
    for (answer, (real, ours)) in (1..).zip(real.iter().zip(ours)) {
        let mut add = |place: &str, words: String| {
            let place = place.to_owned();
            found.push(Difference { answer, place, words });
        };
        if (&real.method, &real.path) != (&ours.method, &ours.path) {
            let words = format!("real {} {}, here {} {}", real.method, real.path, ours.method, ours.path);
            add(" request", words);
            // What follows answers something else.
            return found;
        }
        if real.code != ours.code {
            add(" code", format!("real {}, here {}", real.code, ours.code));
        }
        if real.warnings != ours.warnings {
            add(
                " warnings",
                format!("real {:?}, here {:?}", real.warnings, ours.warnings),
            );
        }
        walk(&real.body, &ours.body, "", &mut add);
    }
    if real.len() != ours.len() {
        found.push(Difference {
            answer: real.len().min(ours.len()) + 1,
            place: " request".to_owned(),
            words: format!("real made {}, here {}", real.len(), ours.len()),
        });
    }
    found
}

/// Every place where two values differ.
fn walk(real: &Value, ours: &Value, path: &str, add: &mut impl FnMut(&str, String)) {
    match (real, ours) {
        (Value::Object(left), Value::Object(right)) => {
            for key in left.keys().chain(right.keys().filter(|key| !left.contains_key(*key))) {
                let path = format!("{path}/{key}");
                match (left.get(key), right.get(key)) {
                    (Some(left), Some(right)) => walk(left, right, &path, add),
                    (Some(value), None) => add(&path, format!("real alone: {value}")),
                    (None, value) => add(&path, format!("here alone: {}", value.unwrap_or(&Value::Null))),
                }
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                walk(left, right, &format!("{path}/{index}"), add);
            }
        }
        _ if real == ours => {}
        _ => add(path, format!("real {real}, here {ours}")),
    }
}
