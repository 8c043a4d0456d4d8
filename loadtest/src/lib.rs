//! See ARCHITECTURE.md.

pub mod http;
