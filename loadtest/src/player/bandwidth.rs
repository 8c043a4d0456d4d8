//! Bandwidth from two exponentially weighted moving averages, as hls.js's `EwmaBandWidthEstimator`.

use std::time::Duration;

/// An average whose samples count half after `half_life` of weight.
#[derive(Clone, Copy, Debug)]
struct Ewma {
    alpha: f64,
    estimate: f64,
    weight: f64,
}

impl Ewma {
    fn new(half_life: f64) -> Self {
        Self {
            alpha: 0.5f64.powf(1.0 / half_life),
            estimate: 0.0,
            weight: 0.0,
        }
    }

    fn sample(&mut self, weight: f64, value: f64) {
        let alpha = self.alpha.powf(weight);
        self.estimate = value * (1.0 - alpha) + alpha * self.estimate;
        self.weight += weight;
    }

    /// Corrected for having started at zero.
    fn value(&self) -> Option<f64> {
        let factor = 1.0 - self.alpha.powf(self.weight);
        (factor > 0.0).then(|| self.estimate / factor)
    }
}

/// How fast segments come.
#[derive(Clone, Debug)]
pub struct BandwidthEstimator {
    fast: Ewma,
    slow: Ewma,
    first_byte: Ewma,
    initial: f64,
}

/// A transfer shorter than this says more about the clock than about the line, …
const MIN_TRANSFER: f64 = 0.05;
/// … unless it was that of a small segment: no line is believed to be faster than this, in bytes per second.
const MAX_RATE: f64 = 100_000_000.0;
/// First bytes that weigh less than this together say nothing: a single one that took longer than 3.8 s.
const MIN_WEIGHT: f64 = 0.001;
/// Time to first byte assumed before one was measured.
const INITIAL_FIRST_BYTE: Duration = Duration::from_millis(100);

impl BandwidthEstimator {
    /// Live half-lives (3 and 9 s), starting from `initial` bit/s.
    #[must_use]
    pub fn new(initial: u64) -> Self {
        Self {
            fast: Ewma::new(3.0),
            slow: Ewma::new(9.0),
            first_byte: Ewma::new(9.0),
            initial: initial as f64,
        }
    }

    /// A segment of `bytes` took `total`, of which `first_byte` was waiting.
    pub fn sample(&mut self, bytes: u64, first_byte: Duration, total: Duration) {
        if bytes == 0 {
            return;
        }
        self.sample_first_byte(first_byte);
        self.sample_transfer(bytes, first_byte, total);
    }

    /// `bytes` took `total`, of which `first_byte` was waiting and is not news.
    pub fn sample_transfer(&mut self, bytes: u64, first_byte: Duration, total: Duration) {
        let waited = first_byte.min(self.first_byte());
        let shortest = MIN_TRANSFER.min(bytes as f64 / MAX_RATE);
        let transfer = total.saturating_sub(waited).as_secs_f64().max(shortest);
        let bits_per_second = bytes as f64 * 8.0 / transfer;
        self.fast.sample(transfer, bits_per_second);
        self.slow.sample(transfer, bits_per_second);
    }

    /// A segment that will not be waited for any longer: `bytes` of it came in `elapsed`, of which `first_byte` was waiting.
    pub fn sample_part(&mut self, bytes: u64, first_byte: Option<Duration>, elapsed: Duration) {
        match first_byte.filter(|_| bytes > 0) {
            Some(first_byte) => self.sample_transfer(bytes, first_byte, elapsed),
            None => self.sample_first_byte(elapsed),
        }
    }

    /// A first byte took so long.
    pub fn sample_first_byte(&mut self, first_byte: Duration) {
        let seconds = first_byte.as_secs_f64();
        // hls.js weighs short waits more: a slow first byte is mostly a cache miss.
        let weight = std::f64::consts::SQRT_2 * (-seconds * seconds / 2.0).exp();
        self.first_byte.sample(weight, seconds.max(0.005));
    }

    /// Forgets what was measured and assumes `initial` bit/s.
    pub fn restart(&mut self, initial: f64) {
        *self = Self {
            initial,
            ..Self::new(0)
        };
    }

    /// Raises the first guess to `bits_per_second`, if nothing was measured yet.
    pub fn expect(&mut self, bits_per_second: f64) {
        self.initial = self.initial.max(bits_per_second);
    }

    /// Bits per second: the lower of both averages.
    pub fn estimate(&self) -> f64 {
        match (self.fast.value(), self.slow.value()) {
            (Some(fast), Some(slow)) => fast.min(slow),
            _ => self.initial,
        }
    }

    /// Expected wait for a first byte.
    pub fn first_byte(&self) -> Duration {
        self.first_byte
            .value()
            .filter(|_| self.first_byte.weight >= MIN_WEIGHT)
            .map_or(INITIAL_FIRST_BYTE, Duration::from_secs_f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_from_the_default_and_converges() {
        let mut estimator = BandwidthEstimator::new(500_000);
        assert!((estimator.estimate() - 500_000.0).abs() < 1.0);
        for _ in 0..30 {
            estimator.sample(500_000, Duration::ZERO, Duration::from_secs(1));
        }
        assert!(
            (estimator.estimate() - 4_000_000.0).abs() < 40_000.0,
            "{}",
            estimator.estimate()
        );
    }

    #[test]
    fn a_small_segment_may_be_quick() {
        let mut estimator = BandwidthEstimator::new(500_000);
        estimator.sample(50_000, Duration::ZERO, Duration::from_millis(4));
        assert!(
            (estimator.estimate() - 100_000_000.0).abs() < 1.0,
            "{}",
            estimator.estimate()
        );
        estimator.restart(300_000.0);
        assert!((estimator.estimate() - 300_000.0).abs() < 1.0);
        estimator.expect(200_000.0);
        assert!((estimator.estimate() - 300_000.0).abs() < 1.0);
    }

    #[test]
    fn what_is_given_up_counts_for_what_came_of_it() {
        let seconds = Duration::from_secs;
        let mut estimator = BandwidthEstimator::new(500_000);
        estimator.sample_part(2000, Some(Duration::ZERO), seconds(8));
        assert!((estimator.estimate() - 2000.0).abs() < 1.0, "{}", estimator.estimate());
        // Nothing of it says nothing of the line, but how long a first byte takes.
        let mut estimator = BandwidthEstimator::new(500_000);
        estimator.sample_part(0, None, seconds(3));
        assert!((estimator.estimate() - 500_000.0).abs() < 1.0);
        assert_eq!(estimator.first_byte(), seconds(3));
    }

    /// hls.js weighs a first byte the less the longer it took, and one alone may weigh too little.
    #[test]
    fn a_single_first_byte_that_took_very_long_is_not_believed() {
        for (millis, expected) in [(3700, Duration::from_millis(3700)), (3900, INITIAL_FIRST_BYTE)] {
            let mut estimator = BandwidthEstimator::new(500_000);
            estimator.sample_first_byte(Duration::from_millis(millis));
            assert_eq!(estimator.first_byte(), expected);
        }
    }

    #[test]
    fn falls_faster_than_it_rises() {
        let mut estimator = BandwidthEstimator::new(500_000);
        for _ in 0..20 {
            estimator.sample(1_000_000, Duration::ZERO, Duration::from_secs(1));
        }
        estimator.sample(100_000, Duration::ZERO, Duration::from_secs(3));
        let low = estimator.estimate();
        estimator.sample(3_000_000, Duration::ZERO, Duration::from_secs(3));
        assert!(low < 5_000_000.0, "{low}");
        assert!(estimator.estimate() < 7_000_000.0, "{}", estimator.estimate());
    }
}
