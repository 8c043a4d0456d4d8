//! What is to be done about a drill: pure.

use std::time::Duration;

use showrunner_crds::drill::{Drill, DrillPhase, JournalEntry, outstanding};

/// Longest time between two looks at the Lease of a drill that runs.
const LOOK: Duration = Duration::from_secs(5);

/// Shortest and longest time between two looks at mutations that are on their way out.
const GOING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// When mutations that are on their way out are looked at again, once the drill has waited for `since`: at first every second,
/// and less often where a finalizer holds one for ever.
#[must_use]
pub(super) fn again(since: Duration) -> Duration {
    (since / 10).clamp(GOING.0, GOING.1)
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: it is over, or nothing of it can be in the cluster.
    Rest,
    /// Its runner may live: look again after this.
    Watch(Duration),
    /// Its runner is gone: keep it from coming back.
    TakeOver,
    /// Take these back.
    Undo(Vec<JournalEntry>),
    /// Everything is taken back: say so.
    Conclude,
}

/// Decides. `left` says how long the runner may still be alive ([`showrunner_crds::liveness::Liveness`]).
#[must_use]
pub fn due(drill: &Drill, left: Duration) -> Action {
    let Some(status) = &drill.status else {
        // The first thing that a runner states; without it nothing was injected.
        return Action::Rest;
    };
    if drill.metadata.deletion_timestamp.is_some() || status.finished() {
        // The objects of a Drill that is deleted go with it: they are owned by it.
        return Action::Rest;
    }
    let open = outstanding(&status.journal);
    match status.phase {
        Some(DrillPhase::Abandoned | DrillPhase::Done) if open.is_empty() => Action::Conclude,
        Some(DrillPhase::Abandoned | DrillPhase::Done) => Action::Undo(open),
        _ if left.is_zero() => Action::TakeOver,
        _ => Action::Watch(left.min(LOOK)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;
    use showrunner_crds::drill::{DrillSpec, DrillStatus, JournalStage, Undo};

    use super::*;

    const ALIVE: Duration = Duration::from_secs(12);
    const GONE: Duration = Duration::ZERO;

    fn entry(id: u32, stage: JournalStage) -> JournalEntry {
        JournalEntry {
            id,
            fault: "lose-eu".into(),
            stage,
            undo: Undo::SelfHealing,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn drill(phase: DrillPhase, journal: &[JournalEntry]) -> Drill {
        let spec = DrillSpec {
            scenario: "night".into(),
            platform: "cinema".into(),
            seed: None,
        };
        let mut drill = Drill::new("night-1", spec);
        drill.status = Some(DrillStatus {
            phase: Some(phase),
            journal: journal.to_vec(),
            ..DrillStatus::default()
        });
        drill
    }

    #[test]
    fn a_runner_that_lives_is_left_alone_whatever_it_has_injected() {
        let open = [entry(0, JournalStage::Injected)];
        for phase in [
            DrillPhase::Pending,
            DrillPhase::Preflight,
            DrillPhase::Running,
            DrillPhase::Undoing,
        ] {
            assert_eq!(due(&drill(phase, &open), ALIVE), Action::Watch(LOOK));
            assert_eq!(
                due(&drill(phase, &open), Duration::from_secs(1)),
                Action::Watch(Duration::from_secs(1))
            );
            assert_eq!(due(&drill(phase, &open), GONE), Action::TakeOver, "{phase:?}");
            assert_eq!(
                due(&drill(phase, &[]), GONE),
                Action::TakeOver,
                "it may not come back and inject"
            );
        }
    }

    #[test]
    fn what_was_taken_over_is_undone_latest_first_and_then_concluded() {
        use JournalStage::{Injected, Intent, Undone};
        let journal = [entry(0, Intent), entry(1, Undone), entry(2, Injected)];
        let Action::Undo(open) = due(&drill(DrillPhase::Abandoned, &journal), ALIVE) else {
            panic!("not undone");
        };
        assert_eq!(open.iter().map(|entry| entry.id).collect::<Vec<_>>(), [2, 0]);
        let all = [entry(0, Undone)];
        assert_eq!(due(&drill(DrillPhase::Abandoned, &all), GONE), Action::Conclude);
    }

    #[test]
    fn what_is_long_on_its_way_out_is_looked_at_less_often() {
        let secs = Duration::from_secs;
        assert_eq!(
            [0, 5, 10, 100, 3600].map(|since| again(secs(since)).as_secs()),
            [1, 1, 1, 5, 5]
        );
    }

    #[test]
    fn what_is_over_stays_so_unless_its_journal_says_otherwise() {
        use JournalStage::{Injected, Undone};
        assert_eq!(due(&drill(DrillPhase::Done, &[entry(0, Undone)]), GONE), Action::Rest);
        assert!(matches!(
            due(&drill(DrillPhase::Done, &[entry(0, Injected)]), GONE),
            Action::Undo(_)
        ));
        let mut begun = drill(DrillPhase::Running, &[]);
        begun.status = None;
        assert_eq!(
            due(&begun, GONE),
            Action::Rest,
            "nothing was stated, so nothing was injected"
        );
    }
}
