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
    /// When its first viewers come.
    pub opens: Timestamp,
    /// How long they take to arrive, evenly, from then on.
    pub ramp: SignedDuration,
    /// When it is gone.
    pub closes: Timestamp,
    /// How long ahead of a viewer the replica for him has to be asked for: [`Warmup::lead`].
    pub lead: SignedDuration,
    /// How large it is.
    pub viewers: u64,
}

impl Announced {
    /// Viewers who have come by `now`; none once it is over.
    pub fn arrived(&self, now: Timestamp) -> u64 {
        if now < self.opens || self.closes <= now {
            return 0;
        }
        let (since, ramp) = (now.duration_since(self.opens).as_nanos(), self.ramp.as_nanos());
        if since >= ramp {
            return self.viewers;
        }
        // Both are positive, and the quotient is below the number of viewers.
        let part = u128::from(self.viewers).saturating_mul(since.unsigned_abs()) / ramp.unsigned_abs();
        u64::try_from(part).unwrap_or(self.viewers)
    }

    /// Viewers for whom replicas have to be asked for by `now`: those who come within the lead, and those who are there.
    pub fn warming(&self, now: Timestamp) -> u64 {
        if self.closes <= now {
            return 0;
        }
        let ahead = now.checked_add(self.lead).unwrap_or(Timestamp::MAX);
        // Whoever comes within the lead comes, even if the doors close before that.
        let whole = Self {
            closes: Timestamp::MAX,
            ..self.clone()
        };
        whole.arrived(ahead)
    }
}

/// The audience to be ready for at `now`: what is measured, plus who of the announced is still to come and has to be warmed
/// for. Who has come is part of the measurement too: the larger of the two counts, not their sum.
pub fn audience_to_serve(measured: u64, announced: &[Announced], now: Timestamp) -> u64 {
    let sum =
        |count: &dyn Fn(&Announced) -> u64| announced.iter().fold(0_u64, |sum, one| sum.saturating_add(count(one)));
    let arrived = sum(&|one| one.arrived(now));
    let coming = sum(&|one| one.warming(now).saturating_sub(one.arrived(now)));
    measured.max(arrived).saturating_add(coming)
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

    fn premiere(ramp: SignedDuration) -> Announced {
        Announced {
            opens: at("20:00:00"),
            ramp,
            closes: at("22:00:00"),
            lead: SignedDuration::from_mins(10),
            viewers: 1000,
        }
    }

    #[test]
    fn an_audience_counts_from_its_lead_to_its_end_and_never_twice() {
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
                audience_to_serve(measured, &[premiere(SignedDuration::ZERO)], at(time)),
                expected,
                "{time}"
            );
        }
    }

    #[test]
    fn who_arrives_on_a_ramp_is_warmed_for_one_by_one() {
        let premiere = [premiere(SignedDuration::from_mins(20))];
        for (time, measured, arrived, warming, expected) in [
            ("19:49:59", 100, 0, 0, 100),
            ("19:55:00", 100, 0, 250, 350),
            ("20:00:00", 100, 0, 500, 600),
            // A quarter has come on top of the hundred; half is still to be warmed for.
            ("20:05:00", 350, 250, 750, 850),
            ("20:20:00", 1100, 1000, 1000, 1100),
            ("22:00:00", 100, 0, 0, 100),
        ] {
            let now = at(time);
            assert_eq!(
                (premiere[0].arrived(now), premiere[0].warming(now)),
                (arrived, warming),
                "{time}"
            );
            assert_eq!(audience_to_serve(measured, &premiere, now), expected, "{time}");
        }
    }

    #[test]
    fn several_audiences_add_up() {
        let twice = [premiere(SignedDuration::ZERO), premiere(SignedDuration::ZERO)];
        assert_eq!(audience_to_serve(100, &twice, at("19:55:00")), 2100);
        assert_eq!(audience_to_serve(100, &twice, at("20:00:00")), 2000);
    }

    #[test]
    fn extreme_instants_do_not_overflow() {
        let warmup = Warmup {
            margin: SignedDuration::MAX,
            ..WARMUP
        };
        assert_eq!(warmup.plan(Timestamp::MIN, true).start, Timestamp::MIN);
        assert_eq!(warmup.lead(true), SignedDuration::MAX);
        let endless = Announced {
            opens: Timestamp::MIN,
            ramp: SignedDuration::MAX,
            closes: Timestamp::MAX,
            lead: SignedDuration::MAX,
            viewers: u64::MAX,
        };
        assert!(audience_to_serve(u64::MAX, &[endless.clone(), endless], at("20:00:00")) == u64::MAX);
    }
}
