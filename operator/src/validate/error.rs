//! Why a platform is refused.

use std::fmt;

/// One rule that the spec breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Field at fault, as in `spec.regions[1].roles`.
    pub path: String,
    /// What is wrong with it and what to write instead.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The spec cannot be built. Carries every violation, not the first alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", join(violations))]
pub struct ValidateError {
    /// Every violation, in the order of the spec. Never empty.
    pub violations: Vec<Violation>,
}

fn join(violations: &[Violation]) -> String {
    violations
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Collects violations while the spec is walked.
#[derive(Debug, Default)]
pub(super) struct Violations(Vec<Violation>);

impl Violations {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation {
            path: path.into(),
            message: message.into(),
        });
    }

    /// Gives the value of an option, and notes its absence.
    pub(super) fn require<T>(&mut self, value: Option<T>, path: &str, message: &str) -> Option<T> {
        if value.is_none() {
            self.add(path, message);
        }
        value
    }

    pub(super) fn finish(self) -> Result<(), ValidateError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ValidateError { violations: self.0 })
        }
    }

    pub(super) fn into_error(self) -> ValidateError {
        ValidateError { violations: self.0 }
    }
}
