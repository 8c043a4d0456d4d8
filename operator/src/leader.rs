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
use kube::{Api, Client, ResourceExt, api::PostParams};
use tokio::time::{Instant, sleep, timeout, timeout_at};
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
        let renewed = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            renewed = candidate.acquire() => renewed,
        };
        info!(identity, "leading");
        let term = stop.child_token();
        let mut operator = Box::pin(run(client.clone(), options.clone(), term.clone()));
        let until = tokio::select! {
            biased;
            until = candidate.hold(renewed) => until,
            outcome = &mut operator => {
                // Nothing of ours is under way any more, so the next may begin at once.
                candidate.release().await;
                return outcome;
            }
        };
        warn!(identity, "no longer leading");
        term.cancel();
        // What is still under way is dropped after a moment: two leaders must not write at the same time.
        if let Ok(outcome) = timeout_at(until, operator).await {
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
    /// Returns once the Lease is ours: when the try began that took it.
    async fn acquire(&mut self) -> Instant {
        loop {
            if let Some(begun) = self.attempt().await {
                return begun;
            }
            pause().await;
        }
    }

    /// Renews the Lease, which a try that began at `renewed` has taken. Returns when it is lost, or has not been renewed for
    /// too long: until when what is under way may go on.
    async fn hold(&mut self, mut renewed: Instant) -> Instant {
        loop {
            pause().await;
            let deadline = renewed + RENEW_DEADLINE;
            match timeout_at(deadline, self.attempt()).await {
                Ok(Some(begun)) => renewed = begun,
                _ if self.someone_else_holds() => return Instant::now(),
                _ if Instant::now() >= deadline => return deadline + WIND_DOWN,
                _ => {}
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
        let lease = self.leases.get_opt(LEASE).await?.unwrap_or_default();
        let spec = lease.spec.clone().unwrap_or_default();
        self.saw(lease.resource_version(), spec.clone());
        if self.someone_else_holds() {
            return Ok(false);
        }
        let written = self.write(lease, self.renewed(spec)).await?;
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

    /// Writes the Lease on condition that it still is as it was read, or that there still is none. What others have written on
    /// it stays.
    async fn write(&self, mut lease: Lease, spec: LeaseSpec) -> kube::Result<Lease> {
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        lease.metadata.name = Some(LEASE.to_owned());
        lease.spec = Some(spec);
        if lease.metadata.resource_version.is_some() {
            self.leases.replace(LEASE, &params, &lease).await
        } else {
            self.leases.create(&params, &lease).await
        }
    }

    /// Gives the Lease back, so that nobody has to wait for it to expire.
    async fn release(&mut self) {
        let giving = async {
            let lease = self.leases.get(LEASE).await?;
            let spec = lease.spec.clone().unwrap_or_default();
            if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
                return Ok(());
            }
            let empty = LeaseSpec {
                holder_identity: None,
                ..spec
            };
            self.write(lease, empty).await.map(drop)
        };
        match timeout(RELEASE, giving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the lease was not given back; it expires by itself"),
            Err(_) => warn!("the lease was not given back in time; it expires by itself"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{convert::Infallible, sync::Arc, sync::Mutex};

    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// A server with one Lease. Answers to writes take as long as `slow` says, and all calls hang once `hang` many came.
    fn candidate(lease: Value, slow: Duration, hang: usize) -> (Candidate, Arc<Mutex<Value>>) {
        let stored = Arc::new(Mutex::new(lease));
        let (server, calls) = (Arc::clone(&stored), Arc::new(Mutex::new(0)));
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (server, calls) = (Arc::clone(&server), Arc::clone(&calls));
            async move {
                let call = {
                    let mut calls = calls.lock().unwrap();
                    *calls += 1;
                    *calls
                };
                if call > hang {
                    std::future::pending::<()>().await;
                }
                if request.method() != http::Method::GET {
                    let body = request.into_body().collect_bytes().await.unwrap();
                    let mut written: Value = serde_json::from_slice(&body).unwrap();
                    written["metadata"]["resourceVersion"] = json!(call.to_string());
                    *server.lock().unwrap() = written;
                    sleep(slow).await;
                }
                let lease = server.lock().unwrap().to_string();
                Ok::<_, Infallible>(http::Response::new(Body::from(lease.into_bytes())))
            }
        });
        let candidate = Candidate {
            leases: Api::namespaced(Client::new(service, "system"), "system"),
            identity: "ours".to_owned(),
            clock: Clock::System,
            seen: None,
        };
        (candidate, stored)
    }

    fn lease(holder: &str) -> Value {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": LEASE, "resourceVersion": "1", "labels": { "team": "streaming" } },
            "spec": { "holderIdentity": holder, "leaseDurationSeconds": 15 },
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_whose_lease_was_answered_late_stops_before_another_may_begin() {
        let (mut candidate, _) = candidate(lease(""), Duration::from_millis(3900), 2);
        let begun = Instant::now();
        let renewed = candidate.acquire().await;
        assert!(begun.elapsed() >= Duration::from_millis(3900));
        let until = candidate.hold(renewed).await;
        assert!(until < begun + LEASE_DURATION, "{:?}", until - begun);
    }

    #[tokio::test(start_paused = true)]
    async fn who_sees_another_lead_stops_at_once() {
        let (mut candidate, stored) = candidate(lease(""), Duration::ZERO, usize::MAX);
        let renewed = candidate.acquire().await;
        *stored.lock().unwrap() = lease("another");
        assert_eq!(candidate.hold(renewed).await, Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_wrote_on_the_lease_stays() {
        let (mut candidate, stored) = candidate(lease(""), Duration::ZERO, usize::MAX);
        candidate.acquire().await;
        let lease = stored.lock().unwrap().clone();
        assert_eq!(lease["spec"]["holderIdentity"], "ours");
        assert_eq!(lease["metadata"]["labels"]["team"], "streaming");
    }
}
