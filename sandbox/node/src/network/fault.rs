//! The fault table: a pure mapping from (sender, receiver) to what happens to bytes on that way.

use crate::key::{Peer, PodKey};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Which peers one side of a rule covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerSet {
    /// Every pod, the node and the outside world.
    Any,
    /// These pods and nothing else.
    Pods(BTreeSet<PodKey>),
}

impl PeerSet {
    /// A set of one pod.
    pub fn pod(key: PodKey) -> Self {
        Self::Pods(BTreeSet::from([key]))
    }

    /// Whether `peer` belongs to the set.
    pub fn contains(&self, peer: &Peer) -> bool {
        match (self, peer) {
            (Self::Any, _) => true,
            (Self::Pods(pods), Peer::Pod(key)) => pods.contains(key),
            (Self::Pods(_), Peer::Host | Peer::External) => false,
        }
    }
}

/// What a rule does to bytes travelling from its sender to its receiver.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Impairment {
    /// Nothing passes. TCP needs both ways, so a partition of one way stops the connection.
    pub partition: bool,
    /// Added one-way latency.
    pub delay: Duration,
    /// Uniform variation around `delay`, in both directions.
    pub jitter: Duration,
    /// Packet loss, 0 to 100.
    pub loss_percent: f64,
    /// A ceiling in bytes per second, shared by all connections of one sender.
    pub rate: Option<u64>,
}

/// One rule: bytes from `from` to `to` suffer `impairment`.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRule {
    /// Senders.
    pub from: PeerSet,
    /// Receivers.
    pub to: PeerSet,
    /// The effect.
    pub impairment: Impairment,
}

/// A rate ceiling in effect, with the identity of the bucket it shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The fault that set it.
    pub fault: String,
    /// The rule's index in that fault.
    pub rule: usize,
    /// Bytes per second.
    pub bytes_per_second: u64,
}

/// The sum of all rules that match one (sender, receiver).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective {
    /// Any matching rule partitions.
    pub partition: bool,
    /// Delays add up.
    pub delay: Duration,
    /// So do jitters.
    pub jitter: Duration,
    /// Losses are independent: what passes is the product of what each lets pass.
    pub loss_percent: f64,
    /// Every ceiling that applies.
    pub rates: Vec<RateLimit>,
}

impl Effective {
    /// Nothing impairs this way.
    pub fn is_clear(&self) -> bool {
        !self.partition
            && self.delay.is_zero()
            && self.jitter.is_zero()
            && self.loss_percent <= 0.0
            && self.rates.is_empty()
    }
}

/// All faults in force, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultSet {
    faults: BTreeMap<String, Vec<FaultRule>>,
}

impl FaultSet {
    /// Adds or replaces the rules of one fault. No rules at all removes it.
    pub fn set(&mut self, fault: impl Into<String>, rules: Vec<FaultRule>) {
        let fault = fault.into();
        if rules.is_empty() {
            self.faults.remove(&fault);
        } else {
            self.faults.insert(fault, rules);
        }
    }

    /// Removes a fault; whether it was there.
    pub fn remove(&mut self, fault: &str) -> bool {
        self.faults.remove(fault).is_some()
    }

    /// Names of the faults in force.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.faults.keys().map(String::as_str)
    }

    /// What bytes from `from` to `to` suffer.
    pub fn effective(&self, from: &Peer, to: &Peer) -> Effective {
        let mut sum = Effective::default();
        let mut passing = 1.0;
        for (fault, rules) in &self.faults {
            for (index, rule) in rules.iter().enumerate() {
                if !(rule.from.contains(from) && rule.to.contains(to)) {
                    continue;
                }
                let Impairment {
                    partition,
                    delay,
                    jitter,
                    loss_percent,
                    rate,
                } = &rule.impairment;
                sum.partition |= partition;
                sum.delay += *delay;
                sum.jitter += *jitter;
                passing *= 1.0 - loss_percent.clamp(0.0, 100.0) / 100.0;
                if let Some(bytes_per_second) = *rate {
                    sum.rates.push(RateLimit {
                        fault: fault.clone(),
                        rule: index,
                        bytes_per_second,
                    });
                }
            }
        }
        sum.loss_percent = (1.0 - passing) * 100.0;
        sum
    }

    /// Whether a TCP connection between the two is cut: one way is enough.
    pub fn severed(&self, one: &Peer, other: &Peer) -> bool {
        self.effective(one, other).partition || self.effective(other, one).partition
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn pod(name: &str) -> PodKey {
        PodKey::new("ns", name)
    }

    fn peer(name: &str) -> Peer {
        Peer::Pod(pod(name))
    }

    fn rule(from: PeerSet, to: PeerSet, impairment: Impairment) -> FaultRule {
        FaultRule { from, to, impairment }
    }

    fn partition() -> Impairment {
        Impairment {
            partition: true,
            ..Impairment::default()
        }
    }

    #[test]
    fn an_isolated_pod_is_severed_from_everyone_and_others_are_not() {
        let mut set = FaultSet::default();
        set.set(
            "isolate",
            vec![
                rule(PeerSet::pod(pod("a")), PeerSet::Any, partition()),
                rule(PeerSet::Any, PeerSet::pod(pod("a")), partition()),
            ],
        );
        for other in [peer("b"), Peer::Host, Peer::External] {
            assert!(set.severed(&peer("a"), &other));
            assert!(set.severed(&other, &peer("a")));
        }
        assert!(!set.severed(&peer("b"), &peer("c")));
        assert!(!set.severed(&Peer::External, &peer("b")));
    }

    #[test]
    fn a_one_way_partition_severs_tcp_both_ways() {
        let mut set = FaultSet::default();
        set.set(
            "one-way",
            vec![rule(PeerSet::pod(pod("a")), PeerSet::pod(pod("b")), partition())],
        );
        assert!(set.effective(&peer("a"), &peer("b")).partition);
        assert!(!set.effective(&peer("b"), &peer("a")).partition);
        assert!(set.severed(&peer("b"), &peer("a")));
        assert!(!set.severed(&peer("a"), &peer("c")));
    }

    #[test]
    fn rules_add_up_and_go_away_one_by_one() {
        let slow = Impairment {
            delay: Duration::from_millis(40),
            loss_percent: 50.0,
            ..Impairment::default()
        };
        let mut set = FaultSet::default();
        set.set("x", vec![rule(PeerSet::pod(pod("a")), PeerSet::Any, slow.clone())]);
        set.set(
            "y",
            vec![rule(
                PeerSet::Any,
                PeerSet::pod(pod("b")),
                Impairment {
                    rate: Some(1000),
                    ..slow
                },
            )],
        );
        let both = set.effective(&peer("a"), &peer("b"));
        assert_eq!(both.delay, Duration::from_millis(80));
        assert!((both.loss_percent - 75.0).abs() < 1e-9);
        assert_eq!(
            both.rates,
            vec![RateLimit {
                fault: "y".into(),
                rule: 0,
                bytes_per_second: 1000
            }]
        );
        assert!(set.remove("x"));
        assert!(!set.remove("x"));
        assert_eq!(set.effective(&peer("a"), &peer("b")).delay, Duration::from_millis(40));
        set.set("y", vec![]);
        assert!(set.effective(&peer("a"), &peer("b")).is_clear());
    }

    proptest! {
        #[test]
        fn setting_and_removing_a_fault_changes_nothing(delay in 0u64..500, loss in 0.0f64..100.0, cut: bool) {
            let mut set = FaultSet::default();
            set.set("kept", vec![rule(PeerSet::Any, PeerSet::pod(pod("b")), Impairment { loss_percent: 10.0, ..Impairment::default() })]);
            let before = set.clone();
            let extra = Impairment { partition: cut, delay: Duration::from_millis(delay), loss_percent: loss, ..Impairment::default() };
            set.set("extra", vec![rule(PeerSet::Any, PeerSet::Any, extra)]);
            prop_assert!(set.effective(&peer("a"), &peer("b")).loss_percent + 1e-9 >= loss.max(10.0));
            set.remove("extra");
            prop_assert_eq!(set, before);
        }
    }
}
