//! Node lifecycle: a silent node becomes unknown, is tainted, loses its pods; a node that speaks again is welcome.

mod conditions;
mod evict;
pub(crate) mod plan;
pub(crate) mod run;
mod taints;
#[cfg(test)]
mod tests;
