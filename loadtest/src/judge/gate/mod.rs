//! One module a gate. Each gives what it measured, over how many samples, and why.

mod capacity;
mod delivery;
mod failover;
mod origins;
mod quality;
mod undone;

use showrunner_crds::{
    platform::StreamingPlatformSpec,
    scenario::{Gate, GateCheck},
};

use super::{Facts, GateResult, Outcome, describe, span};
use crate::plan::Timeline;

/// What a gate found, before the number of samples is held against what it asks for.
pub(super) struct Finding {
    outcome: Outcome,
    measured: String,
    samples: u64,
    because: String,
}

impl Finding {
    fn new(pass: bool, measured: impl Into<String>, samples: usize, because: impl Into<String>) -> Self {
        let outcome = if pass { Outcome::Pass } else { Outcome::Fail };
        Self {
            outcome,
            measured: measured.into(),
            samples: samples as u64,
            because: because.into(),
        }
    }

    /// Nothing was measured. There is no way from here to a pass.
    fn nothing(because: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Inconclusive,
            measured: "no data".into(),
            samples: 0,
            because: because.into(),
        }
    }
}

pub(super) fn judge(
    gate: &Gate,
    facts: &Facts,
    timeline: &Timeline,
    platform_name: &str,
    platform: &StreamingPlatformSpec,
) -> GateResult {
    let finding = match span(gate.within.as_ref(), facts, timeline) {
        None => Finding::nothing("the run has no such window: its phase or fault did not take place"),
        Some(window) => match &gate.check {
            GateCheck::StartupTime { percentile, below } => quality::startup(facts, window, *percentile, below.0),
            GateCheck::RebufferRatio { below_percent } => quality::rebuffer(facts, window, *below_percent),
            GateCheck::FatalSessions { at_most } => quality::fatal(facts, window, *at_most),
            GateCheck::StreamGap { below } => quality::gap(facts, window, below.0),
            GateCheck::FailoverTime { fault, within } => failover::time(facts, timeline, fault, within.0),
            GateCheck::EdgeScaling {
                surge,
                within,
                back_to_percent,
            } => capacity::scaling(facts, timeline, platform, surge, within.0, *back_to_percent),
            GateCheck::SegmentHitRatio { above_percent } => delivery::hit_ratio(facts, window, *above_percent),
            GateCheck::OriginFetches { at_most_per_object } => {
                origins::judge(facts, timeline, platform_name, platform, *at_most_per_object)
            }
            GateCheck::FaultsUndone {} => undone::judge(facts),
        },
    };
    let enough = finding.samples >= u64::from(gate.min_samples);
    let (outcome, because) = if enough || finding.outcome == Outcome::Inconclusive {
        (finding.outcome, finding.because)
    } else {
        let few = format!(
            "{} samples, the gate asks for {}; {}",
            finding.samples, gate.min_samples, finding.because
        );
        (Outcome::Inconclusive, few)
    };
    GateResult {
        name: gate.name.clone(),
        asks: describe(gate),
        outcome,
        measured: finding.measured,
        samples: finding.samples,
        because,
    }
}

/// Seconds with one decimal.
fn seconds(ms: i64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}
