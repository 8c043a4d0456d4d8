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

/// A region's part of the audience, rounded up so that the parts never sum to less than the whole.
fn share(viewers: u64, weight: u32, total: u64, regions: u64) -> u64 {
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
