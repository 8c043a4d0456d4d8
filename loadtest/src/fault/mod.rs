//! Faults: what is done, what undoes it, and the proof that it was undone.
//!
//! **Invariant:** the undo of a mutation is on disk, and in the run's Drill, before the mutation is sent. A crash at any point
//! therefore loses no undo.

mod api;
mod choose;
mod course;
mod error;
mod guard;
mod injector;
mod journal;
mod objects;
mod recovery;
#[cfg(test)]
mod tests;

pub use error::FaultError;
pub use injector::Injector;
pub use journal::{Entry, Journal, JournalError, Origin, Stage, Undo, outstanding, read as read_journal, read_run};
pub use objects::{Experiment, experiment, lasting};
pub use recovery::UNDO_WITHIN;
pub(crate) use recovery::{persist, strays, take_back_all};
