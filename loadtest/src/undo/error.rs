//! Why nothing could be undone.

use crate::{fault::JournalError, judge::exit, record::RecordError};

/// Why an undo could not even be tried.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// The journal on disk cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is no such run.
    #[error("there is no Drill {name} in namespace {namespace}, and no such journal or folder of a run")]
    NoSuchDrill {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
    },
    /// The journal is about another cluster.
    #[error(
        "the journal was written about another cluster, or about an earlier namespace {namespace}: nothing was touched. Name the cluster with --kubeconfig and --context"
    )]
    OtherCluster {
        /// The namespace.
        namespace: String,
    },
    /// The cluster refused or failed.
    #[error("{0}")]
    Record(#[from] RecordError),
}

impl UndoError {
    /// The exit code that the error stands for.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            UndoError::Journal(_) | UndoError::NoSuchDrill { .. } | UndoError::OtherCluster { .. } => exit::INVALID,
            UndoError::Record(_) => exit::INFRASTRUCTURE,
        }
    }
}
