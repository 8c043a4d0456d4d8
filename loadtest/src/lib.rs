//! Drills: a scenario is planned, played and judged.
//!
//! - [`plan`]: a scenario and a platform become a timeline *(pure)*.
//! - [`audience`], [`player`], [`http`]: viewers. goose is the shell around them.
//! - [`fault`]: what goes wrong, and its undo, which is on record first.
//! - [`observe`]: what the cluster looks like meanwhile.
//! - [`evidence`]: what all of them append to; [`telemetry`] is the viewers' part.
//! - [`judge`]: evidence becomes a verdict *(pure)*.
//! - [`report`]: a verdict becomes a table, Markdown, JUnit, HTML *(pure)*.
//! - [`drill`]: the life of a drill, which strings these together.

pub mod audience;
pub mod drill;
pub mod evidence;
pub mod fault;
pub mod http;
pub mod judge;
pub mod observe;
pub mod plan;
pub mod player;
pub mod report;
pub mod telemetry;
#[cfg(test)]
mod testing;
