//! Mistakes and where they are.

use std::fmt;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

use super::names::printable;

/// Mistakes that are shown: a file with more is not the file that was meant.
const SHOWN: usize = 100;
/// Longest path and longest message, in characters.
const LONGEST_PATH: usize = 200;
const LONGEST_MESSAGE: usize = 1500;

/// A place in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Line, from 1.
    pub(super) line: usize,
    /// Column in characters, from 1.
    pub(super) column: usize,
    /// Bytes before it.
    pub(super) offset: usize,
    /// Bytes of it.
    pub(super) length: usize,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub(super) place: Place,
    /// The part of the document, such as `spec.regions[1].weight`; empty: all of it.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Finding {
    pub(super) fn new(place: Place, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place,
            path: bounded(&path.into(), LONGEST_PATH),
            message: bounded(&message.into(), LONGEST_MESSAGE),
        }
    }

    /// Line, from 1.
    pub fn line(&self) -> usize {
        self.place.line.max(1)
    }

    /// Column in characters, from 1.
    pub fn column(&self) -> usize {
        self.place.column.max(1)
    }
}

fn bounded(text: &str, most: usize) -> String {
    let mut text = printable(text);
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Every mistake of a file, in the order in which they stand there; of very many, the first hundred and how many more.
///
/// `Display` is one line a mistake, `file:line:column: path: message`. As a [`Diagnostic`] it shows the lines themselves.
#[derive(Debug)]
pub struct Diagnostics {
    file: String,
    /// Boxed: a `Result` is moved about more often than an error is shown.
    source: Box<NamedSource<String>>,
    findings: Vec<Finding>,
    more: usize,
}

impl Diagnostics {
    /// `unsaid` more mistakes are counted and not put into words.
    pub(super) fn new(file: &str, text: &str, mut findings: Vec<Finding>, unsaid: usize) -> Self {
        findings.sort();
        findings.dedup();
        let more = findings.len().saturating_sub(SHOWN) + unsaid;
        findings.truncate(SHOWN);
        Self {
            file: file.to_owned(),
            source: Box::new(NamedSource::new(file, text.to_owned())),
            findings,
            more,
        }
    }

    /// The mistakes.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// One line a mistake.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let rest = self.findings.last().filter(|_| self.more > 0).map(|last| {
            let (line, column) = (last.line(), last.column());
            format!(
                "{}:{line}:{column}: {} more mistakes after this one",
                self.file, self.more
            )
        });
        let shown = self.findings.iter().map(|finding| {
            let (line, column, message) = (finding.line(), finding.column(), &finding.message);
            match finding.path.as_str() {
                "" => format!("{}:{line}:{column}: {message}", self.file),
                path => format!("{}:{line}:{column}: {path}: {message}", self.file),
            }
        });
        shown.chain(rest)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.lines().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostic for Diagnostics {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&*self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let length = self.source.inner().len();
        Some(Box::new(self.findings.iter().map(move |finding| {
            let offset = finding.place.offset.min(length);
            let span = finding.place.length.min(length - offset);
            LabeledSpan::new(Some(finding.message.clone()), offset, span)
        })))
    }
}
