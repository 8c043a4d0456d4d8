//! The verdict: what CI gates on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::evidence::RunEnd;

/// Pass, fail, or not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Measured, and as it must be.
    Pass,
    /// Measured, and not as it must be.
    Fail,
    /// Not measured well enough to tell. Never a pass.
    Inconclusive,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Inconclusive => "inconclusive",
        })
    }
}

/// What became of one gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateResult {
    /// Its name.
    pub name: String,
    /// What it asks for, in words.
    pub asks: String,
    /// Whether it got it.
    pub outcome: Outcome,
    /// What was measured, with its unit.
    pub measured: String,
    /// How many samples that stands on.
    pub samples: u64,
    /// The evidence behind it, or why there is none.
    pub because: String,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Name of the run.
    pub run: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Its title.
    pub title: String,
    /// Name of the platform.
    pub platform: String,
    /// Seed of the run.
    pub seed: u64,
    /// The whole.
    pub outcome: Outcome,
    /// How the run ended.
    pub ended: RunEnd,
    /// Whether every fault was undone and that was verified.
    pub undone: bool,
    /// What makes the run as a whole inconclusive, if anything does.
    pub doubts: Vec<String>,
    /// Each gate, in the order of the scenario.
    pub gates: Vec<GateResult>,
}

/// Exit codes of a drill.
pub mod exit {
    /// Every gate passed.
    pub const PASS: u8 = 0;
    /// A gate failed.
    pub const FAIL: u8 = 1;
    /// The input is invalid; nothing was started.
    pub const INVALID: u8 = 2;
    /// Not measured well enough to tell.
    pub const INCONCLUSIVE: u8 = 3;
    /// A guardrail stopped the run.
    pub const GUARDRAIL: u8 = 4;
    /// A fault's undo could not be verified.
    pub const NOT_UNDONE: u8 = 5;
    /// Something the run stands on did not work.
    pub const INFRASTRUCTURE: u8 = 6;
}

impl Verdict {
    /// The exit code that the verdict stands for. An undo that is not verified outweighs everything else, and what stopped the
    /// run outweighs what can be judged of it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if !self.undone {
            return exit::NOT_UNDONE;
        }
        match self.ended {
            RunEnd::Guardrail => return exit::GUARDRAIL,
            RunEnd::Infrastructure => return exit::INFRASTRUCTURE,
            RunEnd::Completed | RunEnd::Interrupted | RunEnd::NotSteady | RunEnd::Unknown => {}
        }
        match self.outcome {
            Outcome::Pass => exit::PASS,
            Outcome::Fail => exit::FAIL,
            Outcome::Inconclusive => exit::INCONCLUSIVE,
        }
    }
}
