//! What every controller stands on: caches that read their own writes, keyed work queues, an event recorder.

pub(crate) mod cache;
pub(crate) mod events;
pub(crate) mod queue;

use kube::runtime::watcher;

/// What can go wrong in one reconciliation. The queue retries with backoff; nothing here is fatal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// The API server refused or could not be reached.
    #[error("the API server: {0}")]
    Api(#[from] kube::Error),
    /// An object could not be turned into JSON or back.
    #[error("serialising an object: {0}")]
    Json(#[from] serde_json::Error),
    /// The object contradicts itself, such as a selector that does not parse.
    #[error("{0}")]
    Invalid(String),
}

impl ReconcileError {
    /// Someone else wrote first, or the object is gone or already there: expected in a system of many writers, so
    /// worth a retry but not a warning.
    pub(crate) fn is_expected(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if matches!(status.code, 404 | 409))
    }
}

/// `Ok` for "not found": what should be gone is gone.
pub(crate) fn ignore_not_found<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The watch settings all caches share: the client library's defaults (list, then watch with bookmarks).
pub(crate) fn watch_config() -> watcher::Config {
    watcher::Config::default()
}
