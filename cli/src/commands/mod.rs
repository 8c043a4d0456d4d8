//! One module a command.

pub(crate) mod build;
pub(crate) mod crd;
pub(crate) mod drill;
pub(crate) mod explain;
pub(crate) mod judge;
pub(crate) mod lever;
pub(crate) mod supervise;
pub(crate) mod undo;
pub(crate) mod up;
