//! Segment numbers are wall-clock time: segment `n` holds the seconds `[n·L, n·L + L)` of the Unix epoch, `L` being the
//! segment length. Encoders that never talk to each other therefore agree on every number.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// AAC-LC packs 1024 samples into a frame; at 48 kHz a whole number of frames meets a whole second only every 8 s.
const AUDIO_GRID_SECONDS: u64 = 8;
/// Longest wait for a start on the audio grid. Segment lengths that would need longer start on their own grid, and two
/// encoders of such a channel may cut audio one frame (21 ms) apart.
const LONGEST_GRID_SECONDS: u64 = 24;

/// Time since the Unix epoch; zero when the clock stands before it.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The numbering of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    seconds: u64,
}

/// A moment at which an encoder may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Unix time in whole seconds.
    pub second: u64,
    /// The segment that begins there.
    pub number: u64,
}

impl Timeline {
    /// A timeline of segments of `segment_seconds` (0 counts as 1).
    pub fn new(segment_seconds: u32) -> Self {
        Self {
            seconds: u64::from(segment_seconds.max(1)),
        }
    }

    /// Length of a segment.
    pub fn length(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// When segment `number` begins.
    pub fn start(self, number: u64) -> Duration {
        Duration::from_secs(number.saturating_mul(self.seconds))
    }

    /// When segment `number` ends: the earliest time it can be complete.
    pub fn end(self, number: u64) -> Duration {
        self.start(number.saturating_add(1))
    }

    /// The segment that `at` falls into.
    pub fn number_at(self, at: Duration) -> u64 {
        at.as_secs() / self.seconds
    }

    /// The next start, strictly after `now`, at which a fresh encoder cuts the same video *and* audio as one that has been
    /// running since any earlier such moment.
    pub fn next_lock(self, now: Duration) -> Lock {
        let grid = self.grid();
        let second = (now.as_secs() / grid + 1) * grid;
        Lock {
            second,
            number: second / self.seconds,
        }
    }

    fn grid(self) -> u64 {
        let common = self.seconds / gcd(self.seconds, AUDIO_GRID_SECONDS) * AUDIO_GRID_SECONDS;
        if common <= LONGEST_GRID_SECONDS {
            common
        } else {
            self.seconds
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_second_segments_start_on_the_audio_grid() {
        let lock = Timeline::new(2).next_lock(Duration::from_millis(1_795_324_441_500));
        assert_eq!(
            lock,
            Lock {
                second: 1_795_324_448,
                number: 897_662_224
            }
        );
        assert_eq!(lock.second * 48_000 % 1024, 0);
    }

    #[test]
    fn lengths_far_from_the_audio_grid_start_on_their_own() {
        assert_eq!(Timeline::new(6).grid(), 24);
        assert_eq!(Timeline::new(7).grid(), 7);
    }

    proptest! {
        #[test]
        fn a_lock_is_ahead_near_and_on_a_segment_boundary(millis in 0u64..4_000_000_000_000, length in 1u32..=10) {
            let (timeline, now) = (Timeline::new(length), Duration::from_millis(millis));
            let lock = timeline.next_lock(now);
            prop_assert!(Duration::from_secs(lock.second) > now);
            prop_assert!(Duration::from_secs(lock.second) <= now + Duration::from_secs(LONGEST_GRID_SECONDS));
            prop_assert_eq!(timeline.start(lock.number), Duration::from_secs(lock.second));
        }

        #[test]
        fn a_number_holds_its_own_time(number in 0u64..4_000_000_000, length in 1u32..=10, inside in 0.0f64..0.999) {
            let timeline = Timeline::new(length);
            let at = timeline.start(number) + timeline.length().mul_f64(inside);
            prop_assert_eq!(timeline.number_at(at), number);
        }
    }
}
