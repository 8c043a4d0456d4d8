//! What the integration tests share.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod cluster;
pub(crate) mod everything;
pub(crate) mod flaky;
pub(crate) mod fleet;
pub(crate) mod varnish;
pub(crate) mod witness;
