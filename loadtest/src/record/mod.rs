//! The record of a run in the cluster: its `Drill`, whose status carries the undo journal, and the Lease of its runner.
//!
//! Several may write to a Drill: its runner, and whoever takes its faults back once the runner is gone. Every write names the
//! version it is based on, so none is lost, and [`DrillPhase::Abandoned`] is a fence: from then on the runner's intents are
//! not accepted.

mod lease;
mod merge;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use rand::random_range;
use showrunner_crds::drill::{
    COMPLETED, Drill, DrillPhase, DrillSpec, DrillStatus, JournalEntry, JournalStage, UNDONE,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use lease::{RENEW_DEADLINE, RunnerLease, identity};
use merge::{Role, Wanted, fenced, merge};

/// How long the API server may take to answer one call.
const CALL: Duration = Duration::from_secs(10);
/// How long a write may take, all tries together.
const WITHIN: Duration = Duration::from_secs(15);
/// Tries after each other's writes, one after another.
const CONFLICTS: u32 = 20;

/// Why something could not be put on record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The cluster refused or failed.
    #[error("Drill {name}: {source}")]
    Api {
        /// The Drill.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// The cluster does not know the kind.
    #[error(
        "the cluster knows no Drills: install the definitions (`showrunner crd | kubectl apply --server-side -f -`)"
    )]
    NoDefinition,
    /// The API server said nothing.
    #[error("Drill {name}: the API server did not answer within {seconds} s")]
    Silent {
        /// The Drill.
        name: String,
        /// The deadline.
        seconds: u64,
    },
    /// Others wrote each time.
    #[error("Drill {name}: others wrote to it {CONFLICTS} times in a row")]
    Contended {
        /// The Drill.
        name: String,
    },
    /// Someone else takes the run's faults back.
    #[error("Drill {name} was taken over, or deleted: it may inject nothing any more")]
    TakenOver {
        /// The Drill.
        name: String,
    },
    /// The runner has not renewed its Lease.
    #[error("the lease of Drill {name} was not renewed for {seconds} s")]
    Stale {
        /// The Drill.
        name: String,
        /// Since when.
        seconds: u64,
    },
}

/// The Drill of one run.
#[derive(Debug)]
pub struct Record {
    drills: Api<Drill>,
    name: String,
    owner: OwnerReference,
    role: Role,
    lease: Option<RunnerLease>,
    wanted: Mutex<Wanted>,
    /// Counts changes of what is wanted.
    changed: AtomicU64,
    written: tokio::sync::Mutex<Written>,
}

/// What is known to be there, and which change of what is wanted it has.
#[derive(Debug)]
struct Written {
    drill: Option<Drill>,
    /// Mutations that were seen to be in the Drill's journal: none is ever taken out of it. It is kept where a later write
    /// fails, and with it what is known of the Drill.
    accepted: BTreeSet<u32>,
    change: u64,
}

impl Record {
    /// Puts a new run on record, with `identity` as its runner.
    pub async fn create(
        client: &Client,
        namespace: &str,
        name: &str,
        spec: DrillSpec,
        identity: &str,
    ) -> Result<Self, RecordError> {
        let drills: Api<Drill> = Api::namespaced(client.clone(), namespace);
        let mut drill = Drill::new(name, spec);
        drill.metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(
                [(
                    showrunner_crds::labels::PLATFORM.to_owned(),
                    drill.spec.platform.clone(),
                )]
                .into(),
            ),
            ..ObjectMeta::default()
        };
        let created = ask(name, drills.create(&PostParams::default(), &drill)).await;
        let created = created.map_err(|error| match error {
            RecordError::Api {
                source: kube::Error::Api(status),
                ..
            } if status.code == 404 => RecordError::NoDefinition,
            other => other,
        })?;
        let mut record = Self::of(drills, &created, Role::Runner);
        record.lease = Some(RunnerLease::take(client, namespace, name, &record.owner, identity).await?);
        record.change(|wanted| {
            wanted.phase = Some(DrillPhase::Pending);
            wanted.runner = Some(identity.to_owned());
            wanted.started_at = Some(Timestamp::now());
        });
        record.flush().await?;
        Ok(record)
    }

    /// The record of a run that another process made; `None` where there is none.
    pub async fn find(client: &Client, namespace: &str, name: &str) -> Result<Option<(Self, Drill)>, RecordError> {
        let drills: Api<Drill> = Api::namespaced(client.clone(), namespace);
        let found = ask(name, drills.get_opt(name)).await?;
        Ok(found.map(|drill| (Self::of(drills, &drill, Role::Undoer), drill)))
    }

    fn of(drills: Api<Drill>, drill: &Drill, role: Role) -> Self {
        Self {
            drills,
            name: drill.name_any(),
            owner: OwnerReference {
                // Whoever deletes the Drill has its faults taken back with it.
                block_owner_deletion: None,
                controller: None,
                ..drill.controller_owner_ref(&()).unwrap_or_default()
            },
            role,
            lease: None,
            wanted: Mutex::default(),
            changed: AtomicU64::new(0),
            written: tokio::sync::Mutex::new(Written {
                drill: Some(drill.clone()),
                accepted: BTreeSet::new(),
                change: 0,
            }),
        }
    }

    /// What objects of the run name as their owner: the garbage collector deletes them with the Drill.
    #[must_use]
    pub fn owner(&self) -> OwnerReference {
        self.owner.clone()
    }

    /// The Drill as it was last seen.
    pub(crate) async fn drill(&self) -> Result<Drill, RecordError> {
        if let Some(drill) = self.written.lock().await.drill.clone() {
            return Ok(drill);
        }
        ask(&self.name, self.drills.get(&self.name)).await
    }

    /// Each mutation as far as this process knows it to be: what it has not written yet too.
    pub(crate) fn journal(&self) -> Vec<JournalEntry> {
        self.wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .journal
            .clone()
    }

    /// The runner's Lease.
    #[must_use]
    pub fn lease(&self) -> Option<&RunnerLease> {
        self.lease.as_ref()
    }

    /// Puts the intent of a mutation on record. Only when this succeeds may the mutation be sent.
    pub async fn intent(&self, entry: &JournalEntry) -> Result<(), RecordError> {
        if let Some(lease) = &self.lease {
            lease.fresh()?;
        }
        self.change(|wanted| wanted.journal.push(entry.clone()));
        let outcome = self.flush().await;
        let accepted = self.written.lock().await.accepted.contains(&entry.id);
        if outcome.is_ok() && accepted {
            return Ok(());
        }
        // It must not get there with a later write: the mutation will not be sent. If only the answer was lost it is there, and
        // there is nothing to take back.
        self.change(|wanted| {
            wanted.journal.retain(|known| known.id != entry.id);
            wanted.journal.push(JournalEntry {
                stage: JournalStage::Undone,
                ..entry.clone()
            });
        });
        outcome.and_then(|()| Err(self.taken_over()))
    }

    /// Notes that a mutation reached a stage. A failure loses nothing: the next write takes it along, and taking back twice
    /// does no harm.
    pub async fn advance(&self, entry: &JournalEntry) -> Result<(), RecordError> {
        self.change(|wanted| wanted.journal.push(entry.clone()));
        self.flush().await
    }

    /// States how far the run is.
    pub async fn phase(&self, phase: DrillPhase) -> Result<(), RecordError> {
        self.change(|wanted| wanted.phase = Some(phase));
        self.flush().await
    }

    /// Takes the run over: its runner may inject nothing from here on.
    pub async fn fence(&self, by: &str) -> Result<(), RecordError> {
        self.change(|wanted| {
            wanted.phase = Some(DrillPhase::Abandoned);
            wanted
                .conditions
                .push((UNDONE, Some(false), "TakenOver", format!("taken over by {by}")));
        });
        self.flush().await
    }

    /// States whether everything is taken back; if so the run is over.
    pub async fn undone(&self, undone: bool, detail: &str) -> Result<(), RecordError> {
        self.change(|wanted| {
            wanted.phase = Some(if undone { DrillPhase::Done } else { DrillPhase::Undoing });
            let reason = if undone { "Proved" } else { "NotProved" };
            wanted.conditions.retain(|stated| stated.0 != UNDONE);
            wanted
                .conditions
                .push((UNDONE, Some(undone), reason, detail.to_owned()));
        });
        self.flush().await
    }

    /// States how the run ended, and gives the Lease back.
    pub async fn finish(&self, undone: bool, completed: bool, verdict: &str, detail: &str) -> Result<(), RecordError> {
        self.change(|wanted| {
            wanted.verdict = Some(verdict.to_owned());
            let reason = if completed { "Completed" } else { "CutShort" };
            wanted
                .conditions
                .push((COMPLETED, Some(completed), reason, detail.to_owned()));
        });
        let said = if undone {
            "every mutation was taken back"
        } else {
            "not every mutation is known to be taken back"
        };
        let written = self.undone(undone, said).await;
        if let Some(lease) = &self.lease {
            lease.release().await;
        }
        written
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.fetch_add(1, Ordering::SeqCst);
    }

    fn taken_over(&self) -> RecordError {
        RecordError::TakenOver {
            name: self.name.clone(),
        }
    }

    /// Writes what is wanted. Those that wait for their turn meanwhile are served by one write.
    async fn flush(&self) -> Result<(), RecordError> {
        let change = self.changed.load(Ordering::SeqCst);
        let deadline = Instant::now() + WITHIN;
        let silent = || RecordError::Silent {
            name: self.name.clone(),
            seconds: WITHIN.as_secs(),
        };
        // The turns of others count: many may wait here while nothing can be written.
        let turn = timeout_at(deadline, self.written.lock()).await;
        let mut written = turn.map_err(|_| silent())?;
        if written.change >= change {
            return Ok(());
        }
        let (mut conflicts, mut failures) = (0, 0_u32);
        loop {
            // What a failure leaves is read again: `write` has taken what was known.
            let error = match timeout_at(deadline, self.write(&mut written)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => return Err(silent()),
            };
            let pause = match &error {
                RecordError::Api {
                    source: kube::Error::Api(status),
                    ..
                } => match status.code {
                    409 if conflicts < CONFLICTS => {
                        conflicts += 1;
                        Duration::from_millis(random_range(5..=50))
                    }
                    409 => {
                        return Err(RecordError::Contended {
                            name: self.name.clone(),
                        });
                    }
                    404 => return Err(self.taken_over()),
                    429 | 500.. => back_off(&mut failures),
                    _ => return Err(error),
                },
                RecordError::Api { .. } | RecordError::Silent { .. } => back_off(&mut failures),
                _ => return Err(error),
            };
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    async fn write(&self, written: &mut Written) -> Result<(), RecordError> {
        let mut drill = match written.drill.take() {
            Some(drill) => drill,
            None => ask(&self.name, self.drills.get(&self.name)).await?,
        };
        if self.role == Role::Runner && drill.uid().as_deref() != Some(self.owner.uid.as_str()) {
            return Err(self.taken_over());
        }
        let change = self.changed.load(Ordering::SeqCst);
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let before = drill.status.clone().unwrap_or_default();
        let status = merge(&before, &wanted, self.role, Timestamp::now());
        if status != before {
            drill.status = Some(status);
            drill = ask(
                &self.name,
                self.drills.replace_status(&self.name, &PostParams::default(), &drill),
            )
            .await?;
        }
        let journal = drill.status.iter().flat_map(|status| &status.journal);
        written.accepted.extend(journal.map(|entry| entry.id));
        written.drill = Some(drill);
        written.change = change;
        Ok(())
    }

    /// Whether the run was taken over, or its Drill is gone or going.
    pub(crate) async fn lost(&self) -> Result<bool, RecordError> {
        let found = ask(&self.name, self.drills.get_opt(&self.name)).await?;
        Ok(found.is_none_or(|drill| {
            let abandoned = drill.status.as_ref().is_some_and(fenced);
            abandoned || drill.metadata.deletion_timestamp.is_some() || drill.uid().as_deref() != Some(&self.owner.uid)
        }))
    }
}

/// Unfinished Drills of a platform, or of all in a namespace; the oldest first.
pub(crate) async fn unfinished(
    client: &Client,
    namespace: &str,
    platform: Option<&str>,
) -> Result<Vec<Drill>, RecordError> {
    let drills: Api<Drill> = Api::namespaced(client.clone(), namespace);
    let listed = ask("list", drills.list(&kube::api::ListParams::default())).await?;
    let mut open: Vec<Drill> = listed
        .items
        .into_iter()
        .filter(|drill| platform.is_none_or(|platform| drill.spec.platform == platform))
        .filter(|drill| !drill.status.as_ref().is_some_and(DrillStatus::finished))
        .collect();
    open.sort_by_key(age);
    Ok(open)
}

fn age(drill: &Drill) -> (Option<i64>, String) {
    (created(drill), drill.uid().unwrap_or_default())
}

/// The second in which a Drill was made. Which of two came first within one second nothing tells.
pub(crate) fn created(drill: &Drill) -> Option<i64> {
    let time = drill.meta().creation_timestamp.as_ref();
    time.map(|time| time.0.as_second())
}

fn back_off(failures: &mut u32) -> Duration {
    *failures += 1;
    Duration::from_millis(random_range(50..=100) << (*failures).min(5))
}

/// Waits for an answer of the API server, but not for ever.
pub(crate) async fn ask<T>(name: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, RecordError> {
    let name = || name.to_owned();
    match timeout(CALL, call).await {
        Ok(answer) => answer.map_err(|source| RecordError::Api { name: name(), source }),
        Err(_) => Err(RecordError::Silent {
            name: name(),
            seconds: CALL.as_secs(),
        }),
    }
}
