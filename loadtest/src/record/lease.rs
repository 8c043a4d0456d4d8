//! The Lease of a run: by it others see that its runner lives ([`showrunner_crds::liveness`]).

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use showrunner_crds::{drill::lease_name, labels, liveness::LEASE_DURATION};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, warn};

use super::{Record, RecordError, ask};
use crate::drill::Halt;

/// Time between renewals.
const RENEW: Duration = Duration::from_secs(5);
/// How long a runner goes on without having renewed: what it has under way then has the rest of the lease to end.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(20);

/// The Lease of this process's run.
#[derive(Debug)]
pub struct RunnerLease {
    leases: Api<Lease>,
    run: String,
    identity: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lease: Option<Lease>,
    renewed: Instant,
}

impl RunnerLease {
    pub(super) async fn take(
        client: &Client,
        namespace: &str,
        run: &str,
        owner: &OwnerReference,
        identity: &str,
    ) -> Result<Self, RecordError> {
        let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
        let now = MicroTime(Timestamp::now());
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(lease_name(run)),
                labels: Some([(labels::RUN.to_owned(), run.to_owned())].into()),
                owner_references: Some(vec![owner.clone()]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(identity.to_owned()),
                lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        };
        let renewed = Instant::now();
        let lease = ask(run, leases.create(&PostParams::default(), &lease)).await?;
        Ok(Self {
            leases,
            run: run.to_owned(),
            identity: identity.to_owned(),
            state: Mutex::new(State {
                lease: Some(lease),
                renewed,
            }),
        })
    }

    /// An error once the Lease was not renewed for so long that others may be about to take over: by this process's clock, and
    /// without asking anybody, so that it can be looked at right before a mutation is sent.
    pub fn fresh(&self) -> Result<(), RecordError> {
        let silent = self.state().renewed.elapsed();
        if silent < RENEW_DEADLINE {
            return Ok(());
        }
        Err(RecordError::Stale {
            name: self.run.clone(),
            seconds: silent.as_secs(),
        })
    }

    async fn renew(&self) -> Result<(), RecordError> {
        let begun = Instant::now();
        let known = self.state().lease.take();
        let name = lease_name(&self.run);
        let mut lease = match known {
            Some(lease) => lease,
            None => ask(&self.run, self.leases.get(&name)).await?,
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            return Err(RecordError::TakenOver { name: self.run.clone() });
        }
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        let lease = ask(&self.run, self.leases.replace(&name, &PostParams::default(), &lease)).await?;
        let mut state = self.state();
        state.lease = Some(lease);
        // It counts from before the request: others may have seen it change then.
        state.renewed = begun;
        Ok(())
    }

    /// Gives the Lease back: nothing of this run is under way any more. A failure only makes others wait for its end.
    pub(super) async fn release(&self) {
        let name = lease_name(&self.run);
        let given_back = async {
            let mut lease = ask(&self.run, self.leases.get(&name)).await?;
            let holder = &mut lease.spec.get_or_insert_default().holder_identity;
            if holder.as_deref() != Some(self.identity.as_str()) {
                return Err(RecordError::TakenOver { name: self.run.clone() });
            }
            *holder = None;
            ask(&self.run, self.leases.replace(&name, &PostParams::default(), &lease)).await
        };
        if let Err(error) = given_back.await {
            debug!(%error, "lease not given back");
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// Renews the Lease for as long as this is polled. Halts the run when that fails for [`RENEW_DEADLINE`], or when someone
    /// else has taken the run over.
    pub async fn keep(&self, halt: &Halt) {
        let Some(lease) = &self.lease else { return };
        let mut next = Instant::now();
        loop {
            next += RENEW;
            sleep_until(next).await;
            let deadline = lease.state().renewed + RENEW_DEADLINE;
            // Both to their end: a Drill that cannot be read is no reason to give up a renewal on its way.
            match timeout_at(deadline, async { tokio::join!(lease.renew(), self.lost()) }).await {
                Ok((_, Ok(true)) | (Err(RecordError::TakenOver { .. }), _)) => {
                    halt.guardrail("lost its lease: the run was taken over, or its Drill deleted");
                    return;
                }
                Ok((renewed, lost)) => {
                    for error in renewed.err().into_iter().chain(lost.err()) {
                        warn!(%error, "the lease could not be renewed, or the Drill not be read");
                    }
                }
                Err(_) => {}
            }
            if let Err(stale) = lease.fresh() {
                halt.guardrail(format!("lost its lease: {stale}"));
                return;
            }
        }
    }
}

/// A name for this process, unlike that of any other.
#[must_use]
pub fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}-{:08x}", host.trim(), std::process::id(), rand::random::<u32>())
}
