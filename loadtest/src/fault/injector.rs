//! Working one fault of the timeline: wait for its moment, inject and follow, take back, verify.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use kube::Client;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    Entry, FaultError, Journal, Stage, course::Course, guard::Guard, outstanding, read_journal, recovery::take_back_all,
};
use crate::{
    evidence::{Event, FaultStage, Recorder},
    guardrail::{Ledger, Limits},
    observe::{Snapshot, Subject},
    plan::PlannedFault,
};

/// Works faults on a cluster.
pub struct Injector {
    pub(super) client: Client,
    pub(super) subject: Subject,
    pub(super) journal: Journal,
    pub(super) run: String,
    undo_within: Duration,
    pub(super) guard: Guard,
    pub(super) ledger: Ledger,
    recorder: Recorder,
    pub(super) latest: watch::Receiver<Snapshot>,
    /// Part of every object's name: that of another run is refused, not overwritten.
    pub(super) suffix: String,
    seed: u64,
}

impl Injector {
    /// An injector of the run `run` that writes undos to `journal`. `undo_within`: time for taking back all that one fault did,
    /// [`super::UNDO_WITHIN`].
    #[expect(clippy::too_many_arguments, reason = "wiring: each is used once")]
    pub fn new(
        client: Client,
        subject: Subject,
        journal: Journal,
        recorder: Recorder,
        latest: watch::Receiver<Snapshot>,
        run: &str,
        seed: u64,
        undo_within: Duration,
    ) -> Self {
        Self {
            client,
            subject,
            journal,
            run: run.to_owned(),
            undo_within,
            guard: Guard::default(),
            ledger: Ledger::new(Limits::NONE),
            recorder,
            latest,
            suffix: run.rsplit('-').next().unwrap_or("0").to_lowercase(),
            seed,
        }
    }

    /// The same, holding all faults together to `limits`.
    #[must_use]
    pub fn limited(self, limits: Limits) -> Self {
        Self {
            ledger: Ledger::new(limits),
            ..self
        }
    }

    /// Works one fault: waits for its moment, injects, follows, and takes back, the latter also when `stop` fires.
    /// `origin` is the audience's first moment.
    pub async fn work(
        &self,
        planned: &PlannedFault,
        origin: Instant,
        stop: &CancellationToken,
    ) -> Result<(), FaultError> {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = sleep_until(origin + Duration::from_millis(planned.inject_ms)) => {}
        }
        let mut course = Course::new(planned, origin, self.seed, stop);
        let name = &planned.fault.name;
        let worked = match self.take_regions(&mut course, &planned.blast.regions_lost).await {
            Ok(()) => self.inject_and_follow(&mut course).await,
            Err(FaultError::Interrupted) => Ok(()),
            Err(why) => {
                self.note(name, FaultStage::Failed, why.to_string());
                Err(why)
            }
        };
        let undone = self.undo(name, &course.entries).await;
        if undone.is_ok() {
            self.guard.release(&course.lost);
            self.guard.over(name);
            self.ledger.release(name);
        }
        worked.and(undone)
    }

    /// Takes back what one fault did, and says so.
    async fn undo(&self, fault: &str, entries: &[Entry]) -> Result<(), FaultError> {
        self.note(fault, FaultStage::Undoing, format!("{} mutations", entries.len()));
        let undone = self.undo_all(entries).await;
        match &undone {
            Ok(()) => self.note(
                fault,
                FaultStage::Undone,
                format!("{} mutations taken back", entries.len()),
            ),
            Err(error) => self.note(fault, FaultStage::Failed, format!("undo: {error}")),
        }
        undone
    }

    /// Takes back whatever the journal says is outstanding: for faults whose own undo did not run.
    pub async fn sweep(&self) -> Result<(), FaultError> {
        let mut by_fault: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        // `outstanding` gives the latest first, `undo` wants them in the order they were made.
        for entry in outstanding(&read_journal(self.journal.path())?).into_iter().rev() {
            by_fault.entry(entry.fault.clone()).or_default().push(entry);
        }
        let undos = by_fault.iter().map(|(fault, entries)| self.undo(fault, entries));
        // All have been tried; the first failure is told.
        join_all(undos).await.into_iter().collect()
    }

    /// Takes back what is on the given entries, the latest first; goes on past a failure and gives one. All of them together
    /// have the time that the injector was given.
    pub async fn undo_all(&self, entries: &[Entry]) -> Result<(), FaultError> {
        let within = self.undo_within;
        let outcomes = take_back_all(&self.client, &self.run, entries, within, |entry| async move {
            Ok(self.journal.advance(entry, Stage::Undone).await?)
        })
        .await;
        // All have been tried; the first failure is told.
        outcomes.into_iter().try_for_each(|(_, outcome)| outcome)
    }

    pub(super) fn note(&self, fault: &str, stage: FaultStage, detail: String) {
        info!(fault, ?stage, detail, "fault");
        self.recorder.record(Event::Fault {
            name: fault.to_owned(),
            stage,
            detail,
        });
    }
}
