//! One thing that is fetched again and again: when it is due, what is on its way, how often it failed.

use std::time::Duration;

use rand::Rng;

use super::{FetchId, RetryPolicy};
use crate::telemetry::ErrorKind;

/// A repeated fetch.
#[derive(Clone, Debug, Default)]
pub(super) struct Job {
    /// On its way.
    pub inflight: Option<FetchId>,
    /// When to fetch; `None`: not now.
    pub at: Option<Duration>,
    /// Consecutive failures that were not timeouts.
    errors: u8,
    /// Consecutive timeouts.
    timeouts: u8,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// The same again, after a wait.
    Retry(Duration),
    /// Leave this pathway if there is another; else the same again, after a wait.
    Leave(Duration),
}

impl Job {
    pub(super) fn due_at(at: Duration) -> Self {
        Self {
            at: Some(at),
            ..Self::default()
        }
    }

    /// When it is due, unless it is on its way.
    pub(super) fn wake(&self) -> Option<Duration> {
        self.at.filter(|_| self.inflight.is_none())
    }

    /// The due time, if it has come and nothing is on its way.
    pub(super) fn ready(&self, now: Duration) -> Option<Duration> {
        self.wake().filter(|at| *at <= now)
    }

    pub(super) fn send(&mut self, id: FetchId) {
        self.inflight = Some(id);
        self.at = None;
    }

    pub(super) fn succeeded(&mut self) {
        self.inflight = None;
        (self.errors, self.timeouts) = (0, 0);
    }

    /// Starts afresh at `at`; gives up what is on its way.
    pub(super) fn restart(&mut self, at: Duration) -> Option<FetchId> {
        let dropped = self.inflight.take();
        *self = Self::due_at(at);
        dropped
    }

    pub(super) fn failed(
        &mut self,
        kind: ErrorKind,
        status: Option<u16>,
        policy: &RetryPolicy,
        rng: &mut impl Rng,
    ) -> AfterFailure {
        self.inflight = None;
        let timeout = kind == ErrorKind::Timeout;
        let (count, allowed) = if timeout {
            (&mut self.timeouts, policy.timeouts)
        } else {
            (&mut self.errors, policy.errors)
        };
        let failures = *count;
        *count = count.saturating_add(1);
        let final_answer = status.is_some_and(|status| (400..500).contains(&status));
        if final_answer || failures >= allowed {
            AfterFailure::Leave(backoff(policy, failures, rng))
        } else if timeout {
            AfterFailure::Retry(Duration::ZERO)
        } else {
            AfterFailure::Retry(backoff(policy, failures, rng))
        }
    }

    pub(super) fn failures(&self) -> u8 {
        self.errors.saturating_add(self.timeouts)
    }
}

/// Exponential, with up to a quarter of jitter on top so that viewers that failed together do not return together.
pub(super) fn backoff(policy: &RetryPolicy, failures: u8, rng: &mut impl Rng) -> Duration {
    let wait = policy.base.saturating_mul(1u32 << failures.min(10)).min(policy.max);
    wait + wait.mul_f64(rng.random_range(0.0..0.25))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn errors_are_retried_then_the_pathway_is_left() {
        let (mut job, mut rng) = (Job::default(), SmallRng::seed_from_u64(1));
        let policy = RetryPolicy::default();
        assert!(matches!(
            job.failed(ErrorKind::Connect, None, &policy, &mut rng),
            AfterFailure::Retry(_)
        ));
        assert!(matches!(
            job.failed(ErrorKind::Connect, None, &policy, &mut rng),
            AfterFailure::Leave(_)
        ));
        job.succeeded();
        assert!(matches!(
            job.failed(ErrorKind::Status, Some(404), &policy, &mut rng),
            AfterFailure::Leave(_)
        ));
        job.succeeded();
        assert!(matches!(
            job.failed(ErrorKind::Timeout, None, &policy, &mut rng),
            AfterFailure::Leave(_)
        ));
    }

    #[test]
    fn timeouts_are_asked_again_at_once_as_often_as_allowed() {
        let (mut job, mut rng) = (Job::default(), SmallRng::seed_from_u64(1));
        let policy = RetryPolicy {
            timeouts: 4,
            ..RetryPolicy::default()
        };
        for _ in 0..4 {
            let after = job.failed(ErrorKind::Timeout, None, &policy, &mut rng);
            assert_eq!(after, AfterFailure::Retry(Duration::ZERO));
        }
        let after = job.failed(ErrorKind::Timeout, None, &policy, &mut rng);
        assert!(matches!(after, AfterFailure::Leave(_)));
    }

    #[test]
    fn waits_grow_to_a_bound() {
        let (policy, mut rng) = (RetryPolicy::default(), SmallRng::seed_from_u64(1));
        for failures in 0..=255 {
            let wait = backoff(&policy, failures, &mut rng);
            assert!(
                wait >= policy.base && wait <= policy.max.mul_f64(1.25),
                "{failures}: {wait:?}"
            );
        }
    }
}
