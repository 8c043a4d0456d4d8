//! Server-side apply: who owns which field, and what that means for merging.

pub(crate) mod compare;
pub(crate) mod fields;
pub(crate) mod item;
pub(crate) mod managers;
pub(crate) mod merge;
#[cfg(test)]
mod properties;
pub(crate) mod update;
