//! The measured audience, pure: the sum of what steering servers report, with a short memory for those that are silent.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use showrunner_crds::wire::AudienceReport;

use crate::{
    metering::Answer,
    validate::{ValidatedPlatform, names::RegionName},
};

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
    /// Regions whose steering servers are ready and have not told anything for [`MEMORY`].
    pub silent: BTreeSet<RegionName>,
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
    /// Regions none of whose servers answered the last time, and since when.
    silent: BTreeMap<RegionName, Timestamp>,
}

impl Memory {
    /// Takes in a round of answers, one a server: those who did not answer keep their last report for [`MEMORY`]. None if
    /// nobody was asked.
    pub fn take(&mut self, now: Timestamp, answers: Option<Vec<Answer>>) {
        if let Some(answers) = answers {
            self.listen(now, &answers);
            for answer in answers {
                if let Some(report) = answer.report {
                    self.reports.insert(answer.server, (now, report));
                }
            }
        }
        self.reports
            .retain(|_, (at, _)| now.duration_since(*at).unsigned_abs() <= MEMORY);
    }

    fn listen(&mut self, now: Timestamp, answers: &[Answer]) {
        let regions = |told: bool| -> BTreeSet<&RegionName> {
            let answers = answers.iter().filter(|answer| answer.report.is_some() == told);
            answers.filter_map(|answer| answer.region.as_ref()).collect()
        };
        let (telling, quiet) = (regions(true), regions(false));
        self.silent
            .retain(|region, _| quiet.contains(region) && !telling.contains(region));
        for region in quiet.difference(&telling) {
            self.silent.entry((*region).clone()).or_insert(now);
        }
    }

    /// Regions none of whose steering servers answered the last time.
    #[must_use]
    pub fn quiet(&self) -> BTreeSet<RegionName> {
        self.silent.keys().cloned().collect()
    }

    /// The audience as it is known. Pathways that are no region of the platform, and counts that are no number, are left out.
    #[must_use]
    pub fn audience(&self, platform: &ValidatedPlatform, now: Timestamp) -> Audience {
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
            silent: self
                .silent
                .iter()
                .filter(|(_, since)| now.duration_since(**since).unsigned_abs() >= MEMORY)
                .map(|(region, _)| region.clone())
                .collect(),
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

    fn answer(server: &str, region: &str, report: Option<AudienceReport>) -> Answer {
        Answer {
            server: server.to_owned(),
            region: RegionName::new(region),
            report,
        }
    }

    #[test]
    fn servers_add_up() {
        let mut memory = Memory::default();
        let first = report(&[("north", 10.4), ("south", 2.0)]);
        let second = report(&[("north", 5.2), ("atlantis", 9.0), ("west", f64::NAN), ("south", -4.0)]);
        let answers = vec![answer("a", "north", Some(first)), answer("b", "north", Some(second))];
        memory.take(at(0), Some(answers));
        let audience = memory.audience(&fixtures::cinema(), at(0));
        let counts: Vec<u32> = ["north", "south", "west"]
            .iter()
            .map(|name| audience.of(&RegionName::new(name).unwrap()))
            .collect();
        assert_eq!((counts, audience.total()), (vec![16, 2, 0], 18));
    }

    #[test]
    fn a_silent_server_is_remembered_for_a_while() {
        let mut memory = Memory::default();
        memory.take(
            at(0),
            Some(vec![answer("a", "north", Some(report(&[("north", 10.0)])))]),
        );
        for (second, expected) in [(10, 10), (20, 10), (21, 0)] {
            memory.take(at(second), Some(vec![answer("a", "north", None)]));
            assert_eq!(
                memory.audience(&fixtures::cinema(), at(second)).total(),
                expected,
                "at {second}"
            );
        }
    }

    #[test]
    fn a_region_is_silent_when_nobody_there_has_answered_for_a_while() {
        let mut memory = Memory::default();
        let told = || Some(report(&[]));
        for (second, answers, quiet, silent) in [
            (
                0,
                Some(vec![answer("a", "north", None), answer("b", "north", told())]),
                0,
                0,
            ),
            (
                10,
                Some(vec![answer("a", "north", None), answer("b", "north", None)]),
                1,
                0,
            ),
            (29, Some(vec![answer("a", "north", None)]), 1, 0),
            // Not asked: nothing new is known.
            (30, None, 1, 1),
            (
                31,
                Some(vec![answer("a", "north", None), answer("c", "south", None)]),
                2,
                1,
            ),
            // One answer is enough, and who has no server that is ready is not silent.
            (32, Some(vec![answer("a", "north", told())]), 0, 0),
        ] {
            memory.take(at(second), answers);
            let found = memory.audience(&fixtures::cinema(), at(second)).silent.len();
            assert_eq!((memory.quiet().len(), found), (quiet, silent), "at {second}");
        }
    }
}
