//! Files of ours: which kinds, in which file.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    MAX_BYTES,
    diagnostics::{Diagnostics, Finding, Place},
    metadata,
    names::{shown, suggest},
    patch,
    schema::{self, Checked},
    tree::{self, Kind, Node},
};
use crate::{
    GROUP, VERSION, crd,
    drill::Drill,
    platform::{StreamingPlatform, StreamingPlatformSpec},
    premiere::Premiere,
    rules::{Violation, against, validate_platform, validate_premiere, validate_scenario},
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
    reader.finish(|reader| Ok(reader.documents.into_iter().map(|read| read.document).collect()))
}

/// Reads a file that holds exactly one `StreamingPlatform`, and any number of its `Premiere`s.
pub fn read_platform_file(file: &str, text: impl AsRef<[u8]>) -> Result<PlatformFile, Diagnostics> {
    read_platform_file_with(file, text, |_| vec![])
}

/// The same; a platform in which nothing else is wrong is also looked at by `further`, which gives paths such as
/// `spec.regions[1].name`, each with what is wrong there.
pub fn read_platform_file_with(
    file: &str,
    text: impl AsRef<[u8]>,
    further: impl Fn(&StreamingPlatform) -> Vec<(String, String)>,
) -> Result<PlatformFile, Diagnostics> {
    let mut reader = Reader::read(file, text.as_ref(), None)?;
    let name = reader.documents.iter().find_map(|read| match &read.document {
        Document::Platform(_) => read.node.get("metadata")?.value.text("name").map(str::to_owned),
        _ => None,
    });
    let mut platforms = 0;
    let mut findings = vec![];
    for Read { document, node, mended } in &reader.documents {
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
            Document::Premiere(premiere)
                if Some(&premiere.spec.platform) != name.as_ref()
                    && name.is_some()
                    && !touches(mended, "spec.platform") =>
            {
                let message = format!("there is no platform `{}` in this file", shown(&premiere.spec.platform));
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
    if reader.findings.is_empty() {
        for Read { document, node, .. } in &reader.documents {
            let Document::Platform(platform) = document else {
                continue;
            };
            for (path, message) in further(platform) {
                reader.findings.push(Finding::new(node.locate(&path), path, message));
            }
        }
    }
    reader.finish(|reader| {
        let mut premieres = vec![];
        let mut found = None;
        for read in reader.documents {
            match read.document {
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
    let scenario = |read: &&Read| matches!(read.document, Document::Scenario(_));
    let others = reader.documents.iter().filter(|read| !scenario(read));
    let others: Vec<Finding> = others
        .map(|read| Finding::new(read.node.locate("kind"), "kind", "expected a Scenario"))
        .collect();
    let more = reader.documents.iter().filter(scenario).skip(1);
    let message = "the file has a scenario already: one file, one scenario";
    let more: Vec<Finding> = more.map(|read| Finding::new(read.node.place, "", message)).collect();
    reader.findings.extend(others.into_iter().chain(more));
    reader.finish(|reader| {
        let scenario = reader.documents.into_iter().find_map(|read| match read.document {
            Document::Scenario(scenario) => Some(*scenario),
            _ => None,
        });
        scenario.ok_or("the file has no Scenario")
    })
}

/// Mistakes that were found otherwise in a file that was read, each a path such as `spec.faults[1].action` and what is wrong
/// there: at their places in the file's first document.
pub fn locate(file: &str, text: impl AsRef<[u8]>, mistakes: impl IntoIterator<Item = (String, String)>) -> Diagnostics {
    let text = String::from_utf8_lossy(text.as_ref());
    let nodes = tree::parse(&text).unwrap_or_default();
    let place = |path: &str| nodes.first().map_or_else(Place::default, |node| node.locate(path));
    let findings = mistakes
        .into_iter()
        .map(|(path, message)| Finding::new(place(&path), path, message))
        .collect();
    Diagnostics::new(file, &text, findings, 0)
}

/// A document, where it stands, and which parts of it were not to be read.
struct Read {
    document: Document,
    node: Node,
    mended: Vec<String>,
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    platform: Option<&'a StreamingPlatformSpec>,
    documents: Vec<Read>,
    findings: Vec<Finding>,
    unsaid: usize,
}

impl<'a> Reader<'a> {
    fn read(file: &'a str, bytes: &'a [u8], platform: Option<&'a StreamingPlatformSpec>) -> Result<Self, Diagnostics> {
        let refuse =
            |place, message: String| Err(Diagnostics::new(file, "", vec![Finding::new(place, "", message)], 0));
        if bytes.len() > MAX_BYTES {
            return refuse(
                Place::default(),
                format!(
                    "larger than {MAX_BYTES} bytes, which is the most that is read: a cluster takes no larger object"
                ),
            );
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
                let hint = if utf16 { "; the file looks like UTF-16" } else { "" };
                let message = format!("not UTF-8 from here on{hint}: save the file as UTF-8");
                return refuse(place_of(&bytes[..error.valid_up_to()]), message);
            }
        };
        let mut reader = Self {
            file,
            text,
            platform,
            documents: vec![],
            findings: vec![],
            unsaid: 0,
        };
        match tree::parse(text) {
            Ok(nodes) if nodes.is_empty() => {
                reader.findings.push(Finding::new(
                    Place::default(),
                    "",
                    "the file is empty: it holds no document",
                ));
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
            return Err(Diagnostics::new(file, text, self.findings, self.unsaid));
        }
        take(self).map_err(|message| Diagnostics::new(file, text, vec![Finding::new(Place::default(), "", message)], 0))
    }

    fn document(&mut self, node: Node) {
        if !matches!(node.kind, Kind::Map(_)) {
            let message = "expected a document with apiVersion, kind, metadata and spec";
            self.findings.push(Finding::new(node.place, "", message));
            return;
        }
        let Some(kind) = self.kind(&node) else { return };
        let Some(schema) = SCHEMAS.get(kind) else { return };
        match kind {
            "StreamingPlatform" => self.typed(
                node,
                schema,
                |object: &StreamingPlatform| validate_platform(object),
                |object| Document::Platform(Box::new(object)),
            ),
            "Premiere" => self.typed(
                node,
                schema,
                |object: &Premiere| validate_premiere(&object.spec),
                |object| Document::Premiere(Box::new(object)),
            ),
            "Scenario" => self.scenario(node, schema),
            _ => self.typed(
                node,
                schema,
                |_: &Drill| vec![],
                |object| Document::Drill(Box::new(object)),
            ),
        }
    }

    fn scenario(&mut self, node: Node, schema: &Value) {
        let before = self.findings.len();
        let of_platform = SCHEMAS
            .get("StreamingPlatform")
            .map_or(&Value::Null, |schema| &schema["properties"]["spec"]);
        let patched = self
            .platform
            .map(|platform| patch::patched(platform, &node, of_platform));
        let platform = patched.as_ref().and_then(|patched| patched.platform.as_ref());
        self.typed(
            node,
            schema,
            |object: &Scenario| {
                let mut found = validate_scenario(&object.spec, None);
                found.extend(
                    platform
                        .into_iter()
                        .flat_map(|platform| against(&object.spec, platform)),
                );
                found
            },
            |object| Document::Scenario(Box::new(object)),
        );
        let Some(patched) = patched else { return };
        let refused: BTreeSet<String> = self.findings[before..].iter().map(|found| found.path.clone()).collect();
        let fresh = patched
            .findings
            .into_iter()
            .filter(|found| !refused.contains(&found.path));
        self.findings.extend(fresh);
        self.unsaid += patched.unsaid;
    }

    /// The kind, if it is one of ours. Another version is a mistake; the rest is looked at all the same.
    fn kind(&mut self, node: &Node) -> Option<&'static str> {
        let version = format!("{GROUP}/{VERSION}");
        if node.text("apiVersion") != Some(&version) {
            let message = match node.get("apiVersion").map(|entry| schema::describe(&entry.value.kind)) {
                Some(found) => format!("found {found}; write {version}"),
                None => format!("required, and not stated; write {version}"),
            };
            self.findings
                .push(Finding::new(node.locate("apiVersion"), "apiVersion", message));
        }
        let found = node.text("kind");
        let kind = found.and_then(|found| KINDS.into_iter().find(|kind| *kind == found));
        if kind.is_none() {
            let message = match (found, node.get("kind")) {
                (Some(found), _) => format!("`{}` is not a kind of {GROUP}{}", shown(found), suggest(found, &KINDS)),
                (None, Some(entry)) => {
                    format!(
                        "found {}; known: {}",
                        schema::describe(&entry.value.kind),
                        KINDS.join(", ")
                    )
                }
                (None, None) => format!("required, and not stated; known: {}", KINDS.join(", ")),
            };
            self.findings.push(Finding::new(node.locate("kind"), "kind", message));
        }
        kind
    }

    fn typed<T: DeserializeOwned>(
        &mut self,
        node: Node,
        schema: &Value,
        rules: impl Fn(&T) -> Vec<Violation>,
        wrap: impl Fn(T) -> Document,
    ) {
        let before = self.findings.len();
        let Checked { value, mended, unsaid } = schema::check(&node, schema, "", &mut self.findings);
        let mut mistakes = metadata::mistakes(&node);
        self.findings.extend(mistakes.by_ref().take(schema::SAID));
        self.unsaid += unsaid + mistakes.count();
        match serde_json::from_value::<T>(value) {
            Ok(object) => {
                let refused: BTreeSet<String> =
                    self.findings[before..].iter().map(|found| found.path.clone()).collect();
                for violation in said(rules(&object), &refused, &mended) {
                    self.findings.push(Finding::new(
                        node.locate(&violation.path),
                        violation.path,
                        violation.message,
                    ));
                }
                let document = wrap(object);
                self.documents.push(Read { document, node, mended });
            }
            // What the schema refused has been said, with its place.
            Err(_) if self.findings.len() > before => {}
            Err(error) => self
                .findings
                .push(Finding::new(node.locate("spec"), "spec", error.to_string())),
        }
    }

    /// Two documents with one name would be one object.
    fn repeated(&mut self) {
        let mut seen = BTreeMap::new();
        for Read { document, node, .. } in &self.documents {
            let kind = match document {
                Document::Platform(_) => 0,
                Document::Premiere(_) => 1,
                Document::Scenario(_) => 2,
                Document::Drill(_) => 3,
            };
            let text = |field| node.get("metadata").and_then(|entry| entry.value.text(field));
            let Some(name) = text("name") else { continue };
            if let Some(line) = seen.get(&(kind, text("namespace"), name)) {
                let message = format!("the same kind and name as the document on line {line}");
                self.findings
                    .push(Finding::new(node.locate("metadata.name"), "metadata.name", message));
            } else {
                seen.insert((kind, text("namespace"), name), node.place.line);
            }
        }
    }
}

/// The broken rules that are worth saying: what the schema refuses is not refused a second time for what it therefore is not.
pub(super) fn said(
    violations: impl IntoIterator<Item = Violation>,
    refused: &BTreeSet<String>,
    mended: &[String],
) -> impl Iterator<Item = Violation> {
    let violations = violations.into_iter();
    violations.filter(|violation| !refused.contains(&violation.path) && !touches(mended, &violation.scope))
}

/// Whether a part of a document is, holds, or belongs to something that was put in place of what could not be read. `[]` in
/// the part stands for every item.
pub(super) fn touches(mended: &[String], part: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| outer.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let every = part.contains("[]");
    mended.iter().any(|path| {
        let path = if every { every_item(path) } else { path.clone() };
        within(&path, part) || within(part, &path)
    })
}

/// `spec.gates[1].name` as `spec.gates[].name`.
fn every_item(path: &str) -> String {
    let mut pieces = path.split('[');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        text + "[" + piece.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

/// By kind. Making a definition takes milliseconds, and a file may hold hundreds of documents.
static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let definitions = crd::all_crds().into_iter();
    definitions
        .map(|definition| {
            let schema = root_schema(&crd::schema(&definition));
            (definition.spec.names.kind, schema)
        })
        .collect()
});

/// A definition's schema with what every object has: `apiVersion`, `kind`, `metadata`.
fn root_schema(schema: &Value) -> Value {
    let strings = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "type": "object",
        "required": ["metadata", "spec"],
        "properties": {
            // Looked at before.
            "apiVersion": {},
            "kind": {},
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "minLength": 1, "maxLength": 253},
                    "namespace": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": schema::DNS_LABEL},
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

/// The place after some text. Lines end as the parser's do, also by a carriage return alone (YAML 1.2, section 5.4).
fn place_of(before: &[u8]) -> Place {
    let text = String::from_utf8_lossy(before)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Place {
        line,
        column,
        offset: 0,
        length: 0,
    }
}
