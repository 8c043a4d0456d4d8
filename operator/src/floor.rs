//! The floor under the autoscaler, pure: how many edges each region must have whatever its CPU says.
//!
//! A reactive autoscaler learns of an audience from the load it causes, minutes late. The operator knows the audience
//! itself, what premieres announce, and what must be carried when regions are lost; the floor is the largest of these needs.
//! The arithmetic of audiences is `showrunner-autoscaling`'s.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use showrunner_autoscaling::{
    audience::{Capacity, Load, share, worst_loads},
    prewarm::{Announced, audience_to_serve},
};
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
    /// Audiences that premieres announce, over all regions.
    pub announced: &'a [Announced],
    /// Regions whose edges do not serve at the moment: they count as lost already.
    pub unavailable: &'a BTreeSet<RegionName>,
    /// When that was so.
    pub now: Timestamp,
}

/// The floor of every region with edges. The measured audience counts with its headroom; announced figures, and what moves
/// when regions are lost, count as they are.
#[must_use]
pub fn floors(platform: &ValidatedPlatform, demand: &Demand<'_>) -> BTreeMap<RegionName, Floor> {
    let scaling = &platform.edge.autoscaling;
    let capacity = Capacity {
        // No region carries an audience with edges that serve nobody; validation refuses them.
        viewers_per_replica: platform.edge.viewers_per_replica.0.max(1),
        headroom_percent: 0,
    };
    let spare = Capacity {
        headroom_percent: scaling.headroom_percent,
        ..capacity
    };
    let regions: Vec<&Region> = platform.regions_with(Role::Edge).collect();
    let weights: u64 = regions.iter().map(|region| u64::from(region.weight)).sum();
    let measured: Vec<u64> = regions
        .iter()
        .map(|region| viewers(demand.audience.get(&region.name).copied()))
        .collect();
    let loads: Vec<Load> = regions
        .iter()
        .zip(&measured)
        .map(|(region, &measured)| {
            let part = |announced: &Announced| Announced {
                viewers: share(announced.viewers, region.weight, weights, regions.len() as u64),
                ..announced.clone()
            };
            let announced: Vec<Announced> = demand.announced.iter().map(part).collect();
            Load {
                weight: region.weight,
                viewers: audience_to_serve(measured, &announced, demand.now),
                up: !demand.unavailable.contains(&region.name),
            }
        })
        .collect();
    let worst = worst_loads(&loads, platform.resilience.regions_to_lose as usize);

    (0..regions.len())
        .map(|at| {
            let needs = [
                (scaling.min.0, Reason::Spec),
                (replicas(spare, measured[at]), Reason::Audience),
                (replicas(capacity, loads[at].viewers), Reason::Premiere),
                (replicas(capacity, worst[at]), Reason::Evacuation),
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

/// Edges for a number of viewers, as many as Kubernetes can count. A capacity of at least one viewer is never refused.
fn replicas(capacity: Capacity, viewers: u64) -> u32 {
    capacity.replicas(viewers).unwrap_or(u32::MAX).min(i32::MAX as u32)
}

/// Whole viewers of a measured number. Windows and rates give fractions; a whisker above a whole is a rounding error.
fn viewers(measured: Option<f64>) -> u64 {
    (measured.unwrap_or(0.0) - 1e-6).ceil().max(0.0) as u64
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

    use jiff::SignedDuration;
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

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// A premiere that opens so many seconds from now, all at once, with a lead of a minute.
    fn premiere(viewers: u64, opens: i64) -> Announced {
        Announced {
            opens: Timestamp::from_second(opens).unwrap(),
            ramp: SignedDuration::ZERO,
            closes: Timestamp::from_second(opens + 3600).unwrap(),
            lead: SignedDuration::from_secs(60),
            viewers,
        }
    }

    fn floors_of(platform: &ValidatedPlatform, viewers: [f64; 3], announced: u64) -> [(u32, Reason); 3] {
        floors_with(platform, viewers, &[premiere(announced, 0)])
    }

    fn floors_with(platform: &ValidatedPlatform, viewers: [f64; 3], announced: &[Announced]) -> [(u32, Reason); 3] {
        let audience = audience(viewers);
        let floors = floors(
            platform,
            &Demand {
                audience: &audience,
                announced,
                unavailable: &BTreeSet::new(),
                now: NOW,
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
            (&platform, [0.0, 0.0, 0.0], 0, [(1, Spec), (1, Spec), (1, Spec)]),
            // 100·1.25/50 = 2.5; nothing else watches.
            (&brave, [100.0, 0.0, 0.0], 0, [(3, Audience), (1, Spec), (1, Spec)]),
            // North's 100 move to two regions of equal weight: 50 + 50 each.
            (
                &platform,
                [100.0, 50.0, 50.0],
                0,
                [(3, Audience), (2, Audience), (2, Audience)],
            ),
            (
                &platform,
                [200.0, 50.0, 50.0],
                0,
                [(5, Audience), (3, Evacuation), (3, Evacuation)],
            ),
            // 400 announced: 200, 100, 100; without north 200 each, without south 266.7 in the north.
            (
                &brave,
                [0.0, 0.0, 0.0],
                400,
                [(4, Premiere), (2, Premiere), (2, Premiere)],
            ),
            (
                &platform,
                [0.0, 0.0, 0.0],
                400,
                [(6, Evacuation), (4, Evacuation), (4, Evacuation)],
            ),
            // More than the spec allows is cut.
            (&brave, [1e6, 0.0, 0.0], 0, [(20, Audience), (1, Spec), (1, Spec)]),
        ] {
            assert_eq!(
                floors_of(platform, viewers, announced),
                expected,
                "{viewers:?} {announced}"
            );
        }
    }

    /// 100 watch in the north; 400 more are announced, 200 of them for the north.
    #[test]
    fn who_is_still_to_come_is_added_to_who_is_there() {
        use Reason::{Audience, Premiere, Spec};
        let mut platform = fixtures::cinema();
        platform.resilience.regions_to_lose = 0;
        for (opens, expected) in [
            (61, [(3, Audience), (1, Spec), (1, Spec)]),
            (60, [(6, Premiere), (2, Premiere), (2, Premiere)]),
            (1, [(6, Premiere), (2, Premiere), (2, Premiere)]),
            // They have come, so that they are among those measured, or late.
            (0, [(4, Premiere), (2, Premiere), (2, Premiere)]),
            (-3600, [(3, Audience), (1, Spec), (1, Spec)]),
        ] {
            let floors = floors_with(&platform, [100.0, 0.0, 0.0], &[premiere(400, opens)]);
            assert_eq!(floors, expected, "opens in {opens} s");
        }
    }

    #[test]
    fn a_fraction_of_a_viewer_is_one_and_a_rounding_error_is_none() {
        for (measured, expected) in [
            (None, 0),
            (Some(-3.0), 0),
            (Some(0.1), 1),
            (Some(100.000_000_1), 100),
            (Some(100.2), 101),
            (Some(f64::NAN), 0),
        ] {
            assert_eq!(viewers(measured), expected, "{measured:?}");
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
                    announced: &[],
                    unavailable: &unavailable,
                    now: NOW,
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
                    announced: &[],
                    unavailable,
                    now: NOW,
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
        assert_eq!(floors_of(&platform, [500.0, 0.0, 0.0], 900), [(1, Reason::Spec); 3]);
    }

    #[test]
    fn survivors_without_weight_share_equally() {
        let mut platform = fixtures::cinema();
        for region in &mut platform.regions[1..] {
            region.weight = 0;
        }
        let [_, south, west] = floors_of(&platform, [400.0, 0.0, 0.0], 0);
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
            announced in 0..5000_u64,
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
            let floors = floors_of(&platform, viewers, 0);
            let capacity: u32 = (0..3).filter(|&at| at != lost).map(|at| floors[at].0 * 50).sum();
            prop_assert!(f64::from(capacity) + 1e-6 >= viewers.iter().sum::<f64>(), "{floors:?} for {viewers:?}");
            for (replicas, _) in floors {
                prop_assert!((1..=20).contains(&replicas));
            }
        }
    }
}
