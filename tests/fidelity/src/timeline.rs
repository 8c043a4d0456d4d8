//! What one player did and what its viewer saw, in the form in which players are compared.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One look at a player.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sample {
    /// Seconds since play was pressed.
    pub(crate) at: f64,
    /// Seconds of media ahead of the playhead.
    pub(crate) buffered: f64,
    /// Seconds of media shown.
    pub(crate) played: f64,
}

/// One session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Timeline {
    /// Seconds from pressing play to moving pictures; `None` if there were none.
    pub(crate) startup: Option<f64>,
    /// Stalls: when, and how long, in seconds.
    pub(crate) stalls: Vec<(f64, f64)>,
    /// Looks, in order of time.
    pub(crate) samples: Vec<Sample>,
    /// The rung in which each segment was fetched last, by the stream's own account.
    pub(crate) rungs: BTreeMap<u64, String>,
    /// What the player held its line to carry, whenever that changed: seconds since play was pressed, and bit/s.
    #[serde(default)]
    pub(crate) estimates: Vec<(f64, f64)>,
    /// What was asked for, and when: seconds since the first request, and what.
    #[serde(default)]
    pub(crate) requests: Vec<(f64, String)>,
    /// Whether the player gave up, and why.
    pub(crate) fatal: Option<String>,
}

impl Timeline {
    /// Seconds of media ahead of the playhead at `at`, between samples on a straight line.
    #[must_use]
    pub(crate) fn buffered(&self, at: f64) -> Option<f64> {
        let after = self.samples.partition_point(|sample| sample.at < at);
        let (left, right) = (self.samples.get(after.checked_sub(1)?)?, self.samples.get(after)?);
        let span = right.at - left.at;
        let share = if span > 0.0 { (at - left.at) / span } else { 0.0 };
        Some(left.buffered + (right.buffered - left.buffered) * share)
    }

    /// Time spent in stalls, in seconds.
    #[must_use]
    pub(crate) fn stalled(&self) -> f64 {
        self.stalls.iter().fold(0.0, |sum, (_, length)| sum + length)
    }

    /// Time of the last look.
    #[must_use]
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs_f64(self.samples.last().map_or(0.0, |sample| sample.at.max(0.0)))
    }
}

/// A minute in two rungs, `lo` and `hi`, with one stall.
#[cfg(test)]
pub(crate) fn example() -> Timeline {
    let sample = |index: u32| Sample {
        at: f64::from(index) * 0.1,
        buffered: 4.0,
        played: 0.0,
    };
    Timeline {
        startup: Some(1.0),
        stalls: vec![(30.0, 5.0)],
        samples: (0..600).map(sample).collect(),
        rungs: (0..30)
            .map(|number| (number, if number < 20 { "hi" } else { "lo" }.to_owned()))
            .collect(),
        ..Timeline::default()
    }
}
