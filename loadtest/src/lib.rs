//! See ARCHITECTURE.md.

pub mod http;
pub mod audience;
pub mod player;
pub mod telemetry;
