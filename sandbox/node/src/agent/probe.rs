//! Probes: the thresholds as a pure machine, and the schedule.

use k8s_openapi::api::core::v1::Probe;
use std::time::Duration;

/// A probe's timing, with the API's defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeTiming {
    /// Wait before the first probe.
    pub initial_delay: Duration,
    /// Time between probes.
    pub period: Duration,
    /// A probe without an answer by then has failed.
    pub timeout: Duration,
    /// Successes in a row that make it succeed.
    pub success_threshold: u32,
    /// Failures in a row that make it fail.
    pub failure_threshold: u32,
}

impl From<&Probe> for ProbeTiming {
    fn from(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            let given = value.and_then(|v| u64::try_from(v).ok()).filter(|v| *v > 0);
            Duration::from_secs(given.unwrap_or(default))
        };
        let count = |value: Option<i32>, default: u32| {
            value
                .and_then(|v| u32::try_from(v).ok())
                .filter(|v| *v > 0)
                .unwrap_or(default)
        };
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            success_threshold: count(probe.success_threshold, 1),
            failure_threshold: count(probe.failure_threshold, 3),
        }
    }
}

/// Results in a row, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeState {
    successes: u32,
    failures: u32,
}

/// What a result leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Neither threshold is met: what held before holds on.
    Unchanged,
    /// The success threshold is met.
    Success,
    /// The failure threshold is met.
    Failure,
}

impl ProbeState {
    /// Takes one result into account.
    pub fn observe(&mut self, succeeded: bool, timing: &ProbeTiming) -> Verdict {
        if succeeded {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            if self.successes >= timing.success_threshold {
                Verdict::Success
            } else {
                Verdict::Unchanged
            }
        } else {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            if self.failures >= timing.failure_threshold {
                Verdict::Failure
            } else {
                Verdict::Unchanged
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Verdict::{Failure, Success, Unchanged};
    use super::*;
    use proptest::prelude::*;

    fn timing(success: u32, failure: u32) -> ProbeTiming {
        ProbeTiming {
            success_threshold: success,
            failure_threshold: failure,
            ..ProbeTiming::from(&Probe::default())
        }
    }

    #[test]
    fn defaults_are_the_apis() {
        let t = ProbeTiming::from(&Probe::default());
        assert_eq!(
            (t.initial_delay.as_secs(), t.period.as_secs(), t.timeout.as_secs()),
            (0, 10, 1)
        );
        assert_eq!((t.success_threshold, t.failure_threshold), (1, 3));
    }

    #[test]
    fn one_contrary_result_starts_the_count_again() {
        let t = timing(2, 3);
        let mut state = ProbeState::default();
        let verdicts: Vec<Verdict> = [false, false, true, false, false, false, true, true]
            .map(|ok| state.observe(ok, &t))
            .into();
        assert_eq!(
            verdicts,
            [
                Unchanged, Unchanged, Unchanged, Unchanged, Unchanged, Failure, Unchanged, Success
            ]
        );
    }

    proptest! {
        #[test]
        fn a_verdict_needs_its_run_of_equal_results(results in proptest::collection::vec(any::<bool>(), 1..60), s in 1u32..5, f in 1u32..5) {
            let t = timing(s, f);
            let mut state = ProbeState::default();
            for (index, ok) in results.iter().enumerate() {
                let run = results[..=index].iter().rev().take_while(|r| *r == ok).count() as u32;
                let expected = match ok {
                    true if run >= s => Verdict::Success,
                    false if run >= f => Verdict::Failure,
                    _ => Verdict::Unchanged,
                };
                prop_assert_eq!(state.observe(*ok, &t), expected);
            }
        }
    }
}
