//! A token bucket that many connections share fairly.
//!
//! It is a reservation scheme (the generic cell rate algorithm): a connection reserves its bytes at once and is told how
//! long to wait before they count as sent. Connections that each hold one small reservation at a time are served in turn,
//! so the bucket is fair without a queue of its own.

use std::time::Duration;
use tokio::time::Instant;

/// How much of the rate one reservation may take: about a millisecond's worth. A health probe that shares a saturated
/// limit with two hundred downloads still gets its turn within a fifth of a second.
const QUANTUM_SECONDS: f64 = 0.001;
const SMALLEST_QUANTUM: usize = 1_448;
const LARGEST_QUANTUM: usize = 64 * 1024;

/// A shared rate limit in bytes per second.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    bytes_per_second: f64,
    burst: Duration,
    /// When all bytes reserved so far will have been sent at exactly the rate.
    sent_at: Option<Instant>,
}

impl TokenBucket {
    /// A bucket of `bytes_per_second` that lets `burst` worth of idle time through at once.
    pub fn new(bytes_per_second: u64, burst: Duration) -> Self {
        Self {
            bytes_per_second: (bytes_per_second.max(1)) as f64,
            burst,
            sent_at: None,
        }
    }

    /// The largest reservation a connection should make, so that others get their turn.
    pub fn quantum(&self) -> usize {
        ((self.bytes_per_second * QUANTUM_SECONDS) as usize).clamp(SMALLEST_QUANTUM, LARGEST_QUANTUM)
    }

    /// The configured rate in bytes per second.
    pub fn rate(&self) -> u64 {
        self.bytes_per_second as u64
    }

    /// Changes the rate; what is reserved already keeps its place.
    pub fn set_rate(&mut self, bytes_per_second: u64) {
        self.bytes_per_second = bytes_per_second.max(1) as f64;
    }

    /// Reserves `bytes` and says when they may go out.
    pub fn reserve(&mut self, now: Instant, bytes: usize) -> Instant {
        let earliest = now.checked_sub(self.burst).unwrap_or(now);
        let start = self.sent_at.map_or(earliest, |at| at.max(earliest));
        let end = start + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        self.sent_at = Some(end);
        end.max(now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rate_holds_after_the_burst() {
        let mut bucket = TokenBucket::new(1000, Duration::from_millis(100));
        let start = Instant::now();
        assert_eq!(bucket.reserve(start, 100), start, "the burst goes out at once");
        assert_eq!(bucket.reserve(start, 500), start + Duration::from_millis(500));
        assert_eq!(bucket.reserve(start, 500), start + Duration::from_secs(1));
        let later = start + Duration::from_mins(1);
        assert_eq!(
            bucket.reserve(later, 1100),
            later + Duration::from_secs(1),
            "idle time earns the burst and no more"
        );
    }

    #[test]
    fn connections_that_take_turns_get_equal_shares() {
        let mut bucket = TokenBucket::new(100_000, Duration::ZERO);
        let quantum = bucket.quantum();
        let start = Instant::now();
        let mut next = [start; 4];
        let mut sent = [0usize; 4];
        // Whoever is due first reserves next: what the pumps do.
        while let Some((who, at)) = next.iter().copied().enumerate().min_by_key(|(_, at)| *at) {
            if at >= start + Duration::from_secs(10) {
                break;
            }
            next[who] = bucket.reserve(at, quantum);
            sent[who] += quantum;
        }
        let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
        assert!(most - least <= 2 * quantum, "{sent:?}");
        let total: usize = sent.iter().sum();
        assert!((900_000..1_100_000).contains(&total), "{total}");
    }

    proptest! {
        #[test]
        fn no_window_exceeds_rate_and_burst(rate in 1_000u64..10_000_000, sizes in proptest::collection::vec(1usize..65_536, 1..60)) {
            let burst = Duration::from_millis(50);
            let mut bucket = TokenBucket::new(rate, burst);
            let start = Instant::now();
            let mut last = start;
            let mut total = 0.0;
            for size in sizes {
                let at = bucket.reserve(start, size);
                prop_assert!(at >= last);
                last = at;
                total += size as f64;
            }
            let allowed = rate as f64 * ((last - start) + burst).as_secs_f64();
            prop_assert!(total <= allowed * 1.000_001 + 1.0, "{total} > {allowed}");
        }
    }
}
