//! Files of ours: which kinds, in which file.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    MAX_BYTES,
    diagnostics::{Diagnostics, Finding, Place},
    names::suggest,
    schema,
    tree::{self, Kind, Node},
};
use crate::{
    GROUP, VERSION, crd,
    drill::Drill,
    platform::{StreamingPlatform, StreamingPlatformSpec},
    premiere::Premiere,
    rules::{Violation, validate_platform, validate_premiere, validate_scenario},
    scenario::Scenario,
};

/// One document of a file.
#[derive(Clone, Debug)]
pub enum Document {
    /// A platform.
    Platform(Box<StreamingPlatform>),
    /// A premiere.
    Premiere(Box<Premiere>),
    /// A scenario.
    Scenario(Box<Scenario>),
    /// A drill.
    Drill(Box<Drill>),
}

/// A file with one platform, and what belongs to it.
#[derive(Clone, Debug)]
pub struct PlatformFile {
    /// The platform.
    pub platform: StreamingPlatform,
    /// Its premieres.
    pub premieres: Vec<Premiere>,
}

const KINDS: [&str; 4] = ["StreamingPlatform", "Premiere", "Scenario", "Drill"];

/// Reads a file that may hold several documents of any of our kinds.
///
/// `file` is what mistakes are reported under; `text` is its content, of which nothing is assumed.
pub fn read_documents(file: &str, text: impl AsRef<[u8]>) -> Result<Vec<Document>, Diagnostics> {
    let reader = Reader::read(file, text.as_ref(), None)?;
    reader.finish(|reader| Ok(reader.documents.into_iter().map(|(document, _)| document).collect()))
}

/// Reads a file that holds exactly one `StreamingPlatform`, and any number of its `Premiere`s.
pub fn read_platform_file(file: &str, text: impl AsRef<[u8]>) -> Result<PlatformFile, Diagnostics> {
    let mut reader = Reader::read(file, text.as_ref(), None)?;
    let name = reader.documents.iter().find_map(|(document, _)| match document {
        Document::Platform(platform) => platform.metadata.name.clone(),
        _ => None,
    });
    let mut platforms = 0;
    let mut findings = vec![];
    for (document, node) in &reader.documents {
        match document {
            Document::Platform(_) => {
                platforms += 1;
                if platforms > 1 {
                    findings.push(Finding::new(
                        node.place,
                        "",
                        "the file has a platform already: one file, one platform",
                    ));
                }
            }
            Document::Premiere(premiere) if Some(&premiere.spec.platform) != name.as_ref() && name.is_some() => {
                let message = format!("there is no platform `{}` in this file", premiere.spec.platform);
                findings.push(Finding::new(node.locate("spec.platform"), "spec.platform", message));
            }
            Document::Premiere(_) => {}
            Document::Scenario(_) | Document::Drill(_) => {
                let message = "expected a StreamingPlatform, and Premieres at most beside it";
                findings.push(Finding::new(node.locate("kind"), "kind", message));
            }
        }
    }
    reader.findings.extend(findings);
    reader.finish(|reader| {
        let mut premieres = vec![];
        let mut found = None;
        for (document, _) in reader.documents {
            match document {
                Document::Platform(platform) => found = Some(*platform),
                Document::Premiere(premiere) => premieres.push(*premiere),
                Document::Scenario(_) | Document::Drill(_) => {}
            }
        }
        found
            .map(|platform| PlatformFile { platform, premieres })
            .ok_or("the file has no StreamingPlatform")
    })
}

/// Reads a file that holds exactly one `Scenario`; with a platform, also holds it against that.
pub fn read_scenario(
    file: &str,
    text: impl AsRef<[u8]>,
    platform: Option<&StreamingPlatformSpec>,
) -> Result<Scenario, Diagnostics> {
    let mut reader = Reader::read(file, text.as_ref(), platform)?;
    let others = reader
        .documents
        .iter()
        .enumerate()
        .filter(|(_, (document, _))| !matches!(document, Document::Scenario(_)));
    let others: Vec<Finding> = others
        .map(|(_, (_, node))| Finding::new(node.locate("kind"), "kind", "expected a Scenario"))
        .collect();
    let more = reader
        .documents
        .iter()
        .filter(|(document, _)| matches!(document, Document::Scenario(_)))
        .skip(1);
    let more: Vec<Finding> = more
        .map(|(_, node)| {
            Finding::new(
                node.place,
                "",
                "the file has a scenario already: one file, one scenario",
            )
        })
        .collect();
    reader.findings.extend(others.into_iter().chain(more));
    reader.finish(|reader| {
        let scenario = reader.documents.into_iter().find_map(|(document, _)| match document {
            Document::Scenario(scenario) => Some(*scenario),
            _ => None,
        });
        scenario.ok_or("the file has no Scenario")
    })
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    platform: Option<&'a StreamingPlatformSpec>,
    documents: Vec<(Document, Node)>,
    findings: Vec<Finding>,
}

impl<'a> Reader<'a> {
    fn read(file: &'a str, bytes: &'a [u8], platform: Option<&'a StreamingPlatformSpec>) -> Result<Self, Diagnostics> {
        let refuse = |place, message: String| Err(Diagnostics::new(file, "", vec![Finding::new(place, "", message)]));
        if bytes.len() > MAX_BYTES {
            return refuse(
                Place::default(),
                format!("{} bytes: at most {MAX_BYTES} are read", bytes.len()),
            );
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return refuse(place_of(&bytes[..error.valid_up_to()]), "not UTF-8 from here on".into()),
        };
        let mut reader = Self {
            file,
            text,
            platform,
            documents: vec![],
            findings: vec![],
        };
        match tree::parse(text) {
            Ok(nodes) if nodes.is_empty() => {
                reader
                    .findings
                    .push(Finding::new(Place::default(), "", "the file is empty"));
            }
            Ok(nodes) => nodes.into_iter().for_each(|node| reader.document(node)),
            Err(finding) => reader.findings.push(finding),
        }
        reader.repeated();
        Ok(reader)
    }

    fn finish<T>(self, take: impl FnOnce(Self) -> Result<T, &'static str>) -> Result<T, Diagnostics> {
        let (file, text) = (self.file, self.text);
        if !self.findings.is_empty() {
            return Err(Diagnostics::new(file, text, self.findings));
        }
        take(self).map_err(|message| Diagnostics::new(file, text, vec![Finding::new(Place::default(), "", message)]))
    }

    fn document(&mut self, node: Node) {
        if !matches!(node.kind, Kind::Map(_)) {
            let message = "expected a document with apiVersion, kind, metadata and spec";
            self.findings.push(Finding::new(node.place, "", message));
            return;
        }
        let Some(kind) = self.kind(&node) else { return };
        let Some(definition) = crd::crd(kind) else { return };
        let schema = root_schema(&crd::schema(&definition));
        schema::check(&node, &schema, "", &mut self.findings);
        match kind {
            "StreamingPlatform" => self.typed(
                node,
                &schema,
                |object: &StreamingPlatform, _| validate_platform(object),
                |object| Document::Platform(Box::new(object)),
            ),
            "Premiere" => self.typed(
                node,
                &schema,
                |object: &Premiere, _| validate_premiere(&object.spec),
                |object| Document::Premiere(Box::new(object)),
            ),
            "Scenario" => self.typed(
                node,
                &schema,
                |object: &Scenario, platform| validate_scenario(&object.spec, platform),
                |object| Document::Scenario(Box::new(object)),
            ),
            _ => self.typed(
                node,
                &schema,
                |_: &Drill, _| vec![],
                |object| Document::Drill(Box::new(object)),
            ),
        }
    }

    /// The kind, if it is one of ours in a version of ours.
    fn kind(&mut self, node: &Node) -> Option<&'static str> {
        let version = format!("{GROUP}/{VERSION}");
        let before = self.findings.len();
        match node.text("apiVersion") {
            Some(found) if found == version => {}
            Some(found) => {
                let message = format!("`{found}` is not known; write {version}");
                self.findings
                    .push(Finding::new(node.locate("apiVersion"), "apiVersion", message));
            }
            None => {
                let message = format!("required, and not stated; write {version}");
                self.findings
                    .push(Finding::new(node.locate("apiVersion"), "apiVersion", message));
            }
        }
        let kind = node
            .text("kind")
            .and_then(|found| KINDS.into_iter().find(|kind| *kind == found));
        if kind.is_none() {
            let message = match node.text("kind") {
                Some(found) => format!("`{found}` is not a kind of {GROUP}{}", suggest(found, &KINDS)),
                None => format!("required, and not stated; known: {}", KINDS.join(", ")),
            };
            self.findings.push(Finding::new(node.locate("kind"), "kind", message));
        }
        kind.filter(|_| self.findings.len() == before)
    }

    fn typed<T: DeserializeOwned>(
        &mut self,
        node: Node,
        schema: &Value,
        rules: impl Fn(&T, Option<&StreamingPlatformSpec>) -> Vec<Violation>,
        wrap: impl Fn(T) -> Document,
    ) {
        let mut value = node.to_json();
        schema::prune(&mut value, schema);
        match serde_json::from_value::<T>(value) {
            Ok(object) => {
                for violation in rules(&object, self.platform) {
                    // What the schema refuses is not refused a second time for what it therefore is not.
                    if self.findings.iter().any(|finding| finding.path == violation.path) {
                        continue;
                    }
                    self.findings.push(Finding::new(
                        node.locate(&violation.path),
                        violation.path,
                        violation.message,
                    ));
                }
                self.documents.push((wrap(object), node));
            }
            // What the schema refused has been said, with its place.
            Err(_) if !self.findings.is_empty() => {}
            Err(error) => self
                .findings
                .push(Finding::new(node.locate("spec"), "spec", error.to_string())),
        }
    }

    /// Two documents with one name would be one object.
    fn repeated(&mut self) {
        let key = |document: &Document| {
            let (kind, metadata) = match document {
                Document::Platform(object) => (0, &object.metadata),
                Document::Premiere(object) => (1, &object.metadata),
                Document::Scenario(object) => (2, &object.metadata),
                Document::Drill(object) => (3, &object.metadata),
            };
            (kind, metadata.namespace.clone(), metadata.name.clone())
        };
        for (index, (document, node)) in self.documents.iter().enumerate() {
            let first = self.documents[..index]
                .iter()
                .find(|(other, _)| key(other) == key(document));
            if let Some((_, first)) = first {
                let message = format!("the same kind and name as the document on line {}", first.place.line);
                self.findings
                    .push(Finding::new(node.locate("metadata.name"), "metadata.name", message));
            }
        }
    }
}

/// A definition's schema with what every object has: `apiVersion`, `kind`, `metadata`.
fn root_schema(schema: &Value) -> Value {
    let strings = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "minLength": 1, "maxLength": 253},
                    "namespace": {"type": "string", "minLength": 1, "maxLength": 63},
                    "labels": strings,
                    "annotations": strings,
                    "finalizers": {"type": "array", "items": {"type": "string"}},
                    // Written by the API server; there where an object was read back with kubectl.
                    "uid": {"type": "string"},
                    "resourceVersion": {"type": "string"},
                    "generation": {"type": "integer"},
                    "creationTimestamp": {},
                    "managedFields": {},
                    "ownerReferences": {},
                },
            },
            "spec": schema["properties"]["spec"],
            "status": open,
        },
    })
}

fn place_of(before: &[u8]) -> Place {
    let text = String::from_utf8_lossy(before);
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Place {
        line,
        column,
        offset: 0,
        length: 0,
    }
}
