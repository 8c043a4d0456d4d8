//! Mistakes and where they are.

use std::fmt;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

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
            path: path.into(),
            message: message.into(),
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

/// Every mistake of a file, in the order in which they stand there.
///
/// `Display` is one line a mistake, `file:line:column: path: message`. As a [`Diagnostic`] it shows the lines themselves.
#[derive(Debug)]
pub struct Diagnostics {
    file: String,
    source: NamedSource<String>,
    findings: Vec<Finding>,
}

impl Diagnostics {
    pub(super) fn new(file: &str, text: &str, mut findings: Vec<Finding>) -> Self {
        findings.sort();
        findings.dedup();
        Self {
            file: file.to_owned(),
            source: NamedSource::new(file, text.to_owned()),
            findings,
        }
    }

    /// The mistakes.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// One line a mistake.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.findings.iter().map(|finding| {
            let (line, column, message) = (finding.line(), finding.column(), &finding.message);
            match finding.path.as_str() {
                "" => format!("{}:{line}:{column}: {message}", self.file),
                path => format!("{}:{line}:{column}: {path}: {message}", self.file),
            }
        })
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
        Some(&self.source)
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
