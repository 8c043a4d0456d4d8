//! A NetworkChaos as rules of the fault table: pure. What a proxy of TCP streams cannot do is refused, never ignored.

use crate::key::PodKey;
use crate::network::{FaultRule, Impairment, PeerSet};
use chaos_mesh_rs::duration;
use chaos_mesh_rs::kinds::network::{Delay, Direction, NetworkAction, NetworkChaosSpec};
use std::collections::BTreeSet;
use std::time::Duration;

/// Something this network cannot do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A feature without meaning for proxied TCP streams.
    #[error("{0} is not supported here: the network is a proxy of TCP streams")]
    Unsupported(&'static str),
    /// The action's parameters are absent.
    #[error("action {0} needs spec.{0}")]
    Missing(&'static str),
    /// A parameter that does not parse.
    #[error("spec.{field}: `{value}` is not {expected}")]
    Malformed {
        /// The field.
        field: &'static str,
        /// What was found.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// As the admission webhook of Chaos Mesh has it.
    #[error("direction {0} needs a target unless the action is partition")]
    NeedsTarget(&'static str),
}

/// What the experiment does to bytes.
pub(super) fn impairment(spec: &NetworkChaosSpec) -> Result<Impairment, RuleError> {
    let refuse = |given: bool, what| {
        if given {
            Err(RuleError::Unsupported(what))
        } else {
            Ok(())
        }
    };
    refuse(
        spec.device.is_some() || spec.target_device.is_some(),
        "a network device",
    )?;
    refuse(!spec.external_targets.is_empty(), "externalTargets")?;
    let direction = spec.direction.unwrap_or_default();
    if spec.action != NetworkAction::Partition && spec.target.is_none() {
        match direction {
            Direction::To => {}
            Direction::From => return Err(RuleError::NeedsTarget("from")),
            Direction::Both => return Err(RuleError::NeedsTarget("both")),
        }
    }
    let mut result = Impairment::default();
    match spec.action {
        NetworkAction::Partition => result.partition = true,
        NetworkAction::Delay => delay(spec.delay.as_ref().ok_or(RuleError::Missing("delay"))?, &mut result)?,
        NetworkAction::Loss => {
            let loss = spec.loss.as_ref().ok_or(RuleError::Missing("loss"))?;
            result.loss_percent = percent("loss.loss", &loss.loss)?;
            uncorrelated(loss.correlation.as_deref())?;
        }
        NetworkAction::Corrupt => {
            let corrupt = spec.corrupt.as_ref().ok_or(RuleError::Missing("corrupt"))?;
            // The receiver's kernel drops a damaged packet: to a TCP stream it is lost.
            result.loss_percent = percent("corrupt.corrupt", &corrupt.corrupt)?;
            uncorrelated(corrupt.correlation.as_deref())?;
        }
        NetworkAction::Duplicate => return Err(RuleError::Unsupported("action duplicate")),
        NetworkAction::Bandwidth => {
            let bandwidth = spec.bandwidth.as_ref().ok_or(RuleError::Missing("bandwidth"))?;
            refuse(
                bandwidth.peakrate.is_some() || bandwidth.minburst.is_some(),
                "bandwidth.peakrate",
            )?;
            result.rate = Some(rate("bandwidth.rate", &bandwidth.rate)?);
        }
        NetworkAction::Netem => {
            refuse(spec.duplicate.is_some(), "duplicate")?;
            if let Some(part) = &spec.delay {
                delay(part, &mut result)?;
            }
            let mut passing = 1.0;
            for (field, part) in [
                ("loss.loss", spec.loss.as_ref().map(|l| (&l.loss, &l.correlation))),
                (
                    "corrupt.corrupt",
                    spec.corrupt.as_ref().map(|c| (&c.corrupt, &c.correlation)),
                ),
            ] {
                if let Some((text, correlation)) = part {
                    passing *= 1.0 - percent(field, text)? / 100.0;
                    uncorrelated(correlation.as_deref())?;
                }
            }
            result.loss_percent = (1.0 - passing) * 100.0;
            result.rate = spec
                .rate
                .as_ref()
                .map(|part| rate("rate.rate", &part.rate))
                .transpose()?;
        }
    }
    Ok(result)
}

/// The rules for these selected pods and, if the spec has a target, these target pods.
pub(super) fn rules(
    spec: &NetworkChaosSpec,
    selected: &BTreeSet<PodKey>,
    targets: &BTreeSet<PodKey>,
) -> Result<Vec<FaultRule>, RuleError> {
    let impairment = impairment(spec)?;
    if selected.is_empty() || (spec.target.is_some() && targets.is_empty()) {
        return Ok(Vec::new());
    }
    let here = PeerSet::Pods(selected.clone());
    let there = if spec.target.is_some() {
        PeerSet::Pods(targets.clone())
    } else {
        PeerSet::Any
    };
    let out = FaultRule {
        from: here.clone(),
        to: there.clone(),
        impairment: impairment.clone(),
    };
    let back = FaultRule {
        from: there,
        to: here,
        impairment,
    };
    Ok(match spec.direction.unwrap_or_default() {
        Direction::To => vec![out],
        Direction::From => vec![back],
        Direction::Both => vec![out, back],
    })
}

fn delay(delay: &Delay, result: &mut Impairment) -> Result<(), RuleError> {
    if delay.reorder.is_some() {
        return Err(RuleError::Unsupported("delay.reorder"));
    }
    uncorrelated(delay.correlation.as_deref())?;
    let parse = |field, text: &str| {
        duration::parse(text).ok_or_else(|| RuleError::Malformed {
            field,
            value: text.to_owned(),
            expected: "a duration such as 90ms",
        })
    };
    result.delay = parse("delay.latency", &delay.latency)?;
    result.jitter = delay
        .jitter
        .as_deref()
        .map_or(Ok(Duration::ZERO), |text| parse("delay.jitter", text))?;
    Ok(())
}

fn percent(field: &'static str, text: &str) -> Result<f64, RuleError> {
    text.trim()
        .parse::<f64>()
        .ok()
        .filter(|value| (0.0..=100.0).contains(value))
        .ok_or_else(|| RuleError::Malformed {
            field,
            value: text.to_owned(),
            expected: "a percentage from 0 to 100",
        })
}

fn uncorrelated(correlation: Option<&str>) -> Result<(), RuleError> {
    match correlation.map(str::trim).filter(|text| !text.is_empty()) {
        None => Ok(()),
        Some(text) if percent("correlation", text)? == 0.0 => Ok(()),
        Some(_) => Err(RuleError::Unsupported("correlation")),
    }
}

/// `1mbps` in bytes per second, with Chaos Mesh's factor of 1024 between units.
fn rate(field: &'static str, text: &str) -> Result<u64, RuleError> {
    let lower = text.trim().to_ascii_lowercase();
    let units = [("tbps", 4), ("gbps", 3), ("mbps", 2), ("kbps", 1), ("bps", 0)];
    let parsed = units.iter().find_map(|(unit, power)| {
        let number: u64 = lower.strip_suffix(unit)?.trim().parse().ok()?;
        number.checked_mul(1024u64.pow(*power)).filter(|rate| *rate > 0)
    });
    parsed.ok_or_else(|| RuleError::Malformed {
        field,
        value: text.to_owned(),
        expected: "a rate such as 1mbps",
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn spec(parts: &Value) -> NetworkChaosSpec {
        let mut object = json!({"selector": {}, "mode": "all"});
        for (key, value) in parts.as_object().unwrap() {
            object[key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    fn set(names: &[&str]) -> BTreeSet<PodKey> {
        names.iter().map(|name| PodKey::new("ns", *name)).collect()
    }

    #[test]
    fn actions_become_impairments() {
        let of = |parts: Value| impairment(&spec(&parts)).unwrap();
        assert!(of(json!({"action": "partition", "direction": "both"})).partition);
        let delay = of(json!({"action": "delay", "delay": {"latency": "90ms", "jitter": "10ms", "correlation": "0"}}));
        assert_eq!(
            (delay.delay, delay.jitter),
            (Duration::from_millis(90), Duration::from_millis(10))
        );
        assert!((of(json!({"action": "loss", "loss": {"loss": "25"}})).loss_percent - 25.0).abs() < 1e-9);
        assert!((of(json!({"action": "corrupt", "corrupt": {"corrupt": "5"}})).loss_percent - 5.0).abs() < 1e-9);
        let bandwidth = json!({"action": "bandwidth", "bandwidth": {"rate": "2mbps", "limit": 1, "buffer": 1}});
        assert_eq!(of(bandwidth).rate, Some(2 * 1024 * 1024));
        let netem = of(
            json!({"action": "netem", "delay": {"latency": "1s"}, "loss": {"loss": "50"},
            "corrupt": {"corrupt": "50"}, "rate": {"rate": "1kbps"}}),
        );
        assert!((netem.loss_percent - 75.0).abs() < 1e-9);
        assert_eq!((netem.delay, netem.rate), (Duration::from_secs(1), Some(1024)));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for parts in [
            json!({"action": "duplicate", "duplicate": {"duplicate": "5"}}),
            json!({"action": "delay"}),
            json!({"action": "delay", "delay": {"latency": "soon"}}),
            json!({"action": "delay", "delay": {"latency": "1s", "correlation": "50"}}),
            json!({"action": "delay", "delay": {"latency": "1s", "reorder": {"reorder": "1", "gap": 2}}}),
            json!({"action": "delay", "delay": {"latency": "1s"}, "direction": "both"}),
            json!({"action": "loss", "loss": {"loss": "101"}}),
            json!({"action": "partition", "externalTargets": ["1.2.3.4"]}),
            json!({"action": "partition", "device": "eth1"}),
            json!({"action": "bandwidth", "bandwidth": {"rate": "fast", "limit": 1, "buffer": 1}}),
            json!({"action": "bandwidth", "bandwidth": {"rate": "0bps", "limit": 1, "buffer": 1}}),
            json!({"action": "netem", "duplicate": {"duplicate": "5"}}),
        ] {
            assert!(impairment(&spec(&parts)).is_err(), "{parts}");
        }
    }

    #[test]
    fn directions_become_rules() {
        let target = json!({"selector": {}, "mode": "all"});
        let count = |direction: &str, selected: &[&str], targets: &[&str]| {
            let spec = spec(&json!({"action": "partition", "direction": direction, "target": target.clone()}));
            rules(&spec, &set(selected), &set(targets)).unwrap()
        };
        let to = count("to", &["a"], &["b"]);
        assert_eq!(
            (to[0].from.clone(), to[0].to.clone()),
            (PeerSet::Pods(set(&["a"])), PeerSet::Pods(set(&["b"])))
        );
        let from = count("from", &["a"], &["b"]);
        assert_eq!(
            (from[0].from.clone(), from[0].to.clone()),
            (PeerSet::Pods(set(&["b"])), PeerSet::Pods(set(&["a"])))
        );
        assert_eq!(count("both", &["a"], &["b"]).len(), 2);
        assert!(
            count("both", &["a"], &[]).is_empty(),
            "a target that matches nothing is not everyone"
        );
        assert!(count("both", &[], &["b"]).is_empty());
        let isolated = rules(
            &spec(&json!({"action": "partition", "direction": "both"})),
            &set(&["a"]),
            &set(&[]),
        )
        .unwrap();
        assert_eq!(isolated[0].to, PeerSet::Any);
    }
}
