//! What the built-in kinds do beyond being stored.

pub(crate) mod defaults;
pub(crate) mod events;
pub(crate) mod names;
pub(crate) mod omit;
pub(crate) mod pod_defaults;
pub(crate) mod services;
pub(crate) mod strategy;
pub(crate) mod validation;
pub(crate) mod zero;
