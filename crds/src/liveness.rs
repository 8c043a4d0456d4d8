//! Whether the runner of a drill lives, as others see it: pure.
//!
//! The rules are those of client-go's leader election: a holder is held to be gone when its Lease has not been seen to change
//! for as long as the Lease says, by the clock of whoever looks. Clocks of two machines are never compared.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;

/// How long a runner may be silent before others take its faults back.
pub const LEASE_DURATION: Duration = Duration::from_secs(30);

/// What someone has seen of a run's Lease.
#[derive(Clone, Debug, Default)]
pub struct Liveness {
    /// Its version, and when that was seen first.
    seen: Option<(Option<String>, Duration)>,
}

impl Liveness {
    /// Notes what the Lease looks like, and gives how long its holder may still be alive: zero once it is gone. `now` is the
    /// time on any clock of the caller's that only goes forward.
    pub fn look(&mut self, lease: Option<&Lease>, now: Duration) -> Duration {
        let spec = lease.and_then(|lease| lease.spec.as_ref());
        if spec.is_some_and(|spec| spec.holder_identity.as_deref().unwrap_or_default().is_empty()) {
            return Duration::ZERO;
        }
        let version = lease.and_then(ResourceExt::resource_version);
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => {
                self.seen = Some((version, now));
                now
            }
        };
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
        let duration = seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(LEASE_DURATION, Duration::from_secs);
        duration.saturating_sub(now.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::{api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime};
    use kube::api::ObjectMeta;

    use super::*;

    fn lease(version: &str, holder: &str) -> Lease {
        Lease {
            metadata: ObjectMeta {
                resource_version: Some(version.into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: Some(30),
                // In another century: the times in a Lease decide nothing.
                renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
                ..LeaseSpec::default()
            }),
        }
    }

    #[test]
    fn a_runner_is_gone_when_its_lease_was_not_seen_to_change_for_its_duration() {
        let mut seen = Liveness::default();
        let mut left = |version, seconds| {
            seen.look(Some(&lease(version, "a")), Duration::from_secs(seconds))
                .as_secs()
        };
        assert_eq!(left("1", 100), 30);
        assert_eq!(left("1", 129), 1);
        assert_eq!(left("2", 129), 30, "it was renewed");
        assert_eq!(left("2", 159), 0);
    }

    #[test]
    fn a_lease_that_was_given_back_is_free_and_one_that_is_missing_only_after_a_while() {
        let none = Duration::ZERO;
        assert_eq!(Liveness::default().look(Some(&lease("1", "")), none), none);
        let mut seen = Liveness::default();
        assert_eq!(seen.look(None, none), LEASE_DURATION, "it may be about to be made");
        assert_eq!(seen.look(None, LEASE_DURATION), none);
    }
}
