//! Viewers as tasks: who watches when, one task and one connection per host for each, and goose as the shell around them.
//!
//! A viewer is a [`crate::player::Player`] on [`crate::http`] connections. Its clock is open: what is due is due, whether or
//! not the server, or this process, keeps up; the difference is measured and reported.

mod cohort;
mod goose_shell;
pub mod interrupt;
mod lanes;
mod run;
mod schedule;
mod solo;
mod viewer;

pub use goose_shell::GooseRun;
pub use run::{AudienceError, AudienceReport, ClassReport, drive_audience, run_audience};
pub use schedule::{Arrivals, AudiencePlan, Network, PhaseTarget, RegionSlice, Schedule, Viewing};
pub use solo::{Glimpse, SoloSession, watch_alone};
