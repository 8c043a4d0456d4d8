//! Processes that end with whoever started them.

pub use crate::agent::{SpawnRequest, Spawned, Spawner};
