//! The record of a run in the cluster around the run itself.

use std::{path::Path, sync::Arc};

use showrunner_crds::drill::{DrillPhase, DrillSpec};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::{Drill, DrillError, Halt, JOURNAL};
use crate::{
    evidence::RunEnd,
    fault::{Journal, Origin, outstanding, read_journal},
    judge::{Outcome, Verdict},
    record::{Record, identity},
    undo::{self, InTheWay, Settings, namespace_uid},
};

/// Puts the run on record, holds its Lease while `work` is done, and states how it ended.
pub(super) async fn recorded(
    drill: &Drill,
    seed: u64,
    halt: &Halt,
    work: impl AsyncFnOnce(Arc<Record>) -> Result<Verdict, DrillError>,
) -> Result<Verdict, DrillError> {
    let spec = DrillSpec {
        scenario: drill.scenario_name.clone(),
        platform: drill.subject.platform.clone(),
        seed: Some(seed),
    };
    let namespace = &drill.subject.namespace;
    let record = Record::create(&drill.client, namespace, &drill.run, spec, &identity()).await?;
    let record = Arc::new(record);
    let (kept, halt) = (record.clone(), halt.clone());
    let keeper = AbortOnDropHandle::new(tokio::spawn(async move { kept.keep(&halt).await }));
    let outcome = work(record.clone()).await;
    drop(keeper);
    let left = left(&drill.dir.join(JOURNAL), &record);
    let outcome = match (outcome, &left) {
        (Err(why), Some(left)) => Err(DrillError::NotUndone {
            why: Box::new(why),
            left: left.clone(),
        }),
        (outcome, _) => outcome,
    };
    let left = left.is_some();
    let stated = match &outcome {
        Ok(verdict) => {
            let completed = verdict.ended == RunEnd::Completed;
            let word = match verdict.outcome {
                Outcome::Pass => "pass",
                Outcome::Fail => "fail",
                Outcome::Inconclusive => "inconclusive",
            };
            let detail = verdict.doubts.join("; ");
            record.finish(verdict.undone && !left, completed, word, &detail).await
        }
        Err(error) => record.finish(!left, false, "inconclusive", &error.to_string()).await,
    };
    if let Err(error) = stated {
        let told = format!("the end of the run is not on record in the cluster: {error}");
        drill.live.say(&told);
    }
    outcome
}

/// What is not known to be undone. What this process saw counts beside what is on disk: one that is full has not all of it.
fn left(journal: &Path, record: &Record) -> Option<String> {
    if !journal.exists() {
        return None;
    }
    let mut entries = match read_journal(journal) {
        Ok(entries) => entries,
        // One that is there and cannot be read proves nothing.
        Err(error) => return Some(error.to_string()),
    };
    entries.extend(record.journal());
    let open = outstanding(&entries);
    let named: Vec<String> = open
        .iter()
        .map(|entry| format!("fault `{}` (mutation {})", entry.fault, entry.id))
        .collect();
    (!named.is_empty()).then(|| named.join(", "))
}

/// Undoes what earlier drills of the platform have left, until it is done or the run is ended: an undo may be repeated.
pub(super) async fn clear_the_way(drill: &Drill, record: &Record, halt: &Halt) -> Result<(), DrillError> {
    tokio::select! {
        cleared = undo_others(drill, record) => cleared,
        () = halt.token().cancelled() => {
            halt.check()?;
            Err(DrillError::Interrupted)
        }
    }
}

async fn undo_others(drill: &Drill, record: &Record) -> Result<(), DrillError> {
    let own = record.drill().await?;
    let settings = Settings {
        within: drill.undo_within,
        steady_within: drill.scenario.steady_state_deadline.0,
        by: format!("drill {}", drill.run),
    };
    let say = |text: &str| drill.live.say(text);
    match undo::clear_the_way(&drill.client, &drill.subject, &own, &settings, &say).await? {
        Ok(()) => Ok(()),
        Err(InTheWay::Running(other)) => Err(DrillError::Guardrail(format!(
            "guardrail: drill {other} runs on platform {}",
            drill.subject.platform
        ))),
        Err(InTheWay::Tied(other)) => Err(DrillError::Guardrail(format!(
            "guardrail: drill {other} began on platform {} in the same second, and nothing tells which came first: this one gives way; start it again once the other is over",
            drill.subject.platform
        ))),
        Err(InTheWay::NotUndone(why)) => Err(DrillError::Left(why)),
    }
}

/// The journal of a run, on disk and in its Drill.
pub(super) async fn journal(drill: &Drill, record: &Arc<Record>) -> Result<Journal, DrillError> {
    let namespace = &drill.subject.namespace;
    // Without it a journal may be held against another cluster, and no more.
    let uid = namespace_uid(&drill.client, namespace).await.ok().flatten();
    let uid = uid.filter(|uid| !uid.is_empty());
    let origin = Origin::new(&drill.run, namespace, &drill.subject.platform, uid);
    Ok(Journal::create(
        &drill.dir.join(JOURNAL),
        &origin,
        Some(record.clone()),
    )?)
}

/// States how far the run is. It is for people: a failure to state it is no reason to stop.
pub(super) async fn note_phase(record: &Record, phase: DrillPhase) {
    if let Err(error) = record.phase(phase).await {
        warn!(%error, "the Drill does not say how far the run is");
    }
}
