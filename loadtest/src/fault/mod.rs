//! Faults: what is done, what undoes it, and the proof that it was undone.
//!
//! **Invariant:** the undo of a mutation is on disk before the mutation is sent. A crash at any point therefore loses
//! no undo.

mod api;
mod error;
mod guard;
mod injector;
mod journal;
mod objects;
#[cfg(test)]
mod tests;

pub use error::FaultError;
pub use injector::{Injector, UNDO_WITHIN};
pub use journal::{Entry, Journal, JournalError, Stage, Undo, outstanding, read as read_journal};
pub use objects::{Experiment, experiment, lasting};
