//! The measured audience, pure: the sum of what steering servers report, with a short memory for those that are silent.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use showrunner_crds::wire::AudienceReport;

use crate::validate::{ValidatedPlatform, names::RegionName};

/// How long the last report of a silent steering server still counts. Its viewers turn to others within a few polls;
/// until then a low count would let the autoscaler take edges away from under them.
pub const MEMORY: Duration = Duration::from_secs(20);

/// Concurrent viewers by region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Audience {
    /// Viewers of each region that has any.
    pub regions: BTreeMap<RegionName, f64>,
    /// Steering servers whose report is recent.
    pub reporting: usize,
}

impl Audience {
    /// All viewers, rounded.
    #[must_use]
    pub fn total(&self) -> u32 {
        round(self.regions.values().sum())
    }

    /// Viewers of one region, rounded.
    #[must_use]
    pub fn of(&self, region: &RegionName) -> u32 {
        round(self.regions.get(region).copied().unwrap_or(0.0))
    }
}

fn round(viewers: f64) -> u32 {
    viewers.round().clamp(0.0, f64::from(u32::MAX)) as u32
}

/// The last report of each steering server.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    reports: BTreeMap<String, (Timestamp, AudienceReport)>,
}

impl Memory {
    /// Takes in a round of answers, one a server: those who did not answer keep their last report for [`MEMORY`].
    pub fn take(&mut self, now: Timestamp, answers: Vec<(String, Option<AudienceReport>)>) {
        for (server, answer) in answers {
            if let Some(report) = answer {
                self.reports.insert(server, (now, report));
            }
        }
        self.reports
            .retain(|_, (at, _)| now.duration_since(*at).unsigned_abs() <= MEMORY);
    }

    /// The audience as it is known. Pathways that are no region of the platform, and counts that are no number, are left out.
    #[must_use]
    pub fn audience(&self, platform: &ValidatedPlatform) -> Audience {
        let mut regions: BTreeMap<RegionName, f64> = BTreeMap::new();
        for (_, report) in self.reports.values() {
            for (pathway, viewers) in &report.pathways {
                let known = platform.regions.iter().find(|region| region.name.as_str() == pathway);
                if let Some(region) = known.filter(|_| viewers.is_finite() && *viewers > 0.0) {
                    *regions.entry(region.name.clone()).or_default() += viewers;
                }
            }
        }
        Audience {
            regions,
            reporting: self.reports.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixtures;

    fn report(pathways: &[(&str, f64)]) -> AudienceReport {
        AudienceReport {
            window_seconds: 10.0,
            pathways: pathways
                .iter()
                .map(|(name, viewers)| ((*name).to_owned(), *viewers))
                .collect(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn servers_add_up() {
        let mut memory = Memory::default();
        memory.take(
            at(0),
            vec![
                ("a".into(), Some(report(&[("north", 10.4), ("south", 2.0)]))),
                (
                    "b".into(),
                    Some(report(&[
                        ("north", 5.2),
                        ("atlantis", 9.0),
                        ("west", f64::NAN),
                        ("south", -4.0),
                    ])),
                ),
            ],
        );
        let audience = memory.audience(&fixtures::cinema());
        let counts: Vec<u32> = ["north", "south", "west"]
            .iter()
            .map(|name| audience.of(&RegionName::new(name).unwrap()))
            .collect();
        assert_eq!((counts, audience.total()), (vec![16, 2, 0], 18));
    }

    #[test]
    fn a_silent_server_is_remembered_for_a_while() {
        let mut memory = Memory::default();
        memory.take(at(0), vec![("a".into(), Some(report(&[("north", 10.0)])))]);
        for (second, expected) in [(10, 10), (20, 10), (21, 0)] {
            memory.take(at(second), vec![("a".into(), None)]);
            assert_eq!(memory.audience(&fixtures::cinema()).total(), expected, "at {second}");
        }
    }
}
