//! The taints that follow from a node's conditions.

use super::conditions::status;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const CORDONED: &str = "node.kubernetes.io/unschedulable";
/// Condition and the taint it brings when True.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// (key, effect) of the taints that ought to be there. `ready` is the status of the Ready condition.
fn due(node: &Node, ready: Option<&str>) -> Vec<(&'static str, &'static str)> {
    let mut due = match ready {
        Some("True") => Vec::new(),
        Some("Unknown") => vec![(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")],
        _ => vec![(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")],
    };
    let pressed = PRESSURES
        .iter()
        .filter(|(condition, _)| status(node, condition) == Some("True"));
    due.extend(pressed.map(|(_, taint)| (*taint, "NoSchedule")));
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        due.push((CORDONED, "NoSchedule"));
    }
    due
}

fn is_ours(taint: &Taint) -> bool {
    let mut keys = PRESSURES
        .iter()
        .map(|(_, key)| *key)
        .chain([NOT_READY, UNREACHABLE, CORDONED]);
    keys.any(|key| key == taint.key)
}

/// The taints the node should have; `None` if it has them. Other people's stay. A NoExecute taint without a time gets
/// one: evictions count from it.
pub(super) fn wanted(node: &Node, ready: Option<&str>, now: Timestamp) -> Option<Vec<Taint>> {
    let present = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let due = due(node, ready);
    let mut taints = present.clone();
    taints.retain(|taint| !is_ours(taint) || due.contains(&(taint.key.as_str(), taint.effect.as_str())));
    for (key, effect) in due {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            taints.push(Taint {
                key: key.into(),
                effect: effect.into(),
                value: None,
                time_added: None,
            });
        }
    }
    for taint in taints.iter_mut().filter(|taint| taint.effect == "NoExecute") {
        taint.time_added.get_or_insert(Time(now));
    }
    (taints != present).then_some(taints)
}
