//! When to start warming for an audience that is announced.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// How long each step from "more replicas" to "serving from a warm cache" takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warmup {
    /// From a node being asked for to its being ready. Counts only when nodes are missing.
    pub node_provisioning: SignedDuration,
    /// From a pod being created on a ready node to its being ready.
    pub pod_start: SignedDuration,
    /// From a pod being ready to its cache serving as it should.
    pub cache_warmup: SignedDuration,
    /// Safety margin.
    pub margin: SignedDuration,
}

/// The steps of a warm-up, as instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmupPlan {
    /// Ask for the replicas.
    pub start: Timestamp,
    /// Nodes are ready.
    pub nodes_ready: Timestamp,
    /// Pods are ready.
    pub pods_ready: Timestamp,
    /// Caches are warm.
    pub warm: Timestamp,
    /// The audience comes; `margin` after the caches are warm.
    pub opens: Timestamp,
}

impl Warmup {
    /// The time from asking for replicas to being warm, margin included.
    pub fn lead(&self, nodes_missing: bool) -> SignedDuration {
        let nodes = if nodes_missing {
            self.node_provisioning
        } else {
            SignedDuration::ZERO
        };
        [self.pod_start, self.cache_warmup, self.margin]
            .into_iter()
            .fold(nodes, |sum, step| sum.checked_add(step).unwrap_or(SignedDuration::MAX))
    }

    /// The plan that is warm for `opens`. Instants before representable time are cut off there.
    pub fn plan(&self, opens: Timestamp, nodes_missing: bool) -> WarmupPlan {
        let before = |instant: Timestamp, step: SignedDuration| instant.checked_sub(step).unwrap_or(Timestamp::MIN);
        let warm = before(opens, self.margin);
        let pods_ready = before(warm, self.cache_warmup);
        let nodes_ready = before(pods_ready, self.pod_start);
        let nodes = if nodes_missing {
            self.node_provisioning
        } else {
            SignedDuration::ZERO
        };
        WarmupPlan {
            start: before(nodes_ready, nodes),
            nodes_ready,
            pods_ready,
            warm,
            opens,
        }
    }
}

/// An audience that is announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Announced {
    /// When it comes.
    pub opens: Timestamp,
    /// When it is gone.
    pub closes: Timestamp,
    /// How large it is.
    pub viewers: u64,
}

/// The audience to be ready for at `now`: what is measured, plus every announced audience whose warm-up has begun and
/// which is not over. An announced audience that has come is part of the measurement too, so from `opens` on the larger of
/// the two counts rather than their sum.
pub fn audience_to_serve(measured: u64, announced: &[Announced], lead: SignedDuration, now: Timestamp) -> u64 {
    let warming = |premiere: &&Announced| {
        premiere.opens.checked_sub(lead).unwrap_or(Timestamp::MIN) <= now && now < premiere.closes
    };
    let (open, coming): (Vec<&Announced>, Vec<&Announced>) = announced
        .iter()
        .filter(warming)
        .partition(|premiere| premiere.opens <= now);
    let sum = |premieres: Vec<&Announced>| premieres.iter().fold(0_u64, |sum, one| sum.saturating_add(one.viewers));
    measured.max(sum(open)).saturating_add(sum(coming))
}

/// When to ask for replicas so that they are warm at `opens`: the start of [`Warmup::plan`].
pub fn warm_from(opens: Timestamp, warmup: &Warmup, nodes_missing: bool) -> Timestamp {
    warmup.plan(opens, nodes_missing).start
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn at(time: &str) -> Timestamp {
        format!("2026-05-01T{time}Z").parse().unwrap()
    }

    const WARMUP: Warmup = Warmup {
        node_provisioning: SignedDuration::from_secs(180),
        pod_start: SignedDuration::from_secs(20),
        cache_warmup: SignedDuration::from_secs(60),
        margin: SignedDuration::from_secs(120),
    };

    #[test]
    fn the_plan_ends_a_margin_before_the_audience() {
        let plan = WARMUP.plan(at("20:00:00"), true);
        assert_eq!(plan.warm, at("19:58:00"));
        assert_eq!(plan.pods_ready, at("19:57:00"));
        assert_eq!(plan.nodes_ready, at("19:56:40"));
        assert_eq!(plan.start, at("19:53:40"));
        assert_eq!(plan.start + WARMUP.lead(true), plan.opens);
        assert_eq!(warm_from(plan.opens, &WARMUP, false), at("19:56:40"));
    }

    #[test]
    fn an_audience_counts_from_its_lead_to_its_end_and_never_twice() {
        let premiere = [Announced {
            opens: at("20:00:00"),
            closes: at("22:00:00"),
            viewers: 1000,
        }];
        let lead = SignedDuration::from_mins(10);
        for (time, measured, expected) in [
            ("19:49:59", 100, 100),
            ("19:50:00", 100, 1100),
            ("19:59:59", 100, 1100),
            ("20:00:00", 100, 1000),
            ("20:30:00", 1500, 1500),
            ("21:59:59", 100, 1000),
            ("22:00:00", 100, 100),
        ] {
            assert_eq!(
                audience_to_serve(measured, &premiere, lead, at(time)),
                expected,
                "{time}"
            );
        }
    }

    #[test]
    fn extreme_instants_do_not_overflow() {
        let warmup = Warmup {
            margin: SignedDuration::MAX,
            ..WARMUP
        };
        assert_eq!(warmup.plan(Timestamp::MIN, true).start, Timestamp::MIN);
        assert_eq!(warmup.lead(true), SignedDuration::MAX);
    }
}
