//! Job: runs pods to completion.
//!
//! Counting is simpler than upstream's finalizer protocol: finished pods are counted while they exist, and the reported
//! numbers never go back. A pod that is deleted before it finishes is replaced and not counted. Not there: pod failure
//! policies, success policies, per-index backoff limits.

mod indexes;
pub(crate) mod plan;
pub(crate) mod run;
#[cfg(test)]
mod tests;
