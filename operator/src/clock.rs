//! Where the time of day comes from. Everything pure takes it as an argument.

use jiff::Timestamp;
use tokio::time::Instant;

/// A clock.
#[derive(Clone, Copy, Debug, Default)]
pub enum Clock {
    /// The system's.
    #[default]
    System,
    /// The runtime's, counted from an instant: it stands still and jumps ahead as the runtime's time does.
    Runtime {
        /// The time of day at `start`.
        epoch: Timestamp,
        /// When it was that time.
        start: Instant,
    },
}

impl Clock {
    /// A clock that shows `epoch` now, and goes with the runtime from here on.
    #[must_use]
    pub fn runtime(epoch: Timestamp) -> Self {
        Self::Runtime {
            epoch,
            start: Instant::now(),
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Runtime { epoch, start } => epoch.checked_add(start.elapsed()).unwrap_or(Timestamp::MAX),
        }
    }
}
