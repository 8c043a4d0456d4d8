//! Drills: a scenario is planned, played and judged.
//!
//! - [`plan`]: a scenario and a platform become a timeline *(pure)*.
//! - [`audience`], [`player`], [`http`]: viewers. goose is the shell around them.
//! - [`fault`]: what goes wrong, and its undo, which is on record first.
//! - [`guardrail`]: what a drill may do, and what ends it.
//! - [`record`]: the run in the cluster: its `Drill`, the journal in it, and the Lease of its runner.
//! - [`undo`]: taking back what a run has left, and proving it.
//! - [`observe`]: what the cluster looks like meanwhile.
//! - [`evidence`]: what all of them append to; [`telemetry`] is the viewers' part.
//! - [`judge`]: evidence becomes a verdict *(pure)*.
//! - [`report`]: a verdict becomes a table, Markdown, JUnit, HTML *(pure)*.
//! - [`drill`]: the life of a drill, which strings these together.

pub mod audience;
pub mod drill;
pub mod evidence;
pub mod fault;
pub mod guardrail;
pub mod http;
pub mod judge;
pub mod observe;
pub mod plan;
pub mod player;
pub mod record;
pub mod report;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod undo;
