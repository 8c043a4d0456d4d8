//! The floor under the autoscaler, pure: how many edges each region must have whatever its CPU says.
//!
//! A reactive autoscaler learns of an audience from the load it causes, minutes late. The operator knows the audience
//! itself, what premieres announce, and what must be carried when regions are lost; the floor is the largest of these needs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use showrunner_crds::platform::Role;

use crate::validate::{Region, ValidatedPlatform, names::RegionName, units::Replicas};

/// Which need is the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// `minReplicas` of the spec.
    Spec,
    /// The measured audience and its headroom.
    Audience,
    /// An announced audience.
    Premiere,
    /// What is left when `regionsToLose` regions are gone.
    Evacuation,
}

impl Reason {
    /// As status writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Audience => "audience",
            Self::Premiere => "premiere",
            Self::Evacuation => "evacuation",
        }
    }
}

/// The floor of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Replicas, within the limits of the spec.
    pub replicas: Replicas,
    /// What was needed before the limit of the spec; above `replicas` where the limit cuts it.
    pub needed: Replicas,
    /// Why.
    pub reason: Reason,
}

/// What the floor is computed from.
#[derive(Clone, Debug)]
pub struct Demand<'a> {
    /// Measured concurrent viewers by region.
    pub audience: &'a BTreeMap<RegionName, f64>,
    /// Viewers that premieres announce for about now, over all regions.
    pub announced: f64,
    /// Regions whose edges do not serve at the moment: they count as lost already.
    pub unavailable: &'a BTreeSet<RegionName>,
}

/// The floor of every region with edges.
#[must_use]
pub fn floors(platform: &ValidatedPlatform, demand: &Demand<'_>) -> BTreeMap<RegionName, Floor> {
    let regions: Vec<&Region> = platform.regions_with(Role::Edge).collect();
    let scaling = &platform.edge.autoscaling;
    let headroom = 1.0 + f64::from(scaling.headroom_percent) / 100.0;
    let measured: Vec<f64> = regions
        .iter()
        .map(|region| demand.audience.get(&region.name).copied().unwrap_or(0.0).max(0.0))
        .collect();
    let everywhere: Vec<usize> = (0..regions.len()).collect();
    let announced: Vec<f64> = everywhere
        .iter()
        .map(|&at| demand.announced.max(0.0) * share(&regions, &everywhere, at))
        .collect();
    let evacuation: Vec<f64> = evacuated(platform, &regions, &measured, demand.unavailable)
        .into_iter()
        .zip(evacuated(platform, &regions, &announced, demand.unavailable))
        .map(|(measured, announced)| measured.max(announced))
        .collect();

    everywhere
        .into_iter()
        .map(|at| {
            let needs = [
                (scaling.min.0, Reason::Spec),
                (replicas(platform, measured[at] * headroom), Reason::Audience),
                (replicas(platform, announced[at]), Reason::Premiere),
                (replicas(platform, evacuation[at]), Reason::Evacuation),
            ];
            // The first of equal needs, so that the plainest reason is given.
            let (needed, reason) = needs
                .into_iter()
                .fold(needs[0], |best, need| if need.0 > best.0 { need } else { best });
            let floor = if scaling.enabled {
                Floor {
                    replicas: Replicas(needed.min(scaling.max.0)),
                    needed: Replicas(needed),
                    reason,
                }
            } else {
                Floor {
                    replicas: scaling.min,
                    needed: Replicas(needed),
                    reason: Reason::Spec,
                }
            };
            (regions[at].name.clone(), floor)
        })
        .collect()
}

/// Edges that a number of viewers needs.
fn replicas(platform: &ValidatedPlatform, viewers: f64) -> u32 {
    // A whisker of tolerance: sums of shares come out a rounding error above the whole.
    let exact = viewers / f64::from(platform.edge.viewers_per_replica.0.max(1));
    (exact - 1e-9).ceil().clamp(0.0, f64::from(i32::MAX)) as u32
}

/// Share that a region takes among those that are left: by weight, or equally when nobody left has one.
fn share(regions: &[&Region], left: &[usize], at: usize) -> f64 {
    let total: u32 = left.iter().map(|&index| regions[index].weight).sum();
    if total == 0 {
        1.0 / left.len().max(1) as f64
    } else {
        f64::from(regions[at].weight) / f64::from(total)
    }
}

/// Viewers each region has when the worst `regionsToLose` others are gone and their viewers have moved by weight.
fn evacuated(
    platform: &ValidatedPlatform,
    regions: &[&Region],
    viewers: &[f64],
    unavailable: &BTreeSet<RegionName>,
) -> Vec<f64> {
    let standing: Vec<usize> = (0..regions.len())
        .filter(|&at| !unavailable.contains(&regions[at].name))
        .collect();
    let gone = regions.len() - standing.len();
    let budget = (platform.resilience.regions_to_lose as usize)
        .saturating_sub(gone)
        .min(standing.len().saturating_sub(1));
    let mut worst = viewers.to_vec();
    for lost in subsets(&standing, budget) {
        let left: Vec<usize> = standing.iter().copied().filter(|at| !lost.contains(at)).collect();
        let moved: f64 = (0..regions.len())
            .filter(|at| !left.contains(at))
            .map(|at| viewers[at])
            .sum();
        for &at in &left {
            worst[at] = worst[at].max(viewers[at] + moved * share(regions, &left, at));
        }
    }
    worst
}

/// Every way to take `size` of the items. With at most 16 regions there are never more than 12,870.
pub(crate) fn subsets(items: &[usize], size: usize) -> Vec<Vec<usize>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (position, &item) in items.iter().enumerate() {
        for mut rest in subsets(&items[position + 1..], size - 1) {
            rest.push(item);
            all.push(rest);
        }
    }
    all
}

/// Holds a floor up: it rises at once and falls only when no higher one was asked for within the window.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Oldest first, each higher than all that follow: at most one entry per size.
    entries: VecDeque<(Timestamp, Floor)>,
}

impl Window {
    /// Records what is asked for now and gives the highest of the window.
    pub fn record(&mut self, now: Timestamp, floor: Floor, window: std::time::Duration) -> Floor {
        while self.entries.back().is_some_and(|(_, held)| held.needed <= floor.needed) {
            self.entries.pop_back();
        }
        self.entries.push_back((now, floor));
        while self.entries.len() > 1
            && self
                .entries
                .front()
                .is_some_and(|(at, _)| now.duration_since(*at).unsigned_abs() >= window)
        {
            self.entries.pop_front();
        }
        self.entries.front().map_or(floor, |(_, held)| *held)
    }

    /// Whether anything was recorded yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::fixtures;

    fn region(name: &str) -> RegionName {
        RegionName::new(name).unwrap()
    }

    fn audience(viewers: [f64; 3]) -> BTreeMap<RegionName, f64> {
        ["north", "south", "west"]
            .into_iter()
            .map(region)
            .zip(viewers)
            .collect()
    }

    fn floors_of(platform: &ValidatedPlatform, viewers: [f64; 3], announced: f64) -> [(u32, Reason); 3] {
        let audience = audience(viewers);
        let floors = floors(
            platform,
            &Demand {
                audience: &audience,
                announced,
                unavailable: &BTreeSet::new(),
            },
        );
        ["north", "south", "west"].map(|name| {
            let floor = floors[&region(name)];
            (floor.replicas.0, floor.reason)
        })
    }

    /// 50 viewers a replica, 25 % headroom, weights 100:50:50, one region may be lost, 1 to 20 replicas.
    #[test]
    fn the_largest_need_wins_and_says_why() {
        use Reason::{Audience, Evacuation, Premiere, Spec};
        let platform = fixtures::cinema();
        let mut brave = fixtures::cinema();
        brave.resilience.regions_to_lose = 0;
        for (platform, viewers, announced, expected) in [
            (&platform, [0.0, 0.0, 0.0], 0.0, [(1, Spec), (1, Spec), (1, Spec)]),
            // 100·1.25/50 = 2.5; nothing else watches.
            (&brave, [100.0, 0.0, 0.0], 0.0, [(3, Audience), (1, Spec), (1, Spec)]),
            // North's 100 move to two regions of equal weight: 50 + 50 each.
            (
                &platform,
                [100.0, 50.0, 50.0],
                0.0,
                [(3, Audience), (2, Audience), (2, Audience)],
            ),
            (
                &platform,
                [200.0, 50.0, 50.0],
                0.0,
                [(5, Audience), (3, Evacuation), (3, Evacuation)],
            ),
            // 400 announced: 200, 100, 100; without north 200 each, without south 266.7 in the north.
            (
                &brave,
                [0.0, 0.0, 0.0],
                400.0,
                [(4, Premiere), (2, Premiere), (2, Premiere)],
            ),
            (
                &platform,
                [0.0, 0.0, 0.0],
                400.0,
                [(6, Evacuation), (4, Evacuation), (4, Evacuation)],
            ),
            // More than the spec allows is cut.
            (&brave, [1e6, 0.0, 0.0], 0.0, [(20, Audience), (1, Spec), (1, Spec)]),
        ] {
            assert_eq!(
                floors_of(platform, viewers, announced),
                expected,
                "{viewers:?} {announced}"
            );
        }
    }

    #[test]
    fn a_region_that_is_gone_is_not_lost_twice() {
        let platform = fixtures::cinema();
        let audience = audience([0.0, 100.0, 100.0]);
        let floor = |gone: &[&str]| {
            let unavailable = gone.iter().map(|name| region(name)).collect();
            floors(
                &platform,
                &Demand {
                    audience: &audience,
                    announced: 0.0,
                    unavailable: &unavailable,
                },
            )[&region("west")]
        };
        // 133 viewers if south goes too; with north gone already, that is one region too many.
        assert_eq!((floor(&[]).replicas.0, floor(&["north"]).replicas.0), (3, 3));
        assert_eq!(floor(&["north"]).reason, Reason::Audience);
        let lonely = self::audience([0.0, 300.0, 0.0]);
        let west = |unavailable: &BTreeSet<RegionName>| {
            floors(
                &platform,
                &Demand {
                    audience: &lonely,
                    announced: 0.0,
                    unavailable,
                },
            )[&region("west")]
                .replicas
                .0
        };
        assert_eq!(
            (west(&BTreeSet::new()), west(&BTreeSet::from([region("north")]))),
            (2, 1)
        );
    }

    #[test]
    fn without_autoscaling_the_floor_is_the_spec() {
        let mut platform = fixtures::cinema();
        platform.edge.autoscaling.enabled = false;
        assert_eq!(floors_of(&platform, [500.0, 0.0, 0.0], 900.0), [(1, Reason::Spec); 3]);
    }

    #[test]
    fn survivors_without_weight_share_equally() {
        let mut platform = fixtures::cinema();
        for region in &mut platform.regions[1..] {
            region.weight = 0;
        }
        let [_, south, west] = floors_of(&platform, [400.0, 0.0, 0.0], 0.0);
        assert_eq!((south, west), ((4, Reason::Evacuation), (4, Reason::Evacuation)));
    }

    #[test]
    fn a_floor_rises_at_once_and_falls_after_the_window() {
        let at = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).unwrap();
        let floor = |n| Floor {
            replicas: Replicas(n),
            needed: Replicas(n),
            reason: Reason::Audience,
        };
        let mut window = Window::default();
        let steps = [
            (0, 2, 2),
            (10, 6, 6),
            (20, 3, 6),
            (50, 1, 6),
            (69, 1, 6),
            (70, 1, 3),
            (80, 1, 1),
            (90, 4, 4),
        ];
        for (second, asked, expected) in steps {
            let held = window.record(at(second), floor(asked), Duration::from_mins(1));
            assert_eq!(held.replicas.0, expected, "at {second}");
        }
    }

    #[test]
    fn a_window_stays_small() {
        let mut window = Window::default();
        for second in 0..10_000 {
            let n = 20 - (second % 20) as u32;
            let floor = Floor {
                replicas: Replicas(n),
                needed: Replicas(n),
                reason: Reason::Audience,
            };
            window.record(
                Timestamp::from_second(second).unwrap(),
                floor,
                Duration::from_secs(100_000),
            );
        }
        assert!(window.entries.len() <= 20, "{}", window.entries.len());
    }

    proptest! {
        #[test]
        fn more_audience_never_lowers_a_floor(
            viewers in prop::array::uniform3(0.0..5000.0_f64),
            more in prop::array::uniform3(0.0..5000.0_f64),
            announced in 0.0..5000.0_f64,
            lose in 0_u32..4,
        ) {
            let mut platform = fixtures::cinema();
            platform.resilience.regions_to_lose = lose;
            let fewer = floors_of(&platform, viewers, announced);
            let grown = [viewers[0] + more[0], viewers[1] + more[1], viewers[2] + more[2]];
            let after = floors_of(&platform, grown, announced);
            for (before, after) in fewer.iter().zip(after) {
                prop_assert!(after.0 >= before.0);
            }
        }

        #[test]
        fn floors_stay_within_the_spec_and_carry_the_audience(
            viewers in prop::array::uniform3(0.0..300.0_f64),
            lost in 0_usize..3,
        ) {
            let platform = fixtures::cinema();
            let floors = floors_of(&platform, viewers, 0.0);
            let capacity: u32 = (0..3).filter(|&at| at != lost).map(|at| floors[at].0 * 50).sum();
            prop_assert!(f64::from(capacity) + 1e-6 >= viewers.iter().sum::<f64>(), "{floors:?} for {viewers:?}");
            for (replicas, _) in floors {
                prop_assert!((1..=20).contains(&replicas));
            }
        }
    }
}
