//! Exponential backoff with jitter. Pure: the random draw is an argument.

use std::time::Duration;

/// Delays that double from `base` to `cap`, each shortened by up to half at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// First delay.
    pub base: Duration,
    /// Longest delay.
    pub cap: Duration,
}

impl Backoff {
    /// The delay before retry number `retry` (0 is the first); `draw` is uniform in `[0, 1)`.
    pub fn delay(self, retry: u32, draw: f64) -> Duration {
        let doubled = self.base.saturating_mul(2u32.saturating_pow(retry.min(20)));
        doubled.min(self.cap).mul_f64(1.0 - draw.clamp(0.0, 1.0) / 2.0)
    }

    /// The delay before retry number `retry`, with a draw of its own.
    pub fn jittered(self, retry: u32) -> Duration {
        self.delay(retry, rand::random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stays_between_half_and_all_of_the_doubled_delay(retry in 0u32..1000, draw in 0.0f64..1.0) {
            let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };
            let full = Duration::from_millis(100 * (1u64 << retry.min(10))).min(Duration::from_secs(5));
            let delay = backoff.delay(retry, draw);
            prop_assert!(delay <= full && delay >= full / 2);
        }
    }
}
