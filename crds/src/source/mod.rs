//! YAML files: every mistake at once, each with its line and column.
//!
//! ```text
//! examples/cinema.yaml:31:15: spec.regions[1].weight: 1200 is above the maximum of 1000
//! ```
//!
//! A file is parsed into a tree that remembers where each value stands, the tree is held against the schema of its kind,
//! then against the [`crate::rules`]. Nothing stops at the first mistake except what is not YAML at all.

mod diagnostics;
mod documents;
mod limits;
mod mend;
mod metadata;
mod names;
mod patch;
mod schema;
mod tree;

pub use diagnostics::{Diagnostics, Finding};
pub use documents::{
    Document, PlatformFile, locate, read_documents, read_platform_file, read_platform_file_with, read_scenario,
};
pub(crate) use names::{shown, suggest};

/// Longest file that is read, in bytes. An object's limit in etcd is 1.5 MiB.
pub const MAX_BYTES: usize = 1024 * 1024;
