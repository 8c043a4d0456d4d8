//! The audience ladder: how many replicas a concurrent audience needs, with headroom, and with regions lost.
//!
//! Unlike a utilisation metric this needs no overloaded pod to speak up: the audience is counted at the steering
//! servers, before it has become load.

use serde::{Deserialize, Serialize};

/// Why a ladder gives no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AudienceError {
    /// A replica that serves nobody.
    #[error("viewersPerReplica must be at least 1")]
    NoCapacity,
    /// Every region is to be lost.
    #[error("regionsToLose is {lose}, but there are only {regions} regions: at least one must remain")]
    NoSurvivor {
        /// Regions to lose.
        lose: usize,
        /// Regions there are.
        regions: usize,
    },
}

/// What one replica carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Concurrent viewers one replica serves when fully used.
    pub viewers_per_replica: u32,
    /// Spare capacity, in percent of the audience.
    pub headroom_percent: u32,
}

impl Capacity {
    /// The replicas for `viewers`; see [`replicas_for_audience`].
    pub fn replicas(self, viewers: u64) -> Result<u32, AudienceError> {
        replicas_for_audience(viewers, self.viewers_per_replica, self.headroom_percent)
    }
}

/// The least number of replicas that serves `viewers` and `headroom_percent` more: `⌈viewers × (100 + headroom) / (100 ×
/// viewers per replica)⌉`. No audience needs no replica; saturates at the greatest 32-bit number.
pub fn replicas_for_audience(
    viewers: u64,
    viewers_per_replica: u32,
    headroom_percent: u32,
) -> Result<u32, AudienceError> {
    if viewers_per_replica == 0 {
        return Err(AudienceError::NoCapacity);
    }
    let with_headroom = u128::from(viewers) * (100 + u128::from(headroom_percent));
    let replicas = with_headroom.div_ceil(100 * u128::from(viewers_per_replica));
    Ok(u32::try_from(replicas).unwrap_or(u32::MAX))
}

/// A region and its share of the audience.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Name.
    pub name: String,
    /// Share of the audience, relative to the other regions. A region of weight 0 is a standby: it gets an audience only
    /// when every region with a weight is gone, and shares it evenly with the other standbys.
    pub weight: u32,
}

/// What a region must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Floor {
    /// Region name.
    pub region: String,
    /// Its audience with all regions up.
    pub viewers: u64,
    /// Its audience when the regions whose loss is worst for it are gone.
    pub viewers_after_loss: u64,
    /// The replicas that audience needs.
    pub replicas: u32,
}

/// The floor of every region, so that any `regions_to_lose` of them may go at once and the rest still serves `viewers`
/// with headroom. The audience of the lost is shared among the others in proportion to their weights.
///
/// What is worst for a region is the loss of the heaviest others, so each floor is found without trying every subset.
pub fn regional_floors(
    viewers: u64,
    regions: &[Region],
    regions_to_lose: usize,
    capacity: Capacity,
) -> Result<Vec<Floor>, AudienceError> {
    if regions_to_lose >= regions.len() {
        return Err(AudienceError::NoSurvivor {
            lose: regions_to_lose,
            regions: regions.len(),
        });
    }
    let total: u64 = regions.iter().map(|region| u64::from(region.weight)).sum();
    regions
        .iter()
        .enumerate()
        .map(|(at, region)| {
            let mut others: Vec<u64> = regions
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != at)
                .map(|(_, other)| u64::from(other.weight))
                .collect();
            others.sort_unstable_by(|left, right| right.cmp(left));
            let lost: u64 = others.iter().take(regions_to_lose).sum();
            let viewers_after_loss = share(
                viewers,
                region.weight,
                total - lost,
                (regions.len() - regions_to_lose) as u64,
            );
            Ok(Floor {
                region: region.name.clone(),
                viewers: share(viewers, region.weight, total, regions.len() as u64),
                viewers_after_loss,
                replicas: capacity.replicas(viewers_after_loss)?,
            })
        })
        .collect()
}

/// A region with the audience that it has, which need not be the one its weight promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Share of the viewers who have to go elsewhere, relative to the other regions.
    pub weight: u32,
    /// Its viewers.
    pub viewers: u64,
    /// Whether it serves. A region that does not counts as lost already.
    pub up: bool,
}

/// The most viewers that each region may get when as many others are lost as `regions_to_lose` allows, those that are
/// down counted, and the viewers of the lost move by weight. One region always remains; what is down keeps its own.
///
/// Where the audience is not spread by weight, no order of the regions tells which loss is the worst: every one is tried,
/// 12,870 with 16 regions.
pub fn worst_loads(regions: &[Load], regions_to_lose: usize) -> Vec<u64> {
    let up: Vec<usize> = (0..regions.len()).filter(|&at| regions[at].up).collect();
    let down = regions.len() - up.len();
    let lose = regions_to_lose.saturating_sub(down).min(up.len().saturating_sub(1));
    let mut worst: Vec<u64> = regions.iter().map(|region| region.viewers).collect();
    for lost in subsets(&up, lose) {
        let left: Vec<usize> = up.iter().copied().filter(|at| !lost.contains(at)).collect();
        let moved = (0..regions.len())
            .filter(|at| !left.contains(at))
            .fold(0_u64, |sum, at| sum.saturating_add(regions[at].viewers));
        let total = left.iter().map(|&at| u64::from(regions[at].weight)).sum();
        for &at in &left {
            let taken = share(moved, regions[at].weight, total, left.len() as u64);
            worst[at] = worst[at].max(regions[at].viewers.saturating_add(taken));
        }
    }
    worst
}

/// Every way to take `size` of the items.
pub fn subsets(items: &[usize], size: usize) -> Vec<Vec<usize>> {
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

/// A region's part of the audience, by its `weight` of the `total` of all `regions`, or an equal part where nobody has a
/// weight; rounded up so that the parts never sum to less than the whole.
pub fn share(viewers: u64, weight: u32, total: u64, regions: u64) -> u64 {
    let (part, whole) = if total == 0 {
        (1, regions)
    } else {
        (u64::from(weight), total)
    };
    let share = (u128::from(viewers) * u128::from(part)).div_ceil(u128::from(whole.max(1)));
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const EDGE: Capacity = Capacity {
        viewers_per_replica: 1000,
        headroom_percent: 20,
    };

    fn regions(weights: &[u32]) -> Vec<Region> {
        weights
            .iter()
            .enumerate()
            .map(|(at, weight)| Region {
                name: format!("r{at}"),
                weight: *weight,
            })
            .collect()
    }

    #[test]
    fn replicas_are_rounded_up_after_headroom() {
        for (viewers, per_replica, headroom, expected) in [
            (0, 1000, 20, 0),
            (1, 1000, 20, 1),
            (1000, 1000, 0, 1),
            (1001, 1000, 0, 2),
            (10_000, 1000, 20, 12),
            (10_001, 1000, 20, 13),
            (500, 1000, 100, 1),
            (501, 1000, 100, 2),
            (u64::MAX, 1, 0, u32::MAX),
        ] {
            assert_eq!(
                replicas_for_audience(viewers, per_replica, headroom),
                Ok(expected),
                "{viewers} {per_replica}"
            );
        }
        assert_eq!(replicas_for_audience(1, 0, 0), Err(AudienceError::NoCapacity));
    }

    #[test]
    fn a_lost_region_is_shared_by_weight() {
        // 2:1:1; for the first region the loss of either other leaves it 2/3, for the others the loss of the first leaves 1/2.
        let floors = regional_floors(12_000, &regions(&[2, 1, 1]), 1, EDGE).unwrap();
        let seen: Vec<_> = floors
            .iter()
            .map(|floor| (floor.viewers, floor.viewers_after_loss, floor.replicas))
            .collect();
        assert_eq!(seen, [(6000, 8000, 10), (3000, 6000, 8), (3000, 6000, 8)]);
    }

    #[test]
    fn a_standby_matters_only_when_it_is_left_alone() {
        let floors = regional_floors(10_000, &regions(&[1, 0]), 1, EDGE).unwrap();
        assert_eq!(floors.iter().map(|floor| floor.replicas).collect::<Vec<_>>(), [12, 12]);
        let floors = regional_floors(10_000, &regions(&[1, 1, 0]), 1, EDGE).unwrap();
        assert_eq!(
            floors.iter().map(|floor| floor.replicas).collect::<Vec<_>>(),
            [12, 12, 0]
        );
    }

    #[test]
    fn not_every_region_can_be_lost() {
        let error = regional_floors(1, &regions(&[1, 1]), 2, EDGE).unwrap_err();
        assert_eq!(error, AudienceError::NoSurvivor { lose: 2, regions: 2 });
    }

    fn loads(loads: &[(u32, u64, bool)]) -> Vec<Load> {
        let load = |&(weight, viewers, up)| Load { weight, viewers, up };
        loads.iter().map(load).collect()
    }

    #[test]
    fn the_viewers_of_the_lost_move_by_weight() {
        let three = loads(&[(2, 0, true), (1, 300, true), (1, 100, true)]);
        assert_eq!(worst_loads(&three, 0), [0, 300, 100]);
        // Without the second, the first takes 2/3 of 300; without the first nobody moves, without the third 1/3 of 100.
        assert_eq!(worst_loads(&three, 1), [200, 334, 200]);
        assert_eq!(worst_loads(&three, 2), [400, 400, 400]);
        assert_eq!(worst_loads(&three, 9), [400, 400, 400], "one always remains");
        let standby = loads(&[(1, 100, true), (0, 0, true), (0, 0, true)]);
        assert_eq!(worst_loads(&standby, 1), [100, 50, 50]);
        assert_eq!(worst_loads(&[], 1), [0_u64; 0]);
    }

    #[test]
    fn a_region_that_is_down_is_lost_already() {
        let down = loads(&[(1, 90, false), (1, 300, true), (1, 0, true)]);
        assert_eq!(worst_loads(&down, 1), [90, 345, 45]);
        assert_eq!(worst_loads(&down, 2), [90, 390, 390]);
        let all = loads(&[(1, 90, false), (1, 10, false)]);
        assert_eq!(worst_loads(&all, 1), [90, 10]);
    }

    /// Two ways to the same figures: an audience that is spread by weight.
    #[test]
    fn worst_loads_agree_with_the_ladder() {
        let weights = [5, 3, 2, 1];
        let spread: Vec<Load> = weights
            .iter()
            .map(|&weight| Load {
                weight,
                viewers: 110_000 / 11 * u64::from(weight),
                up: true,
            })
            .collect();
        for lose in 0..4 {
            let ladder = regional_floors(110_000, &regions(&weights), lose, EDGE).unwrap();
            for (floor, worst) in ladder.iter().zip(worst_loads(&spread, lose)) {
                assert!(
                    floor.viewers_after_loss.abs_diff(worst) <= 1,
                    "{floor:?} {worst} lose {lose}"
                );
            }
        }
    }

    /// The floors hold against every subset of that size, tried one by one.
    #[test]
    fn floors_cover_every_subset_of_losses() {
        let regions = regions(&[5, 3, 2, 1]);
        for lose in 0..regions.len() {
            let floors = regional_floors(100_000, &regions, lose, EDGE).unwrap();
            for lost in (0_u32..16).filter(|lost| lost.count_ones() as usize == lose) {
                let up = |at: usize| lost & (1 << at) == 0;
                let weight: u64 = (0..4)
                    .filter(|at| up(*at))
                    .map(|at| u64::from(regions[at].weight))
                    .sum();
                for at in (0..4).filter(|at| up(*at)) {
                    let viewers = (100_000 * u64::from(regions[at].weight)).div_ceil(weight);
                    assert!(
                        floors[at].replicas >= EDGE.replicas(viewers).unwrap(),
                        "lose {lost:04b}, region {at}"
                    );
                }
            }
        }
    }
}
