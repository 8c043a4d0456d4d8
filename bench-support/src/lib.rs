//! What the benchmarks share. Not part of any program: a dev-dependency.
//!
//! Benchmarks are plain programs (`harness = false`). Each prints a table for people, a `PASS` or `MISS` line for each target,
//! and one line of JSON for machines. None fails for being slow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a benchmark that cannot start has nothing better to do than to say where it stopped"
)]

pub mod books;
pub mod process;

/// `cargo test` builds and runs benchmarks too, with `--test`: there is nothing to test then.
pub fn is_test() -> bool {
    std::env::args().any(|argument| argument == "--test")
}
