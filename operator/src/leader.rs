//! Leader election: of several operators one works, the others stand by.
//!
//! The algorithm is that of client-go, and so are its times. A candidate takes the Lease when it has not seen it change for
//! as long as the Lease says, *by its own clock*: clocks of different machines are never compared. Every write names the
//! resource version it is based on, so that of two that try at once only one succeeds. A leader that could not renew for
//! [`RENEW_DEADLINE`] stops before anyone else may begin.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    clock::Clock,
    controller::{self, run},
    options::OperatorOptions,
};

/// Name of the Lease.
pub const LEASE: &str = "showrunner-operator";
/// Field manager of the Lease.
const MANAGER: &str = "showrunner-operator/leader";
/// How long a leader may be silent before another takes over.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long a leader goes on without having renewed. What it has under way then has the rest of the lease to end.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between tries.
const RETRY: Duration = Duration::from_secs(2);
/// How long one try may take.
const REQUEST: Duration = Duration::from_secs(4);
/// How long looks may go on once the lead is lost: less than the next leader needs to notice.
const WIND_DOWN: Duration = Duration::from_secs(2);
/// How long giving the lease back may take at the end.
const RELEASE: Duration = Duration::from_secs(5);

/// Runs the operator whenever this instance leads, until the token is cancelled.
pub async fn run_elected(
    client: Client,
    options: OperatorOptions,
    namespace: &str,
    identity: &str,
    stop: CancellationToken,
) -> Result<(), controller::Error> {
    let mut candidate = Candidate {
        leases: Api::namespaced(client.clone(), namespace),
        identity: identity.to_owned(),
        clock: options.clock,
        seen: None,
    };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = candidate.acquire() => {}
        }
        info!(identity, "leading");
        let term = stop.child_token();
        let mut operator = Box::pin(run(client.clone(), options.clone(), term.clone()));
        let ended = tokio::select! {
            biased;
            () = candidate.hold() => None,
            outcome = &mut operator => Some(outcome),
        };
        if let Some(outcome) = ended {
            // Nothing of ours is under way any more, so the next may begin at once.
            candidate.release().await;
            return outcome;
        }
        warn!(identity, "no longer leading");
        term.cancel();
        // What is still under way is dropped after a moment: two leaders must not write at the same time.
        if let Ok(outcome) = timeout(WIND_DOWN, operator).await {
            outcome?;
        }
        if stop.is_cancelled() {
            return Ok(());
        }
    }
}

/// Spread a little, so that candidates do not come in step.
async fn pause() {
    sleep(RETRY.mul_f64(1.0 + 0.2 * fastrand::f64())).await;
}

/// The Lease as it was last seen, and since when it is like that.
struct Seen {
    version: Option<String>,
    spec: LeaseSpec,
    since: Instant,
}

struct Candidate {
    leases: Api<Lease>,
    identity: String,
    clock: Clock,
    seen: Option<Seen>,
}

impl Candidate {
    /// Returns once the Lease is ours.
    async fn acquire(&mut self) {
        while self.attempt().await.is_none() {
            pause().await;
        }
    }

    /// Renews the Lease; returns when it is lost, or has not been renewed for too long.
    async fn hold(&mut self) {
        let mut renewed = Instant::now();
        loop {
            pause().await;
            let deadline = renewed + RENEW_DEADLINE;
            let attempt = tokio::select! {
                biased;
                attempt = self.attempt() => attempt,
                () = sleep_until(deadline) => return,
            };
            if let Some(begun) = attempt {
                renewed = begun;
            } else if self.someone_else_holds() || Instant::now() >= deadline {
                return;
            }
        }
    }

    /// One try to take or renew the Lease. If it is ours then, tells when the try began: the lease counts from there at the
    /// earliest.
    async fn attempt(&mut self) -> Option<Instant> {
        let begun = Instant::now();
        match timeout(REQUEST, self.take()).await {
            Ok(Ok(ours)) => ours.then_some(begun),
            Ok(Err(error)) => {
                debug!(identity = %self.identity, %error, "lease not taken");
                None
            }
            Err(_) => {
                debug!(identity = %self.identity, "lease not taken in time");
                None
            }
        }
    }

    async fn take(&mut self) -> kube::Result<bool> {
        let lease = self.leases.get_opt(LEASE).await?;
        let version = lease.as_ref().and_then(ResourceExt::resource_version);
        let spec = lease.and_then(|lease| lease.spec).unwrap_or_default();
        self.saw(version.clone(), spec.clone());
        if self.someone_else_holds() {
            return Ok(false);
        }
        let written = self.write(version, self.renewed(spec)).await?;
        let version = written.resource_version();
        self.saw(version, written.spec.unwrap_or_default());
        Ok(true)
    }

    fn saw(&mut self, version: Option<String>, spec: LeaseSpec) {
        if self.seen.as_ref().is_none_or(|seen| seen.version != version) {
            let since = Instant::now();
            self.seen = Some(Seen { version, spec, since });
        }
    }

    /// Whether the Lease was, when last seen, held by another whose time is not over.
    fn someone_else_holds(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| {
            let holder = seen.spec.holder_identity.as_deref().unwrap_or_default();
            let seconds = seen
                .spec
                .lease_duration_seconds
                .and_then(|seconds| u64::try_from(seconds).ok());
            let duration = seconds.map_or(LEASE_DURATION, Duration::from_secs);
            !holder.is_empty() && holder != self.identity && seen.since.elapsed() < duration
        })
    }

    /// The Lease with us as its holder.
    fn renewed(&self, before: LeaseSpec) -> LeaseSpec {
        let now = MicroTime(self.clock.now());
        let again = before.holder_identity.as_deref() == Some(self.identity.as_str());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: before.acquire_time.filter(|_| again).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!again)),
            ..before
        }
    }

    /// Writes the Lease on condition that it still is the version given; without one, that there is none.
    async fn write(&self, version: Option<String>, spec: LeaseSpec) -> kube::Result<Lease> {
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(LEASE.to_owned()),
                resource_version: version.clone(),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        };
        match version {
            Some(_) => self.leases.replace(LEASE, &params, &lease).await,
            None => self.leases.create(&params, &lease).await,
        }
    }

    /// Gives the Lease back, so that nobody has to wait for it to expire.
    async fn release(&mut self) {
        let giving = async {
            let lease = self.leases.get(LEASE).await?;
            let version = lease.resource_version();
            let spec = lease.spec.unwrap_or_default();
            if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
                return Ok(());
            }
            let empty = LeaseSpec {
                holder_identity: None,
                ..spec
            };
            self.write(version, empty).await.map(drop)
        };
        match timeout(RELEASE, giving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the lease was not given back; it expires by itself"),
            Err(_) => warn!("the lease was not given back in time; it expires by itself"),
        }
    }
}
