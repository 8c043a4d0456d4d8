//! StatefulSet: pods with names, one after another.
//!
//! Not there: `persistentVolumeClaimRetentionPolicy` (claims are always retained) and `rollingUpdate.maxUnavailable`
//! above 1.

mod identity;
pub(crate) mod plan;
pub(crate) mod revision;
pub(crate) mod run;
mod status;
#[cfg(test)]
mod tests;
