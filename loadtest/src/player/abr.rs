//! Which rung to fetch next, after hls.js's `findBestLevel`.

use std::time::Duration;

use super::{BandwidthEstimator, PlayerSettings, Rung};

/// What the choice depends on besides the ladder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    /// Rung of the last segment.
    pub current: usize,
    /// Media ahead of the playhead.
    pub buffered: Duration,
    /// Length of a segment.
    pub segment: Duration,
    /// Whether more segments are to come.
    pub live: bool,
}

/// The rung to begin with: the best that fits the estimate as it is, the lowest if none does. `rungs` are sorted by bandwidth.
pub(super) fn first(rungs: &[Rung], estimate: f64) -> usize {
    rungs
        .iter()
        .rposition(|rung| rung.bandwidth as f64 <= estimate)
        .unwrap_or(0)
}

/// The index of the rung to fetch. `rungs` are sorted by bandwidth and not empty.
pub(super) fn choose(
    rungs: &[Rung],
    bandwidth: &BandwidthEstimator,
    settings: &PlayerSettings,
    now: Situation,
) -> usize {
    let best = |limit, rebuffering| best_within(rungs, bandwidth, settings, now, limit, rebuffering);
    // First the best that loads before the buffer is empty, then one that may starve it, for a segment's length at most.
    let starved = now.buffered + settings.starvation.min(now.segment);
    let safe = (!now.buffered.is_zero()).then(|| best(now.buffered, false));
    safe.flatten().or_else(|| best(starved, true)).unwrap_or(0)
}

fn best_within(
    rungs: &[Rung],
    bandwidth: &BandwidthEstimator,
    settings: &PlayerSettings,
    now: Situation,
    limit: Duration,
    rebuffering: bool,
) -> Option<usize> {
    let estimate = bandwidth.estimate();
    // With two segments in the buffer a peak can be ridden out, so the average counts.
    let comfortable = !rebuffering && now.buffered >= now.segment * 2;
    rungs.iter().enumerate().rev().find_map(|(index, rung)| {
        let usable = estimate
            * if index <= now.current {
                settings.down_factor
            } else {
                settings.up_factor
            };
        let bits = match rung.average {
            Some(average) if comfortable => average,
            _ => rung.bandwidth,
        } as f64;
        if usable < bits {
            return None;
        }
        // How long it would take does not count for a live stream: its buffer is always short.
        if now.live {
            return Some(index);
        }
        let transfer = bits * now.segment.as_secs_f64() / usable.max(1.0);
        // A rung that is not being played needs its playlist first.
        let waits = if now.current == index { 1 } else { 2 };
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

    fn pick(bits: u64, current: usize, buffered: u64, live: bool) -> usize {
        let now = Situation {
            current,
            buffered: Duration::from_secs(buffered),
            segment: Duration::from_secs(2),
            live,
        };
        choose(&ladder(), &at(bits), &PlayerSettings::default(), now)
    }

    #[test]
    fn up_needs_more_headroom_than_staying() {
        for live in [false, true] {
            assert_eq!(pick(450_000, 0, 6, live), 0, "0.7 × 450 k does not carry 400 k");
            assert_eq!(pick(450_000, 1, 6, live), 1, "0.95 × 450 k does");
            assert_eq!(pick(10_000_000, 0, 6, live), 2);
            assert_eq!(pick(1000, 2, 6, live), 0);
        }
    }

    #[test]
    fn a_short_buffer_counts_only_where_it_could_be_longer() {
        assert_eq!(pick(900_000, 2, 1, false), 1, "800 k at 0.95 × 900 k takes 1.9 s");
        assert_eq!(pick(900_000, 2, 1, true), 2);
        // Next to nothing in the buffer: 5.6 s would starve it for longer than 4 s, 2.8 s would not.
        let now = |live| Situation {
            current: 2,
            buffered: Duration::from_millis(100),
            segment: Duration::from_secs(6),
            live,
        };
        let choose = |live| choose(&ladder(), &at(900_000), &PlayerSettings::default(), now(live));
        assert_eq!((choose(false), choose(true)), (1, 2));
    }

    #[test]
    fn an_average_counts_with_two_segments_in_the_buffer() {
        let mut rungs = ladder();
        rungs[2].average = Some(500_000);
        let pick = |buffered| {
            let now = Situation {
                current: 2,
                buffered: Duration::from_secs(buffered),
                segment: Duration::from_secs(2),
                live: true,
            };
            choose(&rungs, &at(600_000), &PlayerSettings::default(), now)
        };
        assert_eq!((pick(4), pick(3)), (2, 1));
    }

    #[test]
    fn begins_with_what_the_estimate_carries_in_full() {
        assert_eq!(first(&ladder(), 500_000.0), 1);
        assert_eq!(first(&ladder(), 800_000.0), 2);
        assert_eq!(first(&ladder(), 100_000.0), 0);
    }
}
