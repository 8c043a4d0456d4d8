//! Names, labels and annotations: what an API server refuses in them.
//!
//! The rules are those of `k8s.io/apimachinery/pkg/api/validation`.

use super::{
    diagnostics::Finding,
    names::shown,
    schema::join,
    tree::{Entry, Kind, Node},
};

/// Longest name in a key of a label or an annotation, and longest value of a label, in characters.
const LONGEST: usize = 63;
/// Longest prefix of a key.
const LONGEST_PREFIX: usize = 253;
/// Most bytes that keys and values of an object's annotations have together.
const MOST_ANNOTATIONS: usize = 256 * 1024;

/// Everything in a document's metadata, and among the node labels that its regions ask for, that an API server would refuse.
pub(super) fn mistakes(document: &Node) -> impl Iterator<Item = Finding> {
    let metadata = document.get("metadata").map(|entry| &entry.value);
    let fields = |field| metadata.and_then(|metadata| metadata.get(field));
    let labels = fields("labels").map(|entry| ("metadata.labels".to_owned(), entry));
    let annotations = fields("annotations");
    let keys = entries(annotations).filter_map(|entry| key("an annotation", "metadata.annotations", entry));
    name(document)
        .into_iter()
        .chain(labels.into_iter().chain(selectors(document)).flat_map(labelled))
        .chain(keys)
        .chain(annotations.and_then(size))
}

/// The name, a DNS subdomain as of any custom resource. A platform's is held to a rule of its own, which is stricter.
fn name(document: &Node) -> Option<Finding> {
    if document.text("kind") == Some("StreamingPlatform") {
        return None;
    }
    let name = &document.get("metadata")?.value.get("name")?.value;
    let Kind::Text(text) = &name.kind else { return None };
    let wrong = !text.is_empty() && !is_subdomain(text);
    wrong.then(|| {
        let example = example(text, |_| false).to_lowercase();
        let message = format!(
            "`{}` is not a name: lower-case letters and digits, and between them dashes and dots; write for example \
             `{example}`",
            shown(text)
        );
        Finding::new(name.place, "metadata.name", message)
    })
}

/// What a region asks of its nodes, with its path.
fn selectors(document: &Node) -> impl Iterator<Item = (String, &Entry)> {
    let regions = document.get("spec").and_then(|spec| spec.value.get("regions"));
    let regions = match regions.map(|regions| &regions.value.kind) {
        Some(Kind::List(regions)) => regions.as_slice(),
        _ => &[],
    };
    regions.iter().enumerate().filter_map(|(index, region)| {
        let selector = region.get("placement")?.value.get("nodeSelector")?;
        Some((format!("spec.regions[{index}].placement.nodeSelector"), selector))
    })
}

/// What is wrong with labels.
fn labelled((path, labels): (String, &Entry)) -> impl Iterator<Item = Finding> + use<'_> {
    entries(Some(labels)).flat_map(move |entry| {
        let found = [key("a label", &path, entry), value(&path, entry)];
        found.into_iter().flatten()
    })
}

fn entries(map: Option<&Entry>) -> impl Iterator<Item = &Entry> {
    let entries = match map.map(|map| &map.value.kind) {
        Some(Kind::Map(entries)) => entries.as_slice(),
        _ => &[],
    };
    entries.iter()
}

/// `[prefix/]name`. Kubernetes looks at annotations' keys in lower case: their prefix may be written in any.
fn key(of: &str, path: &str, entry: &Entry) -> Option<Finding> {
    let text = if of == "an annotation" {
        entry.key.to_lowercase()
    } else {
        entry.key.clone()
    };
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text.as_str()),
    };
    let right = prefix.is_none_or(is_prefix) && is_part(name);
    (!right).then(|| {
        let example = match prefix {
            Some(prefix) if is_prefix(prefix) => format!("{prefix}/{}", example(name, |c| "_.".contains(c))),
            _ => example(name, |c| "_.".contains(c)),
        };
        let message = format!(
            "`{}` is not the key of {of}: at most {LONGEST} letters, digits, and between them `-`, `_` and `.`, perhaps \
             after a DNS name and a `/`; write for example `{example}`",
            shown(&entry.key)
        );
        Finding::new(entry.place, join(path, &entry.key), message)
    })
}

fn value(path: &str, entry: &Entry) -> Option<Finding> {
    let Kind::Text(text) = &entry.value.kind else {
        return None;
    };
    let wrong = !text.is_empty() && !is_part(text);
    wrong.then(|| {
        let example = example(text, |c| "_.".contains(c));
        let message = format!(
            "`{}` is not the value of a label: at most {LONGEST} letters, digits, and between them `-`, `_` and `.`; \
             write for example `{example}`",
            shown(text)
        );
        Finding::new(entry.value.place, join(path, &entry.key), message)
    })
}

fn size(annotations: &Entry) -> Option<Finding> {
    let bytes = |entry: &Entry| match &entry.value.kind {
        Kind::Text(text) => entry.key.len() + text.len(),
        _ => 0,
    };
    let bytes: usize = entries(Some(annotations)).map(bytes).sum();
    let message = || format!("{bytes} bytes of keys and values: at most {MOST_ANNOTATIONS} allowed");
    (bytes > MOST_ANNOTATIONS).then(|| Finding::new(annotations.place, "metadata.annotations", message()))
}

fn is_prefix(text: &str) -> bool {
    text.len() <= LONGEST_PREFIX && is_subdomain(text)
}

fn is_subdomain(text: &str) -> bool {
    let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    text.split('.')
        .all(|part| !part.is_empty() && part.bytes().all(legal) && !part.starts_with('-') && !part.ends_with('-'))
}

/// What stands after a key's prefix, or is a label's value.
fn is_part(text: &str) -> bool {
    let legal = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    let ends = [text.bytes().next(), text.bytes().next_back()];
    let ends_well = ends.iter().all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric()));
    text.len() <= LONGEST && text.bytes().all(legal) && ends_well
}

/// A text like this one that would do: a dash in place of all that is neither a letter, a digit, nor `kept`.
fn example(text: &str, kept: impl Fn(char) -> bool) -> String {
    let mut example = String::new();
    for c in text.chars().take(LONGEST) {
        if c.is_ascii_alphanumeric() || kept(c) {
            example.push(c);
        } else if !example.ends_with('-') {
            example.push('-');
        }
    }
    let example = example.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if example.is_empty() { "name" } else { example }.to_owned()
}
