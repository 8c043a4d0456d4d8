//! Latencies: an HDR histogram, and the few numbers that events carry.

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencySummary {
    /// How many.
    pub count: u64,
    /// Median.
    pub p50_us: u64,
    /// 95th percentile.
    pub p95_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// Largest.
    pub max_us: u64,
}

/// Microseconds with two significant digits, 1 µs to one minute: longer ones count as a minute.
#[derive(Clone, Debug)]
pub struct LatencyHistogram {
    inner: Option<Histogram<u32>>,
}

const MINUTE_US: u64 = 60_000_000;

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyHistogram {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        // These bounds are valid, so it is always `Some`; an empty histogram beats a panic all the same.
        Self {
            inner: Histogram::new_with_bounds(1, MINUTE_US, 2).ok(),
        }
    }

    /// Adds one value.
    pub fn record(&mut self, microseconds: u64) {
        if let Some(inner) = &mut self.inner {
            inner.saturating_record(microseconds.clamp(1, MINUTE_US));
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        if let (Some(inner), Some(other)) = (&mut self.inner, &other.inner) {
            // Same bounds, so it cannot fail.
            let _ = inner.add(other);
        }
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.reset();
        }
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.inner.as_ref().map_or(0, Histogram::len)
    }

    /// The value below which `percent` of all lie, in microseconds.
    pub fn percentile(&self, percent: f64) -> u64 {
        self.inner
            .as_ref()
            .filter(|inner| !inner.is_empty())
            .map_or(0, |inner| inner.value_at_percentile(percent))
    }

    /// The few numbers.
    pub fn summary(&self) -> LatencySummary {
        LatencySummary {
            count: self.count(),
            p50_us: self.percentile(50.0),
            p95_us: self.percentile(95.0),
            p99_us: self.percentile(99.0),
            max_us: self.inner.as_ref().map_or(0, Histogram::max),
        }
    }

    /// HDR V2 in base64, the interchange format of HDR tools.
    pub fn to_base64(&self) -> String {
        let mut bytes = Vec::new();
        match &self.inner {
            Some(inner) if V2Serializer::new().serialize(inner, &mut bytes).is_ok() => {
                base64::engine::general_purpose::STANDARD.encode(bytes)
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_within_two_digits() {
        let mut histogram = LatencyHistogram::new();
        for value in 1..=1000 {
            histogram.record(value * 100);
        }
        let summary = histogram.summary();
        assert_eq!(summary.count, 1000);
        assert!((49_500..=50_500).contains(&summary.p50_us), "{summary:?}");
        assert!((98_000..=100_000).contains(&summary.p99_us), "{summary:?}");
        histogram.record(u64::MAX);
        assert!(histogram.summary().max_us >= MINUTE_US);
        histogram.clear();
        assert_eq!(histogram.summary(), LatencySummary::default());
    }
}
