//! How far a request is, for somebody who looks at it from outside while it runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A request's progress. Figures are read one by one: each is true, together they may be a moment apart.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
    /// Content length plus one; 0 is unknown.
    length: AtomicU64,
    /// Microseconds plus one; 0 is not yet.
    first_byte: AtomicU64,
}

/// What was seen of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Body bytes that have come.
    pub bytes: u64,
    /// Body bytes that will have come, where the server said so.
    pub length: Option<u64>,
    /// From the start of the request to its first byte; `None` before that.
    pub first_byte: Option<Duration>,
}

impl Progress {
    /// So much has come.
    pub fn note(&self, transferred: Transferred) {
        let first_byte = transferred.first_byte.map_or(0, |wait| wait.as_micros() as u64 + 1);
        self.bytes.store(transferred.bytes, Ordering::Relaxed);
        self.length.store(
            transferred.length.map_or(0, |length| length.saturating_add(1)),
            Ordering::Relaxed,
        );
        self.first_byte.store(first_byte, Ordering::Relaxed);
    }

    /// How far it is.
    pub fn look(&self) -> Transferred {
        let first_byte = self.first_byte.load(Ordering::Relaxed).checked_sub(1);
        Transferred {
            bytes: self.bytes.load(Ordering::Relaxed),
            length: self.length.load(Ordering::Relaxed).checked_sub(1),
            first_byte: first_byte.map(Duration::from_micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_not_zero() {
        let progress = Progress::default();
        assert_eq!(progress.look(), Transferred::default());
        let some = Transferred {
            bytes: 7,
            length: Some(0),
            first_byte: Some(Duration::ZERO),
        };
        progress.note(some);
        assert_eq!(progress.look(), some);
    }
}
