//! Usage against its target: the number every proposal is made from.

use std::collections::BTreeMap;

use serde::Serialize;

/// Usage of pods that request something, against a target percentage of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Utilization {
    /// `percent` over the target percentage.
    pub ratio: f64,
    /// Usage as a percentage of requests, truncated to an integer and clamped to 32 bits.
    pub percent: i32,
    /// Mean usage of the pods counted, in thousandths, truncated.
    pub average_m: i64,
}

/// No pod with a sample has a request: there is nothing to divide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no metrics returned matched known pods")]
pub struct NothingMatched;

impl Utilization {
    /// From sums over the counted pods. The sums are wide enough not to overflow, as in Kubernetes, which clamps only
    /// the percentage.
    pub(super) fn of(usage: i128, requests: i128, entries: i64, target_percent: i32) -> Result<Self, NothingMatched> {
        if requests == 0 || entries == 0 {
            return Err(NothingMatched);
        }
        let percent = match (i64::try_from(usage), i64::try_from(requests)) {
            // The common case, without the cost of a wide division.
            (Ok(usage), Ok(requests)) if usage.unsigned_abs() < u64::MAX / 400 => i128::from(usage * 100 / requests),
            _ => usage.saturating_mul(100) / requests,
        };
        let percent = i32::try_from(percent).unwrap_or(if percent < 0 { i32::MIN } else { i32::MAX });
        let average_m =
            i64::try_from(usage).map_or_else(|_| (usage / i128::from(entries)) as i64, |usage| usage / entries);
        Ok(Self {
            ratio: f64::from(percent) / f64::from(target_percent),
            percent,
            average_m,
        })
    }
}

/// Usage over requests of the pods in both maps; both in thousandths.
pub fn utilization_ratio(
    metrics: &BTreeMap<String, i64>,
    requests: &BTreeMap<String, i64>,
    target_percent: i32,
) -> Result<Utilization, NothingMatched> {
    let (mut usage, mut total, mut entries) = (0_i128, 0_i128, 0_i64);
    for (pod, value) in metrics {
        // A sample without a request is of a pod that is gone: missing requests are refused elsewhere.
        if let Some(request) = requests.get(pod) {
            usage += i128::from(*value);
            total += i128::from(*request);
            entries += 1;
        }
    }
    Utilization::of(usage, total, entries, target_percent)
}

/// Mean usage against a target value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// `average_m` over the target.
    pub ratio: f64,
    /// Mean usage in thousandths, truncated.
    pub average_m: i64,
}

impl Usage {
    /// From the (wrapping, as in Kubernetes) sum over `entries` samples; `None` without samples.
    pub(super) fn of(sum: i64, entries: i64, target_m: i64) -> Option<Self> {
        let average_m = sum.checked_div(entries)?;
        Some(Self {
            ratio: average_m as f64 / target_m as f64,
            average_m,
        })
    }
}

/// Mean of `metrics` over the target, all in thousandths; `None` without samples.
pub fn usage_ratio(metrics: &BTreeMap<String, i64>, target_m: i64) -> Option<Usage> {
    let sum = metrics.values().fold(0_i64, |sum, value| sum.wrapping_add(*value));
    Usage::of(sum, metrics.len() as i64, target_m)
}

/// `ceil(value)` as a size. Conversion saturates, as Kubernetes' does where it guards against overflow.
pub(super) fn ceil(value: f64) -> i32 {
    value.ceil() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums are exact beyond 64 bits; only the percentage is clamped.
    #[test]
    fn an_overflowing_percentage_is_clamped_at_its_own_rail() {
        let pods = |value: i64| BTreeMap::from([("a".to_owned(), value), ("b".to_owned(), value)]);
        let percent = |usage, request| utilization_ratio(&pods(usage), &pods(request), 50).map(|found| found.percent);
        assert_eq!(percent(i64::MAX, 1), Ok(i32::MAX));
        assert_eq!(percent(i64::MIN, 1), Ok(i32::MIN));
        assert_eq!(percent(i64::MAX, i64::MAX), Ok(100));
        assert_eq!(
            utilization_ratio(&pods(i64::MAX), &pods(1), 50).map(|found| found.average_m),
            Ok(i64::MAX)
        );
        assert_eq!(percent(5, 0), Err(NothingMatched));
    }

    /// A mean wraps like Kubernetes' own sum.
    #[test]
    fn a_mean_needs_samples() {
        assert_eq!(usage_ratio(&BTreeMap::new(), 10), None);
        assert_eq!(Usage::of(-1, 2, 10).map(|usage| usage.average_m), Some(0));
    }
}
