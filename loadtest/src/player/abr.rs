//! Which rung to fetch next, after hls.js's `findBestLevel`.

use std::time::Duration;

use super::{BandwidthEstimator, PlayerSettings, Rung};

/// What the choice depends on besides the ladder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    /// Rung of the last segment; `None` before the first.
    pub current: Option<usize>,
    /// Media ahead of the playhead.
    pub buffered: Duration,
    /// Length of a segment.
    pub segment: Duration,
}

/// The index of the rung to fetch. `rungs` are sorted by bandwidth and not empty.
pub(super) fn choose(
    rungs: &[Rung],
    bandwidth: &BandwidthEstimator,
    settings: &PlayerSettings,
    now: Situation,
) -> usize {
    // Twice: first the best that loads before the buffer is empty, then one that may starve it for a while.
    [now.buffered, now.buffered + settings.starvation]
        .into_iter()
        .find_map(|limit| best_within(rungs, bandwidth, settings, now, limit))
        .unwrap_or(0)
}

fn best_within(
    rungs: &[Rung],
    bandwidth: &BandwidthEstimator,
    settings: &PlayerSettings,
    now: Situation,
    limit: Duration,
) -> Option<usize> {
    if limit.is_zero() {
        return None;
    }
    let estimate = bandwidth.estimate();
    rungs.iter().enumerate().rev().find_map(|(index, rung)| {
        let stays_or_falls = now.current.is_some_and(|current| index <= current);
        let usable = estimate
            * if stays_or_falls {
                settings.down_factor
            } else {
                settings.up_factor
            };
        // With two segments in the buffer a peak can be ridden out, so the average counts.
        let comfortable = now.buffered >= now.segment * 2;
        let bits = if comfortable {
            rung.average.unwrap_or(rung.bandwidth)
        } else {
            rung.bandwidth
        } as f64;
        if usable < bits {
            return None;
        }
        let transfer = bits * now.segment.as_secs_f64() / usable.max(1.0);
        // A rung that is not being played needs its playlist first.
        let waits = if now.current == Some(index) { 1 } else { 2 };
        let load = transfer + bandwidth.first_byte().as_secs_f64() * f64::from(waits);
        (load < limit.as_secs_f64()).then_some(index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder() -> Vec<Rung> {
        [200_000, 400_000, 800_000].into_iter().map(Rung::for_test).collect()
    }

    fn at(bits: u64) -> BandwidthEstimator {
        let mut estimator = BandwidthEstimator::new(500_000);
        for _ in 0..40 {
            estimator.sample(bits / 8, Duration::ZERO, Duration::from_secs(1));
        }
        estimator
    }

    fn pick(bits: u64, current: Option<usize>, buffered: u64) -> usize {
        let now = Situation {
            current,
            buffered: Duration::from_secs(buffered),
            segment: Duration::from_secs(2),
        };
        choose(&ladder(), &at(bits), &PlayerSettings::default(), now)
    }

    #[test]
    fn up_needs_more_headroom_than_staying() {
        assert_eq!(pick(450_000, Some(0), 6), 0, "0.7 × 450 k does not carry 400 k");
        assert_eq!(pick(450_000, Some(1), 6), 1, "0.95 × 450 k does");
        assert_eq!(pick(10_000_000, Some(0), 6), 2);
        assert_eq!(pick(1000, Some(2), 6), 0);
    }

    #[test]
    fn starts_with_the_starvation_allowance() {
        let now = Situation {
            current: None,
            buffered: Duration::ZERO,
            segment: Duration::from_secs(2),
        };
        let initial = BandwidthEstimator::new(500_000);
        assert_eq!(choose(&ladder(), &initial, &PlayerSettings::default(), now), 0);
    }
}
