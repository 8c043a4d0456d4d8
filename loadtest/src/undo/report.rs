//! What an undo did.

use serde::Serialize;

use super::Source;
use crate::{judge::exit, observe::Subject};

/// What was done for one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the run.
    pub run: String,
    /// Namespace of its platform.
    pub namespace: String,
    /// Its platform.
    pub platform: String,
    /// The journal named nothing that was not known to be undone.
    pub nothing_outstanding: bool,
    /// What was taken back, or was to be.
    pub mutations: Vec<Mutation>,
    /// What is still there.
    pub left: Vec<String>,
    /// The platform afterwards; absent where a journal names no run.
    pub steady: Option<Steady>,
    /// Nothing is left, and the platform is in its steady state.
    pub proved: bool,
}

/// One mutation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mutation {
    /// Its number in the journal; absent for what no journal names.
    pub id: Option<u32>,
    /// Its fault.
    pub fault: Option<String>,
    /// What was taken back.
    pub what: String,
    /// Why it was not.
    pub error: Option<String>,
}

/// The platform after the undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Steady {
    /// Whether it is in its steady state.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
}

impl Report {
    pub(super) fn of(run: &str, subject: &Subject) -> Self {
        Self {
            run: run.to_owned(),
            namespace: subject.namespace.clone(),
            platform: subject.platform.clone(),
            nothing_outstanding: false,
            mutations: Vec::new(),
            left: Vec::new(),
            steady: None,
            proved: false,
        }
    }

    /// Of a journal in which nothing is.
    pub(super) fn nothing(source: &Source) -> Self {
        let run = match source {
            Source::File(path) => path.display().to_string(),
            Source::Drill { name, .. } => name.clone(),
        };
        let nowhere = Subject {
            namespace: String::new(),
            platform: String::new(),
        };
        Self {
            nothing_outstanding: true,
            proved: true,
            ..Self::of(&run, &nowhere)
        }
    }

    /// Whether something could not be taken back.
    pub(super) fn failed(&self) -> bool {
        self.mutations.iter().any(|mutation| mutation.error.is_some())
    }

    pub(super) fn gave_up_on(&self, what: &str) -> bool {
        self.mutations
            .iter()
            .any(|mutation| mutation.what == what && mutation.error.is_some())
    }

    pub(super) fn conclude(&mut self) {
        let steady = self.steady.as_ref().is_none_or(|steady| steady.ok);
        self.proved = self.left.is_empty() && steady && !self.failed();
    }

    /// In one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let undone = self
            .mutations
            .iter()
            .filter(|mutation| mutation.error.is_none())
            .count();
        match (&self.steady, self.proved) {
            (None, true) => "nothing is left of it".to_owned(),
            (Some(steady), true) => format!("{undone} mutations taken back; {}", steady.detail),
            (steady, false) => {
                let mut why: Vec<String> = self.left.iter().map(|left| format!("still there: {left}")).collect();
                why.extend(self.mutations.iter().filter_map(|mutation| {
                    let error = mutation.error.as_ref()?;
                    Some(format!("{}: {error}", mutation.what))
                }));
                why.extend(
                    steady
                        .iter()
                        .filter(|steady| !steady.ok)
                        .map(|steady| steady.detail.clone()),
                );
                why.join("; ")
            }
        }
    }

    /// The exit code that the report stands for.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.proved { exit::PASS } else { exit::NOT_UNDONE }
    }
}
