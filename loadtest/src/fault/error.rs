//! What can go wrong with a fault.

use super::JournalError;

/// Why a fault could not be worked.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The cluster refused or failed.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The undo could not be put on record, so nothing was injected.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Nothing to inject into.
    #[error("no running pod matches {selector}")]
    NoTarget {
        /// The label selector.
        selector: String,
    },
    /// The fault was not seen to take effect.
    #[error("{name} was not injected within {seconds} s: {why}")]
    NotInjected {
        /// The chaos object.
        name: String,
        /// The deadline.
        seconds: u64,
        /// What was seen.
        why: String,
    },
    /// The API server said nothing.
    #[error("the API server did not answer within {seconds} s")]
    Silent {
        /// The deadline.
        seconds: u64,
    },
    /// The API server was asked for an object, and nobody can say whether it is there or still comes.
    #[error("{name} may or may not have been made: {source}")]
    Unsure {
        /// The object.
        name: String,
        /// What was heard instead of an answer.
        source: Box<FaultError>,
    },
    /// A target went away while the fault was being injected into it.
    #[error("pod {pod} is gone")]
    Vanished {
        /// Its name.
        pod: String,
    },
    /// Some caches could not be flushed; the others were.
    #[error("caches not flushed: {}", failed.join("; "))]
    NotFlushed {
        /// Pods that were flushed.
        flushed: Vec<String>,
        /// The others, each with the reason.
        failed: Vec<String>,
    },
    /// The run was ended while the fault was being injected.
    #[error("interrupted")]
    Interrupted,
    /// The undo was not seen to have worked in the time there is for it.
    #[error("not known to be taken back after {seconds} s")]
    NotUndone {
        /// That time.
        seconds: u64,
    },
    /// The journal names a kind that this program does not know.
    #[error("the undo journal names the unknown kind `{0}`")]
    UnknownKind(String),
    /// A guardrail forbids it.
    #[error("guardrail: {0}")]
    Guardrail(String),
}
