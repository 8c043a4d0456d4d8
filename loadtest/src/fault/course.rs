//! A fault while it lasts: injecting it, and following the pods that come. Once the run is to end, nothing more is sent.

use std::{collections::BTreeSet, time::Duration};

use rand::{SeedableRng, random_range, rngs::SmallRng};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Entry, FaultError, Injector, Stage,
    api::{self, Patience},
    experiment, lasting,
};
use crate::{evidence::FaultStage, observe::Snapshot, plan::PlannedFault};

/// How often new pods are looked for while a fault lasts: an autoscaler adds some, and a lost region stays lost.
const FOLLOW: Duration = Duration::from_millis(500);
/// Longest wait after failures is 2 to this power quarters of a second, and up to twice that: each try that gets as far as an
/// intent takes a place in the journal, and the journal is of all faults.
const LONGEST_SHIFT: u32 = 5;
/// How long a fault may take to be seen to have taken effect.
const INJECT_WITHIN: Duration = Duration::from_secs(20);
/// The same for pods that come while it lasts: others wait for them.
const FOLLOW_WITHIN: Duration = Duration::from_secs(5);
/// How long no region but those that are lost may be seen to serve: a readiness probe may fail once.
const ALONE: Duration = Duration::from_secs(10);

/// How far one fault is.
pub(super) struct Course<'a> {
    pub(super) planned: &'a PlannedFault,
    pub(super) stop: &'a CancellationToken,
    /// When it is to be taken back.
    end: Instant,
    /// UIDs of the pods that it was injected into.
    pub(super) covered: BTreeSet<String>,
    /// Pods that it could touch when it began.
    pub(super) before: Option<usize>,
    pub(super) rng: SmallRng,
    round: u32,
    /// Rounds in a row that failed, and when to try again.
    failures: u32,
    next_try: Instant,
    /// Regions that it holds.
    pub(super) lost: Vec<String>,
    /// Its mutations that may be in the cluster. An intent may still be on its way there.
    pub(super) entries: Vec<Entry>,
}

impl<'a> Course<'a> {
    pub(super) fn new(planned: &'a PlannedFault, origin: Instant, seed: u64, stop: &'a CancellationToken) -> Self {
        Self {
            planned,
            stop,
            end: origin + Duration::from_millis(planned.undo_ms),
            covered: BTreeSet::new(),
            before: None,
            rng: SmallRng::seed_from_u64(seed ^ planned.inject_ms),
            round: 0,
            failures: 0,
            next_try: Instant::now(),
            lost: Vec::new(),
            entries: Vec::new(),
        }
    }

    fn failed(&mut self) {
        self.failures += 1;
        let pause = random_range(250..=500) << self.failures.min(LONGEST_SHIFT);
        self.next_try = Instant::now() + Duration::from_millis(pause);
    }
}

/// Waits for something that sends nothing, unless the run is to end.
pub(super) async fn unless<T>(
    stop: &CancellationToken,
    look: impl Future<Output = Result<T, FaultError>>,
) -> Result<T, FaultError> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(FaultError::Interrupted),
        found = look => found,
    }
}

impl Injector {
    /// Injects the fault and follows until its end, or until the run is to end.
    pub(super) async fn inject_and_follow(&self, course: &mut Course<'_>) -> Result<(), FaultError> {
        let (mut latest, mut sure) = (self.latest.clone(), Instant::now());
        loop {
            match self.round(course).await {
                Ok(()) => {}
                Err(FaultError::Interrupted) => return Ok(()),
                Err(error) => {
                    self.note(
                        &course.planned.fault.name,
                        FaultStage::Failed,
                        format!("inject: {error}"),
                    );
                    return Err(error);
                }
            }
            course.round += 1;
            if course.lost.is_empty() {
                sure = Instant::now();
            } else {
                self.others_serve(&mut latest, &mut sure)?;
            }
            if Instant::now() >= course.end {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = course.stop.cancelled() => return Ok(()),
                () = sleep_until((Instant::now() + FOLLOW).min(course.end)) => {}
            }
        }
    }

    /// One round. An error ends the fault.
    async fn round(&self, course: &mut Course<'_>) -> Result<(), FaultError> {
        let (name, first) = (&course.planned.fault.name, course.round == 0);
        let lasts = lasting(&course.planned.fault.action);
        if lasts && !first {
            match self.recheck(course).await {
                Ok(()) => {}
                Err(error @ (FaultError::Guardrail(_) | FaultError::Interrupted)) => return Err(error),
                Err(error) => warn!(fault = name, %error, "nobody can say how large a share of the pods it touches"),
            }
        }
        if Instant::now() < course.next_try {
            return Ok(());
        }
        match self.inject_new(course).await {
            Ok(0) if first => {
                let selector = self.selector(course.planned);
                return Err(FaultError::NoTarget { selector });
            }
            Ok(0) => {}
            Ok(count) if first => self.note(name, FaultStage::Injected, format!("{count} pods")),
            Ok(count) => info!(fault = name, count, "the fault follows new pods"),
            // What happens in an instant waits until there is room for it again.
            Err(FaultError::Guardrail(why)) if !first && !lasts => {
                info!(fault = name, why, "no more pods are taken for now");
            }
            Err(error) if first || matches!(error, FaultError::Guardrail(_) | FaultError::Interrupted) => {
                return Err(error);
            }
            // A pod may vanish between the look and the injection; a later round sees what is there then.
            Err(error) => {
                warn!(fault = name, %error, "a new pod could not be covered");
                course.failed();
                return Ok(());
            }
        }
        course.failures = 0;
        Ok(())
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

    /// Injects into matching pods that are not covered yet, and says how many.
    async fn inject_new(&self, course: &mut Course<'_>) -> Result<usize, FaultError> {
        let (planned, stop, first) = (course.planned, course.stop, course.round == 0);
        let fresh = unless(stop, self.choose(course)).await?;
        if fresh.is_empty() {
            return Ok(0);
        }
        if first {
            let count = format!("{} pods", fresh.len());
            self.note(&planned.fault.name, FaultStage::Injecting, count);
        }
        let name = format!("drill-{}-{}-{}", planned.fault.name, self.suffix, course.round);
        let pods: Vec<String> = fresh.iter().map(|(_, name)| name.clone()).collect();
        let lasts = Duration::from_millis(planned.undo_ms - planned.inject_ms);
        let owner = self.journal.record().map(|record| record.owner());
        let experiment =
            experiment(&planned.fault.action, &name, &self.subject.namespace, &pods, lasts).of_run(&self.run, owner);
        let entry = self.journal.intent(&planned.fault.name, experiment.undo()).await?;
        if let Err(why) = self.may_send(stop) {
            // It is not sent, so there is nothing to take back.
            self.journal.advance(&entry, Stage::Undone).await?;
            return Err(why);
        }
        let now = Instant::now();
        let patience = Patience {
            until: if first {
                now + INJECT_WITHIN
            } else {
                (now + FOLLOW_WITHIN).min(course.end)
            },
            stop,
            watch_targets: !first,
        };
        // Before it is sent: what ends half-way is taken back too.
        course.entries.push(entry.clone());
        let sent = api::send(&self.client, &self.subject, &experiment, &pods, &patience).await;
        if !matches!(sent, Err(FaultError::Unsure { .. }))
            && let Some(entry) = course.entries.last_mut()
        {
            // It arrived, or it was refused: if it is not there, nothing comes any more.
            entry.stage = Stage::Injected;
        }
        if let Err(FaultError::NotFlushed { flushed, .. }) = &sent {
            let done = fresh.iter().filter(|(_, name)| flushed.contains(name));
            course.covered.extend(done.map(|(uid, _)| uid.clone()));
        }
        sent?;
        self.journal.advance(&entry, Stage::Injected).await?;
        course.covered.extend(fresh.into_iter().map(|(uid, _)| uid));
        Ok(pods.len())
    }

    /// To be asked right before a mutation is sent: much time may have passed since it was decided on.
    fn may_send(&self, stop: &CancellationToken) -> Result<(), FaultError> {
        if stop.is_cancelled() {
            return Err(FaultError::Interrupted);
        }
        Ok(self.journal.may_send()?)
    }
}
