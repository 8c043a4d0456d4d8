//! From a command's end to words and an exit code.

use std::{io::Write, process::ExitCode};

use showrunner_loadtest::judge::exit;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    /// For people; may have several lines.
    message: String,
    code: u8,
}

impl Failure {
    /// The input is wrong; nothing was started.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: exit::INVALID,
        }
    }

    /// What the command stands on did not work.
    pub(crate) fn infrastructure(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: exit::INFRASTRUCTURE,
        }
    }

    /// The same, and what failed beside it.
    pub(crate) fn and(self, also: &Failure) -> Self {
        Self {
            message: format!("{}\nand: {}", self.message.trim_end(), also.message),
            code: self.code,
        }
    }

    /// The same, and what is wrong elsewhere.
    pub(crate) fn beside(self, also: &Failure) -> Self {
        Self {
            message: format!("{}\n{}", self.message.trim_end(), also.message),
            code: self.code,
        }
    }

    /// The same with another exit code.
    pub(crate) fn coded(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// With an exit code of its own.
    pub(crate) fn with_code(message: impl Into<String>, code: u8) -> Self {
        Self {
            message: message.into(),
            code,
        }
    }
}

/// Prints a failure and gives the exit code.
pub(crate) fn report(result: Result<u8, Failure>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{}", failure.message.trim_end());
            ExitCode::from(failure.code)
        }
    }
}
