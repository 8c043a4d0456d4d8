//! A scenario and a platform become a timeline: pure, seeded, the same every time.

mod render;
mod targets;

use showrunner_crds::{
    platform::StreamingPlatformSpec,
    scenario::{Fault, ScenarioSpec},
};

pub(crate) use render::clock;
pub use render::render;
pub use targets::{Blast, blast};

/// One phase on the clock of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedPhase {
    /// Its name.
    pub name: String,
    /// When it begins, in milliseconds since the audience's first moment.
    pub start_ms: u64,
    /// When it ends.
    pub end_ms: u64,
    /// Concurrent viewers when it begins.
    pub from_viewers: u32,
    /// Concurrent viewers when it ends.
    pub to_viewers: u32,
}

/// One fault on the clock of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedFault {
    /// The fault as the scenario states it.
    pub fault: Fault,
    /// When it is injected, in milliseconds since the audience's first moment.
    pub inject_ms: u64,
    /// When it is undone.
    pub undo_ms: u64,
    /// What it may touch.
    pub blast: Blast,
}

/// What will happen, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// Seed of every random choice.
    pub seed: u64,
    /// The phases, in order.
    pub phases: Vec<PlannedPhase>,
    /// The faults, by injection time.
    pub faults: Vec<PlannedFault>,
    /// Length of the whole, in milliseconds.
    pub length_ms: u64,
}

/// Why a scenario has no timeline, or none that may be run: every mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct PlanError {
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

impl PlanError {
    /// An error where there are mistakes.
    pub fn unless_none(mistakes: Vec<Mistake>) -> Result<(), Self> {
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(Self { mistakes })
        }
    }
}

/// One mistake of a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Mistake {
    /// The part of the scenario: `spec.faults[1].action`.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A fault names a phase that is not there.
    #[error("fault `{fault}` starts in phase `{phase}`, which the scenario does not have; its phases are {known}")]
    UnknownPhase {
        /// The fault.
        fault: String,
        /// What it names.
        phase: String,
        /// What there is.
        known: String,
    },
    /// A fault would outlast the run.
    #[error("fault `{fault}` would end {late_ms} ms after the last phase; shorten it or lengthen a phase")]
    FaultOutlastsRun {
        /// The fault.
        fault: String,
        /// By how much.
        late_ms: u64,
    },
    /// The scenario lasts no time.
    #[error("the scenario's phases last 0s altogether; give at least one a duration")]
    Empty,
    /// A fault names what the platform does not have.
    #[error("fault `{fault}`: {problem}")]
    Target {
        /// The fault.
        fault: String,
        /// What is wrong with its target.
        problem: String,
    },
    /// The timeline does not keep to a guardrail.
    #[error("{0}")]
    Limit(String),
}

/// Makes the timeline of a scenario on a platform.
pub fn plan(
    scenario: &ScenarioSpec,
    platform: &StreamingPlatformSpec,
    seed: Option<u64>,
) -> Result<Timeline, PlanError> {
    let (timeline, mistakes) = draft(scenario, platform, seed);
    PlanError::unless_none(mistakes)?;
    Ok(timeline)
}

/// The same; what cannot be planned is left out of the timeline, and among the mistakes.
#[must_use]
pub fn draft(scenario: &ScenarioSpec, platform: &StreamingPlatformSpec, seed: Option<u64>) -> (Timeline, Vec<Mistake>) {
    let mut phases = Vec::with_capacity(scenario.audience.phases.len());
    let (mut clock, mut viewers) = (0, 0);
    for phase in &scenario.audience.phases {
        let end = clock + millis(phase.duration.0);
        phases.push(PlannedPhase {
            name: phase.name.clone(),
            start_ms: clock,
            end_ms: end,
            from_viewers: viewers,
            to_viewers: phase.viewers,
        });
        (clock, viewers) = (end, phase.viewers);
    }
    let mut mistakes = Vec::new();
    if clock == 0 {
        mistakes.push(Mistake {
            path: "spec.audience.phases".into(),
            problem: Problem::Empty,
        });
    }
    let mut faults = Vec::with_capacity(scenario.faults.len());
    for (index, fault) in scenario.faults.iter().enumerate() {
        match planned(fault, &phases, clock, platform) {
            Ok(fault) => faults.push(fault),
            Err((field, problem)) => mistakes.push(Mistake {
                path: format!("spec.faults[{index}].{field}"),
                problem,
            }),
        }
    }
    faults.sort_by_key(|f| f.inject_ms);
    let timeline = Timeline {
        seed: seed.unwrap_or(scenario.seed),
        phases,
        faults,
        length_ms: clock,
    };
    (timeline, mistakes)
}

/// One fault on the clock, or what is wrong with which of its fields.
fn planned(
    fault: &Fault,
    phases: &[PlannedPhase],
    end_ms: u64,
    platform: &StreamingPlatformSpec,
) -> Result<PlannedFault, (&'static str, Problem)> {
    let name = || fault.name.clone();
    let Some(phase) = phases.iter().find(|p| p.name == fault.start.phase) else {
        let known: Vec<String> = phases.iter().map(|p| format!("`{}`", p.name)).collect();
        let problem = Problem::UnknownPhase {
            fault: name(),
            phase: fault.start.phase.clone(),
            known: known.join(", "),
        };
        return Err(("start.phase", problem));
    };
    let inject_ms = phase.start_ms + millis(fault.start.after.0);
    let undo_ms = inject_ms + millis(fault.duration.0);
    if undo_ms > end_ms {
        let late_ms = undo_ms - end_ms;
        return Err(("duration", Problem::FaultOutlastsRun { fault: name(), late_ms }));
    }
    let blast =
        blast(&fault.action, platform).map_err(|problem| ("action", Problem::Target { fault: name(), problem }))?;
    Ok(PlannedFault {
        fault: fault.clone(),
        inject_ms,
        undo_ms,
        blast,
    })
}

impl Timeline {
    /// The phase that a moment falls into; the last one after the end.
    #[must_use]
    pub fn phase_at(&self, ms: u64) -> Option<&PlannedPhase> {
        self.phases.iter().find(|p| ms < p.end_ms).or(self.phases.last())
    }

    /// Concurrent viewers that the scenario wants at a moment.
    #[must_use]
    pub fn viewers_at(&self, ms: u64) -> u32 {
        let Some(phase) = self.phase_at(ms) else { return 0 };
        let length = phase.end_ms.saturating_sub(phase.start_ms);
        if length == 0 || ms >= phase.end_ms {
            return phase.to_viewers;
        }
        let share = ms.saturating_sub(phase.start_ms) as f64 / length as f64;
        let (from, to) = (f64::from(phase.from_viewers), f64::from(phase.to_viewers));
        (from + (to - from) * share).round() as u32
    }

    /// The phases as a test plan of goose: users at the end of each step, and its length.
    #[must_use]
    pub fn test_plan(&self) -> String {
        let steps = self.phases.iter().map(|p| {
            let seconds = (p.end_ms - p.start_ms).div_ceil(1000);
            format!("{},{seconds}s", p.to_viewers)
        });
        steps.collect::<Vec<_>>().join(";")
    }
}

pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{platform, scenario};

    #[test]
    fn phases_follow_one_another() {
        let timeline = plan(&scenario(), &platform(), None).unwrap();
        assert_eq!(timeline.phases[0].start_ms, 0);
        for pair in timeline.phases.windows(2) {
            assert_eq!(pair[0].end_ms, pair[1].start_ms);
            assert_eq!(pair[0].to_viewers, pair[1].from_viewers);
        }
        assert_eq!(timeline.length_ms, 60_000);
    }

    #[test]
    fn phases_are_steps_of_a_test_plan() {
        assert_eq!(
            plan(&scenario(), &platform(), None).unwrap().test_plan(),
            "10,10s;40,10s;40,40s"
        );
    }

    #[test]
    fn ramps_are_linear() {
        let timeline = plan(&scenario(), &platform(), None).unwrap();
        assert_eq!(timeline.viewers_at(0), 0);
        assert_eq!(timeline.viewers_at(5_000), 5);
        assert_eq!(timeline.viewers_at(10_000), 10);
        assert_eq!(timeline.viewers_at(1_000_000), 40);
    }

    #[test]
    fn a_fault_in_an_unknown_phase_is_refused_with_the_known_ones() {
        let mut scenario = scenario();
        scenario.faults[0].start.phase = "peek".into();
        let message = plan(&scenario, &platform(), None).unwrap_err().to_string();
        assert!(message.contains("`peek`") && message.contains("`peak`"), "{message}");
    }

    #[test]
    fn every_fault_that_cannot_be_planned_is_named_with_its_place() {
        let mut scenario = scenario();
        let good = scenario.faults[0].clone();
        let mut late = good.clone();
        late.duration = "10m".parse().unwrap();
        let mut nowhere = good.clone();
        nowhere.action = showrunner_crds::scenario::FaultAction::RegionLoss { region: "mars".into() };
        let mut unknown = good.clone();
        unknown.start.phase = "peek".into();
        scenario.faults = vec![late, good, nowhere, unknown];
        let (timeline, mistakes) = draft(&scenario, &platform(), None);
        let found: Vec<&str> = mistakes.iter().map(|mistake| mistake.path.as_str()).collect();
        assert_eq!(
            found,
            [
                "spec.faults[0].duration",
                "spec.faults[2].action",
                "spec.faults[3].start.phase"
            ]
        );
        assert!(matches!(mistakes[0].problem, Problem::FaultOutlastsRun { .. }));
        assert!(matches!(mistakes[1].problem, Problem::Target { .. }));
        assert_eq!(timeline.faults.len(), 1, "the good one");
        let error = plan(&scenario, &platform(), None).unwrap_err();
        assert_eq!(error.mistakes, mistakes);
        let said = error.to_string();
        assert!(
            said.contains("570000 ms") && said.contains("`mars`") && said.contains("`peek`"),
            "{said}"
        );
    }

    #[test]
    fn a_scenario_lasts_some_time() {
        let mut scenario = scenario();
        for phase in &mut scenario.audience.phases {
            phase.duration = "0s".parse().unwrap();
        }
        scenario.faults.clear();
        let error = plan(&scenario, &platform(), None).unwrap_err();
        assert_eq!(error.mistakes[0].path, "spec.audience.phases");
        assert_eq!(error.mistakes[0].problem, Problem::Empty);
    }
}
