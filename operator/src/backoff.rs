//! How long to wait after failures in a row, pure.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_millis(500);
/// At most.
const LONGEST: Duration = Duration::from_mins(1);

/// Wait after the `failures`-th failure in a row: doubling, bounded, and spread by `jitter` in [0, 1) over the upper half,
/// so that platforms that failed together do not come back together.
#[must_use]
pub fn after(failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let wait = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    wait.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        for (failures, longest) in [(1, 500), (2, 1000), (3, 2000), (8, 60_000), (1000, 60_000)] {
            assert_eq!(after(failures, 1.0), Duration::from_millis(longest), "{failures}");
            assert_eq!(after(failures, 0.0), Duration::from_millis(longest / 2), "{failures}");
        }
    }
}
