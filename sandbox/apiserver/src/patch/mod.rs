//! The three patch types that do not track ownership by themselves.

pub(crate) mod json;
pub(crate) mod merge;
pub(crate) mod strategic;
