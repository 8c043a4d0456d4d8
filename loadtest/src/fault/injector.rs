//! Working one fault of the timeline: inject, follow the pods that come, take back, verify.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use rand::{SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use showrunner_crds::labels;
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Entry, Journal, JournalError, Stage, api, experiment, lasting};
use crate::{
    evidence::{Event, FaultStage, Recorder},
    observe::{Snapshot, Subject},
    plan::PlannedFault,
};

/// How often new pods are looked for while a fault lasts: an autoscaler adds some, and a lost region stays lost.
const FOLLOW: Duration = Duration::from_millis(500);
/// Times taking back is tried before it counts as failed.
const UNDO_ATTEMPTS: u32 = 5;

/// Why a fault could not be worked.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The cluster refused or failed.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The undo could not be put on record, so nothing was injected.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Nothing to inject into.
    #[error("no running pod matches {selector}")]
    NoTarget {
        /// The label selector.
        selector: String,
    },
    /// The fault was not seen to take effect.
    #[error("{name} was not injected within {seconds} s: {why}")]
    NotInjected {
        /// The chaos object.
        name: String,
        /// The deadline.
        seconds: u64,
        /// What was seen.
        why: String,
    },
    /// The fault was not seen to be taken back.
    #[error("{name} was not recovered within {seconds} s")]
    NotRecovered {
        /// The chaos object.
        name: String,
        /// The deadline.
        seconds: u64,
    },
    /// The journal names a kind that this program does not know.
    #[error("the undo journal names the unknown kind `{0}`")]
    UnknownKind(String),
    /// A guardrail forbids it.
    #[error("guardrail: {0}")]
    Guardrail(String),
}

/// Works faults on a cluster.
pub struct Injector {
    client: Client,
    subject: Subject,
    journal: Mutex<Journal>,
    recorder: Recorder,
    latest: watch::Receiver<Snapshot>,
    /// Part of every object's name, so that two runs never collide.
    suffix: String,
    seed: u64,
}

impl Injector {
    /// An injector that writes undos to `journal`.
    pub fn new(
        client: Client,
        subject: Subject,
        journal: Journal,
        recorder: Recorder,
        latest: watch::Receiver<Snapshot>,
        suffix: String,
        seed: u64,
    ) -> Self {
        Self {
            client,
            subject,
            journal: Mutex::new(journal),
            recorder,
            latest,
            suffix,
            seed,
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
        let worked = self.inject_and_follow(planned, origin, stop, &mut entries).await;
        self.note(planned, FaultStage::Undoing, format!("{} mutations", entries.len()));
        let undone = self.undo_all(&entries).await;
        match &undone {
            Ok(()) => self.note(
                planned,
                FaultStage::Undone,
                format!("{} mutations taken back", entries.len()),
            ),
            Err(error) => self.note(planned, FaultStage::Failed, format!("undo: {error}")),
        }
        worked.and(undone)
    }

    async fn inject_and_follow(
        &self,
        planned: &PlannedFault,
        origin: Instant,
        stop: &CancellationToken,
        entries: &mut Vec<Entry>,
    ) -> Result<(), FaultError> {
        self.guard(planned)?;
        let end = origin + Duration::from_millis(planned.undo_ms);
        let (mut covered, mut before) = (BTreeSet::new(), None);
        let mut rng = SmallRng::seed_from_u64(self.seed ^ planned.inject_ms);
        let mut round = 0_u32;
        loop {
            match self
                .inject_new(planned, &mut covered, &mut before, &mut rng, round, entries)
                .await
            {
                Ok(0) if round == 0 => {
                    return Err(FaultError::NoTarget {
                        selector: self.selector(planned),
                    });
                }
                Ok(0) => {}
                Ok(count) if round == 0 => self.note(planned, FaultStage::Injected, format!("{count} pods")),
                Ok(count) => info!(fault = planned.fault.name, count, "the fault follows new pods"),
                Err(error) if round == 0 => {
                    self.note(planned, FaultStage::Failed, format!("inject: {error}"));
                    return Err(error);
                }
                // A pod may vanish between the look and the injection; the next round sees what is there then.
                Err(error) => warn!(fault = planned.fault.name, %error, "a new pod could not be covered"),
            }
            round += 1;
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
    async fn inject_new(
        &self,
        planned: &PlannedFault,
        covered: &mut BTreeSet<String>,
        before: &mut Option<usize>,
        rng: &mut SmallRng,
        round: u32,
        entries: &mut Vec<Entry>,
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
        if fresh.is_empty() {
            return Ok(0);
        }
        if round == 0 {
            self.note(planned, FaultStage::Injecting, format!("{} pods", fresh.len()));
        }
        let name = format!("drill-{}-{}-{round}", planned.fault.name, self.suffix);
        let pods: Vec<String> = fresh.iter().map(|(_, name)| name.clone()).collect();
        let lasts = Duration::from_millis(planned.undo_ms - planned.inject_ms);
        let experiment = experiment(&planned.fault.action, &name, &self.subject.namespace, &pods, lasts);
        let entry = self
            .journal
            .lock()
            .await
            .intent(&planned.fault.name, experiment.undo())?;
        entries.push(entry.clone());
        api::send(&self.client, &self.subject, &experiment).await?;
        self.journal.lock().await.advance(&entry, Stage::Injected)?;
        covered.extend(fresh.into_iter().map(|(uid, _)| uid));
        Ok(pods.len())
    }

    /// UID and name of the running pods that the fault may touch.
    async fn running(&self, planned: &PlannedFault) -> Result<Vec<(String, String)>, FaultError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.subject.namespace);
        let listed = pods
            .list(&ListParams::default().labels(&self.selector(planned)))
            .await?;
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

    /// Never the last region that serves.
    fn guard(&self, planned: &PlannedFault) -> Result<(), FaultError> {
        let snapshot = self.latest.borrow();
        let verdict = survivors(&snapshot, &planned.blast.regions_lost);
        if let Err(why) = &verdict {
            self.note(planned, FaultStage::Failed, format!("guardrail: {why}"));
        }
        verdict.map_err(FaultError::Guardrail)
    }

    /// Takes back what is on the given entries, latest first; goes on past a failure and gives the first.
    pub async fn undo_all(&self, entries: &[Entry]) -> Result<(), FaultError> {
        let mut first = Ok(());
        for entry in entries.iter().rev() {
            let mut result = Ok(());
            for attempt in 0..UNDO_ATTEMPTS {
                result = api::take_back(&self.client, &entry.undo).await;
                if result.is_ok() {
                    break;
                }
                sleep_until(Instant::now() + Duration::from_millis(200 << attempt)).await;
            }
            match result {
                Ok(()) => {
                    let noted = self.journal.lock().await.advance(entry, Stage::Undone);
                    // An undo that cannot be noted was carried out all the same; the others must be, too.
                    first = first.and(noted.map_err(FaultError::from));
                }
                Err(error) => {
                    warn!(%error, fault = entry.fault, "an undo failed");
                    first = first.and(Err(error));
                }
            }
        }
        first
    }

    fn note(&self, planned: &PlannedFault, stage: FaultStage, detail: String) {
        info!(fault = planned.fault.name, ?stage, detail, "fault");
        self.recorder.record(Event::Fault {
            name: planned.fault.name.clone(),
            stage,
            detail,
        });
    }

    /// Whether a fault leaves something in the cluster that must be taken back.
    #[must_use]
    pub fn leaves_traces(planned: &PlannedFault) -> bool {
        lasting(&planned.fault.action)
    }
}

/// Refuses a fault that would leave no region serving, judged by what is ready now.
fn survivors(snapshot: &Snapshot, lost: &[String]) -> Result<(), String> {
    if lost.is_empty() {
        return Ok(());
    }
    let others = snapshot
        .edges
        .iter()
        .filter(|e| !lost.contains(&e.region) && e.ready > 0)
        .count();
    if others == 0 {
        return Err(format!(
            "no region but {} has a ready edge: the last healthy path is never cut",
            lost.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::EdgeSeen;

    fn snapshot(ready: &[(&str, u32)]) -> Snapshot {
        let edges = ready.iter().map(|(region, ready)| EdgeSeen {
            region: (*region).into(),
            ready: *ready,
            ..EdgeSeen::default()
        });
        Snapshot {
            edges: edges.collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn the_last_healthy_region_is_never_cut() {
        let lost = ["eu".to_owned()];
        assert!(survivors(&snapshot(&[("eu", 2), ("us", 1)]), &lost).is_ok());
        assert!(survivors(&snapshot(&[("eu", 2), ("us", 0)]), &lost).is_err());
        assert!(survivors(&snapshot(&[]), &lost).is_err(), "no data is no permission");
    }
}
