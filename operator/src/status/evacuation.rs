//! Whether the platform may lose what it promises to survive, pure.

use std::collections::BTreeSet;

use showrunner_autoscaling::audience::subsets;
use showrunner_crds::platform::Role;

use crate::{
    topology::Topology,
    validate::{Region, ValidatedPlatform, names::RegionName},
};

/// The answer, with what to show for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Evacuation {
    pub safe: bool,
    pub reason: &'static str,
    pub message: String,
}

/// Looks at every way to lose `regionsToLose` of the regions that stand, besides those that do not.
pub(super) fn judge(
    platform: &ValidatedPlatform,
    topology: &Topology,
    unavailable: &BTreeSet<RegionName>,
    audience: u32,
) -> Evacuation {
    let scaling = &platform.edge.autoscaling;
    let most = if scaling.enabled { scaling.max } else { scaling.min };
    let per_region = u64::from(most.0) * u64::from(platform.edge.viewers_per_replica.0);
    let peak = u64::from(platform.resilience.peak.0.max(audience));
    let standing: Vec<&Region> = platform
        .regions
        .iter()
        .filter(|region| !unavailable.contains(&region.name))
        .collect();
    let indices: Vec<usize> = (0..standing.len()).collect();
    let lose = (platform.resilience.regions_to_lose as usize).min(standing.len());

    let mut least = u64::MAX;
    for set in subsets(&indices, lose) {
        let mut lost = unavailable.clone();
        lost.extend(set.iter().map(|&at| standing[at].name.clone()));
        let names = lost.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        if let Some(outage) = topology.outages_without_regions(&lost).first() {
            return Evacuation {
                safe: false,
                reason: "LastHealthyPath",
                message: format!("without {names}: {outage}"),
            };
        }
        let edges = platform
            .regions_with(Role::Edge)
            .filter(|region| !lost.contains(&region.name))
            .count();
        let capacity = per_region * edges as u64;
        if capacity < peak {
            return Evacuation {
                safe: false,
                reason: "InsufficientCapacity",
                message: format!(
                    "without {names}, {edges} regions carry {capacity} viewers at most, and the peak is {peak}: raise \
                     edge.autoscaling.maxReplicas or add a region"
                ),
            };
        }
        least = least.min(capacity);
    }
    Evacuation {
        safe: true,
        reason: "RemainingRegionsSuffice",
        message: format!("with any {lose} regions lost, {least} viewers can be carried; the peak is {peak}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{fixtures, validate::units::Viewers};

    fn judge_with(change: impl FnOnce(&mut ValidatedPlatform), gone: &[&str], audience: u32) -> Evacuation {
        let mut platform = fixtures::cinema();
        change(&mut platform);
        let gone = gone.iter().map(|name| RegionName::new(name).unwrap()).collect();
        judge(&platform, &Topology::of(&platform), &gone, audience)
    }

    /// Three regions of 20 replicas for 50 viewers each: 1,000 a region, 2,000 with one lost.
    #[test]
    fn the_remaining_regions_carry_the_peak_or_they_do_not() {
        for (peak, audience, safe) in [(0, 0, true), (2000, 0, true), (2001, 0, false), (10, 2001, false)] {
            let judged = judge_with(|platform| platform.resilience.peak = Viewers(peak), &[], audience);
            assert_eq!(judged.safe, safe, "{judged:?}");
        }
    }

    #[test]
    fn after_a_loss_the_next_one_counts() {
        // South is the last region that encodes.
        let judged = judge_with(|_| {}, &["north"], 0);
        assert_eq!((judged.safe, judged.reason), (false, "LastHealthyPath"));
        let content = judge_with(|platform| platform.resilience.regions_to_lose = 0, &["north"], 0);
        assert!(content.safe, "{content:?}");
    }

    #[test]
    fn without_autoscaling_the_fixed_replicas_are_all_there_is() {
        let judged = judge_with(|platform| platform.edge.autoscaling.enabled = false, &[], 101);
        assert_eq!((judged.safe, judged.reason), (false, "InsufficientCapacity"));
    }
}
