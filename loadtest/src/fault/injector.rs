//! Working one fault of the timeline: inject, follow the pods that come, take back, verify.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use rand::{SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use showrunner_crds::labels;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Entry, FaultError, Journal, Stage,
    api::{self, Patience},
    experiment,
    guard::Guard,
    lasting, outstanding, read_journal,
    recovery::take_back_all,
};
use crate::{
    evidence::{Event, FaultStage, Recorder},
    guardrail::{Ledger, Limits, blast::Target},
    observe::{Snapshot, Subject, snapshot},
    plan::PlannedFault,
};

/// How often new pods are looked for while a fault lasts: an autoscaler adds some, and a lost region stays lost.
const FOLLOW: Duration = Duration::from_millis(500);
/// How long a fault may take to be seen to have taken effect.
const INJECT_WITHIN: Duration = Duration::from_secs(20);
/// The same for pods that come while it lasts: others wait for them.
const FOLLOW_WITHIN: Duration = Duration::from_secs(5);

/// How long no region but those that are lost may be seen to serve: a readiness probe may fail once.
const ALONE: Duration = Duration::from_secs(10);
/// Looks at the cluster before a region is taken, if the first ones fail.
const LOOKS: u32 = 3;

/// Works faults on a cluster.
pub struct Injector {
    client: Client,
    subject: Subject,
    journal: Journal,
    run: String,
    undo_within: Duration,
    guard: Guard,
    ledger: Ledger,
    recorder: Recorder,
    latest: watch::Receiver<Snapshot>,
    /// Part of every object's name: that of another run is refused, not overwritten.
    suffix: String,
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
            () = sleep_until(origin + Duration::from_millis(planned.inject_ms)) => {}
            () = stop.cancelled() => return Ok(()),
        }
        let mut entries = Vec::new();
        let name = &planned.fault.name;
        let allowed = self.allowed(planned).await;
        let worked = match &allowed {
            Ok(()) => self.inject_and_follow(planned, origin, stop, &mut entries).await,
            Err(why) => {
                self.note(name, FaultStage::Failed, format!("guardrail: {why}"));
                Err(FaultError::Guardrail(why.clone()))
            }
        };
        let undone = self.undo(name, &entries).await;
        if allowed.is_ok() && undone.is_ok() {
            self.guard.release(&planned.blast.regions_lost);
        }
        if undone.is_ok() {
            self.ledger.release(name);
        }
        worked.and(undone)
    }

    /// Never the last region that serves: by a look at the cluster as it is now.
    async fn allowed(&self, planned: &PlannedFault) -> Result<(), String> {
        let lost = &planned.blast.regions_lost;
        if lost.is_empty() {
            return Ok(());
        }
        let mut why = String::new();
        for _ in 0..LOOKS {
            match snapshot(&self.client, &self.subject).await {
                Ok(seen) => return self.guard.take(&seen, lost),
                Err(error) => why = error.to_string(),
            }
        }
        Err(format!("nobody can say which regions serve, so none is taken: {why}"))
    }

    /// Whether, while regions are lost, others were seen to serve within [`ALONE`]; `sure` is when they last were.
    fn others_serve(&self, latest: &mut watch::Receiver<Snapshot>, sure: &mut Instant) -> Result<(), FaultError> {
        if latest.has_changed().unwrap_or(false) && self.guard.others_serve(&latest.borrow_and_update()) {
            *sure = Instant::now();
        }
        if sure.elapsed() < ALONE {
            return Ok(());
        }
        let seconds = ALONE.as_secs();
        Err(FaultError::Guardrail(format!(
            "no region but those that are lost was seen to serve for {seconds} s: the last healthy path is never cut"
        )))
    }

    /// Takes pods under the limits on what is touched at a time, of those that are there now. What is gone meanwhile is left
    /// out.
    async fn claim(&self, planned: &PlannedFault, fresh: &mut Vec<(String, String)>) -> Result<(), FaultError> {
        if !self.ledger.limits().any() {
            return Ok(());
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.subject.namespace);
        let wanted = ListParams::default().labels(&format!("{}={}", labels::PLATFORM, self.subject.platform));
        let live: Vec<Target> = api::ask(pods.list(&wanted))
            .await?
            .iter()
            .filter_map(Target::of)
            .collect();
        fresh.retain(|(uid, _)| live.iter().any(|target| &target.uid == uid));
        let uids: Vec<String> = fresh.iter().map(|(uid, _)| uid.clone()).collect();
        let instead = !lasting(&planned.fault.action);
        let claimed = self.ledger.claim(&planned.fault.name, &uids, &live, instead);
        claimed.map_err(|tripped| FaultError::Guardrail(tripped.to_string()))
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
        let mut first = Ok(());
        for (fault, entries) in by_fault {
            first = first.and(self.undo(&fault, &entries).await);
        }
        first
    }

    async fn inject_and_follow(
        &self,
        planned: &PlannedFault,
        origin: Instant,
        stop: &CancellationToken,
        entries: &mut Vec<Entry>,
    ) -> Result<(), FaultError> {
        let end = origin + Duration::from_millis(planned.undo_ms);
        let (mut covered, mut before) = (BTreeSet::new(), None);
        let mut rng = SmallRng::seed_from_u64(self.seed ^ planned.inject_ms);
        let mut round = 0_u32;
        let (mut latest, mut sure) = (self.latest.clone(), Instant::now());
        loop {
            match self
                .inject_new(planned, &mut covered, &mut before, &mut rng, round, entries, end, stop)
                .await
            {
                Err(FaultError::Interrupted) => return Ok(()),
                Ok(0) if round == 0 => {
                    return Err(FaultError::NoTarget {
                        selector: self.selector(planned),
                    });
                }
                Ok(0) => {}
                Ok(count) if round == 0 => {
                    self.note(&planned.fault.name, FaultStage::Injected, format!("{count} pods"));
                }
                Ok(count) => info!(fault = planned.fault.name, count, "the fault follows new pods"),
                // What happens in an instant waits until there is room for it again.
                Err(FaultError::Guardrail(why)) if round > 0 && !lasting(&planned.fault.action) => {
                    info!(fault = planned.fault.name, why, "no more pods are taken for now");
                }
                Err(error) if round == 0 || matches!(error, FaultError::Guardrail(_)) => {
                    self.note(&planned.fault.name, FaultStage::Failed, format!("inject: {error}"));
                    return Err(error);
                }
                // A pod may vanish between the look and the injection; the next round sees what is there then.
                Err(error) => warn!(fault = planned.fault.name, %error, "a new pod could not be covered"),
            }
            round += 1;
            if !planned.blast.regions_lost.is_empty() {
                self.others_serve(&mut latest, &mut sure)?;
            }
            if Instant::now() >= end {
                return Ok(());
            }
            tokio::select! {
                () = sleep_until((Instant::now() + FOLLOW).min(end)) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Injects into matching pods that are not covered yet, and says how many.
    #[expect(clippy::too_many_arguments, reason = "the state of one loop")]
    async fn inject_new(
        &self,
        planned: &PlannedFault,
        covered: &mut BTreeSet<String>,
        before: &mut Option<usize>,
        rng: &mut SmallRng,
        round: u32,
        entries: &mut Vec<Entry>,
        end: Instant,
        stop: &CancellationToken,
    ) -> Result<usize, FaultError> {
        let mut fresh = self.running(planned).await?;
        let present = fresh.len();
        let all = *before.get_or_insert(present);
        fresh.retain(|(uid, _)| !covered.contains(uid));
        if let Some(count) = planned.blast.count {
            // So many *at a time*: the next ones only when those before have been replaced.
            if present < all {
                return Ok(0);
            }
            fresh = fresh.choose_multiple(rng, count as usize).cloned().collect();
        }
        if !fresh.is_empty() {
            self.claim(planned, &mut fresh).await?;
        }
        if fresh.is_empty() {
            return Ok(0);
        }
        if round == 0 {
            self.note(
                &planned.fault.name,
                FaultStage::Injecting,
                format!("{} pods", fresh.len()),
            );
        }
        let name = format!("drill-{}-{}-{round}", planned.fault.name, self.suffix);
        let pods: Vec<String> = fresh.iter().map(|(_, name)| name.clone()).collect();
        let lasts = Duration::from_millis(planned.undo_ms - planned.inject_ms);
        let owner = self.journal.record().map(|record| record.owner());
        let experiment =
            experiment(&planned.fault.action, &name, &self.subject.namespace, &pods, lasts).of_run(&self.run, owner);
        let entry = self.journal.intent(&planned.fault.name, experiment.undo()).await?;
        entries.push(entry.clone());
        let now = Instant::now();
        let first = round == 0;
        let patience = Patience {
            until: if first {
                now + INJECT_WITHIN
            } else {
                (now + FOLLOW_WITHIN).min(end)
            },
            stop,
            watch_targets: !first,
        };
        self.journal.may_send()?;
        let sent = api::send(&self.client, &self.subject, &experiment, &pods, &patience).await;
        if let Err(FaultError::NotFlushed { flushed, .. }) = &sent {
            let done = fresh.iter().filter(|(_, name)| flushed.contains(name));
            covered.extend(done.map(|(uid, _)| uid.clone()));
        }
        sent?;
        self.journal.advance(&entry, Stage::Injected).await?;
        covered.extend(fresh.into_iter().map(|(uid, _)| uid));
        Ok(pods.len())
    }

    /// UID and name of the running pods that the fault may touch.
    async fn running(&self, planned: &PlannedFault) -> Result<Vec<(String, String)>, FaultError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.subject.namespace);
        let wanted = ListParams::default().labels(&self.selector(planned));
        let listed = api::ask(pods.list(&wanted)).await?;
        let mut running: Vec<_> = listed
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .filter(|pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running"))
            .filter_map(|pod| Some((pod.uid()?, pod.name_any())))
            .collect();
        running.sort_by(|a, b| a.1.cmp(&b.1));
        Ok(running)
    }

    fn selector(&self, planned: &PlannedFault) -> String {
        let own = format!("{}={}", labels::PLATFORM, self.subject.platform);
        planned
            .blast
            .labels
            .iter()
            .fold(own, |all, (key, value)| format!("{all},{key}={value}"))
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

    fn note(&self, fault: &str, stage: FaultStage, detail: String) {
        info!(fault, ?stage, detail, "fault");
        self.recorder.record(Event::Fault {
            name: fault.to_owned(),
            stage,
            detail,
        });
    }
}
