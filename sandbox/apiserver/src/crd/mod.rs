//! Custom resources: registering definitions, and pruning, defaulting and validating objects by their schemas.

pub(crate) mod cel;
pub(crate) mod default;
pub(crate) mod prune;
pub(crate) mod ratchet;
pub(crate) mod register;
pub(crate) mod rules;
pub(crate) mod validate;
