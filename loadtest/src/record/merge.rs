//! What one process wants to be on record, and what is there: pure.

use jiff::Timestamp;
use showrunner_crds::drill::{DrillPhase, DrillStatus, JournalEntry, merged};

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The process that runs the drill.
    Runner,
    /// One that takes back what another has left.
    Undoer,
}

/// A condition: its type, status, reason and message.
pub(super) type Stated = (&'static str, Option<bool>, &'static str, String);

/// What is to be on record.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) phase: Option<DrillPhase>,
    pub(super) verdict: Option<String>,
    pub(super) runner: Option<String>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) journal: Vec<JournalEntry>,
    pub(super) conditions: Vec<Stated>,
}

/// Whether the runner has lost the right to inject.
pub(super) fn fenced(status: &DrillStatus) -> bool {
    matches!(status.phase, Some(DrillPhase::Abandoned | DrillPhase::Done))
}

/// The status with what is wanted in it. No entry goes back to an earlier stage, and a run that was taken over gets no new
/// entries: whoever took it over would not know of them.
pub(super) fn merge(status: &DrillStatus, wanted: &Wanted, role: Role, now: Timestamp) -> DrillStatus {
    let mut status = status.clone();
    let may_add = role == Role::Runner && !fenced(&status);
    let known: Vec<u32> = status.journal.iter().map(|entry| entry.id).collect();
    let ours = wanted
        .journal
        .iter()
        .filter(|entry| may_add || known.contains(&entry.id));
    let all: Vec<_> = status.journal.iter().chain(ours).cloned().collect();
    status.journal = merged(&all);
    match wanted.phase {
        // Fenced stays fenced; only the end of it all ends that.
        Some(phase) if !fenced(&status) || phase == DrillPhase::Done => status.phase = Some(phase),
        _ => {}
    }
    for (there, ours) in [
        (&mut status.verdict, &wanted.verdict),
        (&mut status.runner, &wanted.runner),
    ] {
        if ours.is_some() {
            there.clone_from(ours);
        }
    }
    status.started_at = status.started_at.or(wanted.started_at);
    for (type_, state, reason, message) in &wanted.conditions {
        status.set_condition(type_, *state, reason, message, now);
    }
    status
}

#[cfg(test)]
mod tests {
    use showrunner_crds::drill::{JournalStage, Undo};

    use super::*;

    fn entry(id: u32, stage: JournalStage) -> JournalEntry {
        JournalEntry {
            id,
            fault: "f".into(),
            stage,
            undo: Undo::SelfHealing,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn status(phase: DrillPhase, journal: &[JournalEntry]) -> DrillStatus {
        DrillStatus {
            phase: Some(phase),
            journal: journal.to_vec(),
            ..DrillStatus::default()
        }
    }

    fn wants(phase: DrillPhase, journal: &[JournalEntry]) -> Wanted {
        Wanted {
            phase: Some(phase),
            journal: journal.to_vec(),
            ..Wanted::default()
        }
    }

    #[test]
    fn a_run_that_was_taken_over_gets_no_new_entries_and_stays_so_until_its_end() {
        use JournalStage::{Injected, Intent, Undone};
        let there = status(DrillPhase::Abandoned, &[entry(0, Undone)]);
        let wanted = wants(DrillPhase::Running, &[entry(0, Injected), entry(1, Intent)]);
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(merge(&there, &wanted, Role::Runner, now), there);
        let wanted = wants(DrillPhase::Done, &[]);
        assert_eq!(merge(&there, &wanted, Role::Runner, now).phase, Some(DrillPhase::Done));
    }

    #[test]
    fn the_runner_adds_and_others_only_advance() {
        use JournalStage::{Injected, Intent, Undone};
        let there = status(DrillPhase::Running, &[entry(0, Injected)]);
        let wanted = wants(DrillPhase::Abandoned, &[entry(0, Undone), entry(1, Intent)]);
        let now = Timestamp::UNIX_EPOCH;
        let merged = merge(&there, &wanted, Role::Undoer, now);
        assert_eq!(merged, status(DrillPhase::Abandoned, &[entry(0, Undone)]));
        let wanted = wants(DrillPhase::Running, &[entry(1, Intent)]);
        assert_eq!(merge(&there, &wanted, Role::Runner, now).journal.len(), 2);
    }
}
