//! The judge: evidence → gates → verdict. Pure.

mod facts;
mod gate;
mod origins;
mod verdict;

use showrunner_crds::scenario::{Gate, GateCheck, Window};

pub use facts::{Facts, FaultSpan, Session};
pub use origins::{Fetched, OriginFacts};
pub use verdict::{GateResult, Outcome, Verdict, exit};

use crate::{
    evidence::{Evidence, RunEnd, SteadyStage},
    plan::{Timeline, plan},
};

/// Share of seconds in which the generator may be late or out of processor before its measurements are in doubt.
const SATURATED_SHARE: f64 = 0.10;

/// Judges a run. The same evidence always gives the same verdict.
#[must_use]
pub fn judge(evidence: &Evidence) -> Verdict {
    let header = &evidence.header;
    let facts = Facts::of(evidence);
    let mut doubts = Vec::new();
    match &evidence.end {
        (RunEnd::Completed, _) => {}
        (RunEnd::Unknown, _) => doubts.push("the run did not complete; its evidence ends early".to_owned()),
        (_, why) => doubts.push(format!("the run did not complete: {why}")),
    }
    if facts.saturated_share() > SATURATED_SHARE {
        doubts.push(format!(
            "the generator was saturated (late or out of processor) in {:.0} % of its seconds: what it measured may be its own slowness",
            facts.saturated_share() * 100.0
        ));
    }
    match facts.steady(SteadyStage::Before) {
        Some((true, _)) => {}
        Some((false, detail)) => doubts.push(format!("no steady state before the audience came: {detail}")),
        None => doubts.push("the steady state before the audience came was not looked at".to_owned()),
    }
    if facts.faults.iter().any(|f| f.injected.is_some())
        && let Some((false, detail)) = facts.steady(SteadyStage::After)
    {
        doubts.push(format!("the steady state did not come back: {detail}"));
    }
    let gates: Vec<GateResult> = match plan(&header.scenario, &header.platform, Some(header.seed)) {
        Ok(timeline) => header
            .scenario
            .gates
            .iter()
            .map(|g| gate::judge(g, &facts, &timeline, &header.platform_name, &header.platform))
            .collect(),
        Err(error) => {
            doubts.push(format!("the scenario in the evidence has no timeline: {error}"));
            Vec::new()
        }
    };
    let outcome = if !doubts.is_empty() || gates.is_empty() {
        Outcome::Inconclusive
    } else if gates.iter().any(|g| g.outcome == Outcome::Fail) {
        Outcome::Fail
    } else if gates.iter().any(|g| g.outcome == Outcome::Inconclusive) {
        Outcome::Inconclusive
    } else {
        Outcome::Pass
    };
    Verdict {
        run: header.run.clone(),
        scenario: header.scenario_name.clone(),
        title: header.scenario.title.clone(),
        platform: header.platform_name.clone(),
        seed: header.seed,
        outcome,
        ended: evidence.end.0,
        undone: facts.faults.iter().all(FaultSpan::undone),
        doubts,
        gates,
    }
}

/// What a gate asks for, in words.
#[must_use]
pub fn describe(gate: &Gate) -> String {
    let asks = match &gate.check {
        GateCheck::StartupTime { percentile, below } => format!("startup p{percentile} < {below}"),
        GateCheck::RebufferRatio { below_percent } => format!("rebuffer ratio < {below_percent} %"),
        GateCheck::FatalSessions { at_most } => format!("fatal sessions ≤ {at_most}"),
        GateCheck::FailoverTime { fault, within } => {
            format!("every viewer that `{fault}` cuts off plays from elsewhere within {within}")
        }
        GateCheck::EdgeScaling {
            surge,
            within,
            back_to_percent,
        } => {
            let back = if *back_to_percent < 100 {
                format!(", and back to ≤ {back_to_percent} % of the peak")
            } else {
                String::new()
            };
            format!("edges carry the audience within {within} of the end of `{surge}`{back}")
        }
        GateCheck::SegmentHitRatio { above_percent } => format!("segment byte hit ratio > {above_percent} %"),
        GateCheck::OriginFetches { at_most_per_object } => {
            format!("origin fetches per segment and shield, all origins together, ≤ {at_most_per_object}")
        }
        GateCheck::StreamGap { below } => format!("worst gap in the stream < {below}"),
        GateCheck::FaultsUndone {} => "every fault undone, and the steady state back".to_owned(),
    };
    match &gate.within {
        None => asks,
        Some(Window::Phase(phase)) => format!("{asks}, in phase `{phase}`"),
        Some(Window::Fault { name, after }) => format!("{asks}, during `{name}` and {after} after"),
    }
}

/// The stretch of the run that a gate looks at, in milliseconds; `None` where the evidence does not have it.
fn span(window: Option<&Window>, facts: &Facts, timeline: &Timeline) -> Option<(i64, i64)> {
    match window {
        None => Some((i64::MIN, i64::MAX)),
        Some(Window::Phase(name)) => timeline
            .phases
            .iter()
            .find(|p| &p.name == name)
            .map(|p| (p.start_ms as i64, p.end_ms as i64)),
        Some(Window::Fault { name, after }) => {
            let fault = facts.faults.iter().find(|f| &f.name == name)?;
            Some((fault.injected?, fault.undone_at? + after.0.as_millis() as i64))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        evidence::{Event, FaultStage},
        telemetry::{EventBody, GeneratorHealth, SessionEvent, TelemetryEvent},
        testing::evidence,
    };

    /// The evidence of a passing run without the records that `drop` picks.
    fn without(drop: impl Fn(&Event) -> bool) -> Verdict {
        let mut evidence = evidence();
        evidence.records.retain(|r| !drop(&r.event));
        judge(&evidence)
    }

    fn viewer_event(event: &Event) -> Option<&SessionEvent> {
        match event {
            Event::Viewer(TelemetryEvent {
                body: EventBody::Viewer { event, .. },
                ..
            }) => Some(event),
            _ => None,
        }
    }

    #[test]
    fn the_run_that_all_others_are_held_against_passes() {
        let verdict = without(|_| false);
        assert_eq!(
            (verdict.outcome, verdict.exit_code()),
            (Outcome::Pass, exit::PASS),
            "{verdict:?}"
        );
    }

    #[test]
    fn a_viewer_that_never_comes_back_fails_the_failover() {
        let verdict = without(|e| matches!(viewer_event(e), Some(SessionEvent::FirstSegmentOnPathway { .. })));
        assert_eq!(verdict.exit_code(), exit::FAIL);
        assert!(
            verdict
                .gates
                .iter()
                .any(|g| g.name == "failover" && g.outcome == Outcome::Fail)
        );
    }

    #[test]
    fn a_fault_without_word_of_its_undo_outweighs_everything() {
        let verdict = without(|e| {
            matches!(
                e,
                Event::Fault {
                    stage: FaultStage::Undone,
                    ..
                }
            )
        });
        assert_eq!(verdict.exit_code(), exit::NOT_UNDONE);
    }

    #[test]
    fn no_viewers_is_inconclusive() {
        assert_eq!(without(|e| viewer_event(e).is_some()).exit_code(), exit::INCONCLUSIVE);
    }

    #[test]
    fn a_generator_that_is_silent_or_late_makes_it_inconclusive() {
        let silent = without(|e| matches!(e, Event::Viewer(t) if matches!(t.body, EventBody::Generator(_))));
        assert_eq!(silent.exit_code(), exit::INCONCLUSIVE);
        let mut late = evidence();
        for record in &mut late.records {
            if let Event::Viewer(TelemetryEvent {
                body: EventBody::Generator(health),
                ..
            }) = &mut record.event
            {
                *health = GeneratorHealth {
                    lateness_p99_us: 2_000_000,
                    ..GeneratorHealth::default()
                };
            }
        }
        assert_eq!(judge(&late).exit_code(), exit::INCONCLUSIVE);
    }

    #[test]
    fn a_run_that_was_cut_short_is_inconclusive() {
        let mut evidence = evidence();
        evidence.end = (RunEnd::Unknown, String::new());
        assert_eq!(judge(&evidence).exit_code(), exit::INCONCLUSIVE);
    }

    #[test]
    fn the_judge_gives_the_exit_code_of_the_drill() {
        let code = |end| {
            let mut evidence = evidence();
            evidence.end = (end, "because".into());
            judge(&evidence).exit_code()
        };
        assert_eq!(code(RunEnd::Completed), exit::PASS);
        assert_eq!(code(RunEnd::Guardrail), exit::GUARDRAIL);
        assert_eq!(code(RunEnd::Infrastructure), exit::INFRASTRUCTURE);
        assert_eq!(code(RunEnd::NotSteady), exit::INCONCLUSIVE);
        assert_eq!(code(RunEnd::Interrupted), exit::INCONCLUSIVE);
    }

    #[test]
    fn without_a_steady_state_before_nothing_is_proved() {
        assert_eq!(
            without(|e| matches!(e, Event::Steady { .. })).exit_code(),
            exit::INCONCLUSIVE
        );
    }

    #[test]
    fn too_few_samples_are_inconclusive() {
        let mut evidence = evidence();
        evidence.header.scenario.gates[0].min_samples = 2;
        let verdict = judge(&evidence);
        assert_eq!(verdict.gates[0].outcome, Outcome::Inconclusive);
        assert_eq!(verdict.exit_code(), exit::INCONCLUSIVE);
    }

    #[test]
    fn the_same_evidence_gives_the_same_verdict() {
        assert_eq!(judge(&evidence()), judge(&evidence()));
    }
}
