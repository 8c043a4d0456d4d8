//! Who arrives when, from where, on what network, and when they leave: drawn from one seed before anything runs.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng as _};
use url::Url;

use crate::player::PlayerSettings;

/// An audience to simulate.
#[derive(Clone, Debug)]
pub struct AudiencePlan {
    /// The multivariant playlist; `region=NAME` is added to its query.
    pub playback_url: Url,
    /// Channel, as services know it.
    pub channel: Arc<str>,
    /// How many watch over time.
    pub phases: Vec<PhaseTarget>,
    /// Where they are.
    pub regions: Vec<RegionSlice>,
    /// What networks they have.
    pub networks: Vec<Network>,
    /// How arrivals spread over a ramp.
    pub arrivals: Arrivals,
    /// Seed of everything random.
    pub seed: u64,
    /// How their players behave, and which services they call.
    pub player: PlayerSettings,
}

/// One stretch: viewers move linearly from the previous number to this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseTarget {
    /// How long it lasts.
    pub duration: Duration,
    /// Concurrent viewers at its end.
    pub viewers: u32,
}

/// Part of the audience in one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionSlice {
    /// Name.
    pub region: Arc<str>,
    /// Relative share.
    pub share: u32,
}

/// An access network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Name for reports.
    pub name: Arc<str>,
    /// Relative share.
    pub share: u32,
    /// Bandwidth towards the viewer in kbit/s; `None` is not shaped.
    pub down_kbps: Option<u32>,
    /// Added to every request and connection.
    pub rtt: Duration,
}

/// How arrivals (and departures) spread over a ramp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// At equal distances.
    #[default]
    Even,
    /// At random, as independent people do.
    Poisson,
}

/// One viewer's part in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewing {
    /// Number, from 0.
    pub viewer: u32,
    /// Index into the plan's regions.
    pub region: usize,
    /// Index into the plan's networks.
    pub network: usize,
    /// Seed of this viewer.
    pub seed: u64,
    /// Presses play.
    pub arrive: Duration,
    /// Leaves.
    pub leave: Duration,
}

/// All viewers, in order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The viewers.
    pub viewings: Vec<Viewing>,
    /// When the last phase ends.
    pub end: Duration,
}

impl Schedule {
    /// Draws the schedule of a plan. The same plan gives the same schedule. Empty where the plan has no region or network.
    #[must_use]
    pub fn draw(plan: &AudiencePlan) -> Self {
        let mut rng = SmallRng::seed_from_u64(plan.seed);
        let (mut viewings, mut active): (Vec<Viewing>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut regions = RoundRobin::new(plan.regions.iter().map(|slice| slice.share));
        let networks: Vec<u32> = plan.networks.iter().map(|network| network.share).collect();
        let (mut from, mut target) = (Duration::ZERO, 0u32);
        if networks.is_empty() || plan.regions.is_empty() {
            return Self {
                viewings,
                end: Duration::ZERO,
            };
        }
        for phase in &plan.phases {
            for at in spread(
                plan.arrivals,
                phase.viewers.abs_diff(target),
                from,
                phase.duration,
                &mut rng,
            ) {
                if phase.viewers > target {
                    active.push(viewings.len());
                    viewings.push(Viewing {
                        viewer: u32::try_from(viewings.len()).unwrap_or(u32::MAX),
                        region: regions.next(),
                        network: weighted(&networks, &mut rng),
                        seed: rng.random(),
                        arrive: at,
                        leave: Duration::MAX,
                    });
                } else if !active.is_empty() {
                    let leaving = active.swap_remove(rng.random_range(0..active.len()));
                    viewings[leaving].leave = at;
                }
            }
            (from, target) = (from + phase.duration, phase.viewers);
        }
        for viewing in &mut viewings {
            viewing.leave = viewing.leave.min(from);
        }
        Self { viewings, end: from }
    }

    /// Viewers the plan has in a region at `at`.
    #[must_use]
    pub fn target(&self, region: usize, at: Duration) -> u32 {
        let present = |viewing: &&Viewing| viewing.region == region && viewing.arrive <= at && viewing.leave > at;
        u32::try_from(self.viewings.iter().filter(present).count()).unwrap_or(u32::MAX)
    }
}

fn spread(arrivals: Arrivals, count: u32, from: Duration, length: Duration, rng: &mut SmallRng) -> Vec<Duration> {
    let mut places: Vec<f64> = (0..count)
        .map(|index| match arrivals {
            Arrivals::Even => (f64::from(index) + 0.5) / f64::from(count),
            // Given how many arrive, a Poisson process places them uniformly.
            Arrivals::Poisson => rng.random_range(0.0..1.0),
        })
        .collect();
    places.sort_by(f64::total_cmp);
    places.into_iter().map(|place| from + length.mul_f64(place)).collect()
}

fn weighted(shares: &[u32], rng: &mut SmallRng) -> usize {
    let total: u64 = shares.iter().map(|share| u64::from(*share)).sum();
    let mut draw = rng.random_range(0..total.max(1));
    for (index, share) in shares.iter().enumerate() {
        match draw.checked_sub(u64::from(*share)) {
            Some(rest) => draw = rest,
            None => return index,
        }
    }
    0
}

/// Smooth weighted round-robin: after any number of arrivals each region has its share to within one viewer.
struct RoundRobin {
    entries: Vec<(i64, i64)>,
    total: i64,
}

impl RoundRobin {
    fn new(shares: impl Iterator<Item = u32>) -> Self {
        let entries: Vec<(i64, i64)> = shares.map(|share| (i64::from(share.max(1)), 0)).collect();
        Self {
            total: entries.iter().map(|(share, _)| share).sum(),
            entries,
        }
    }

    fn next(&mut self) -> usize {
        for (share, credit) in &mut self.entries {
            *credit += *share;
        }
        let mut best = 0;
        for (index, (_, credit)) in self.entries.iter().enumerate() {
            if *credit > self.entries[best].1 {
                best = index;
            }
        }
        self.entries[best].1 -= self.total;
        best
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn plan(phases: &[(u64, u32)], seed: u64, arrivals: Arrivals) -> AudiencePlan {
        AudiencePlan {
            playback_url: Url::parse("http://h/play/one/multivariant.m3u8").unwrap(),
            channel: "one".into(),
            phases: phases
                .iter()
                .map(|(seconds, viewers)| PhaseTarget {
                    duration: Duration::from_secs(*seconds),
                    viewers: *viewers,
                })
                .collect(),
            regions: vec![
                RegionSlice {
                    region: "east".into(),
                    share: 3,
                },
                RegionSlice {
                    region: "west".into(),
                    share: 1,
                },
            ],
            networks: vec![Network {
                name: "lan".into(),
                share: 1,
                down_kbps: None,
                rtt: Duration::ZERO,
            }],
            arrivals,
            seed,
            player: PlayerSettings::default(),
        }
    }

    #[test]
    fn ramps_reach_their_targets_and_shares() {
        let schedule = Schedule::draw(&plan(&[(10, 80), (10, 80), (10, 20)], 1, Arrivals::Even));
        let total = |at: u64| schedule.target(0, Duration::from_secs(at)) + schedule.target(1, Duration::from_secs(at));
        assert_eq!((total(5), total(10), total(19), total(25)), (40, 80, 80, 50));
        assert_eq!(
            (
                schedule.target(0, Duration::from_secs(15)),
                schedule.target(1, Duration::from_secs(15))
            ),
            (60, 20)
        );
        assert_eq!(schedule.viewings.len(), 80);
        assert!(
            schedule
                .viewings
                .iter()
                .all(|viewing| viewing.leave <= schedule.end && viewing.arrive < viewing.leave)
        );
    }

    #[test]
    fn same_seed_same_audience() {
        let draw = |seed| Schedule::draw(&plan(&[(5, 40), (5, 10)], seed, Arrivals::Poisson));
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    proptest! {
        #[test]
        fn target_is_met_at_every_phase_end(phases in prop::collection::vec((1u64..30, 0u32..200), 1..6), seed: u64, poisson: bool) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Even };
            let schedule = Schedule::draw(&plan(&phases, seed, arrivals));
            let mut at = Duration::ZERO;
            for (seconds, viewers) in &phases[..phases.len() - 1] {
                at += Duration::from_secs(*seconds);
                prop_assert_eq!(schedule.target(0, at) + schedule.target(1, at), *viewers);
            }
        }
    }
}
