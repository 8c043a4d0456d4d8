//! The decision for one node.

use super::conditions::{self, silenced};
use super::evict::deadline;
use super::taints::wanted;
use crate::model::meta::is_deleting;
use crate::model::pod::{is_finished, is_ready};
use k8s_openapi::api::core::v1::{Node, NodeStatus, Pod, Taint};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// The limits that matter here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long a node may be silent.
    pub(crate) grace: SignedDuration,
    /// How long pods without an opinion stay on a lost node.
    pub(crate) toleration: SignedDuration,
}

/// What to do about one node.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) status: Option<NodeStatus>,
    pub(crate) taints: Option<Vec<Taint>>,
    /// Pods to mark not ready: nobody can vouch for them.
    pub(crate) unready: Vec<Pod>,
    pub(crate) evict: Vec<Pod>,
    /// When time alone will change something.
    pub(crate) again: Option<Duration>,
}

/// Decides for `node` with its `pods`. `heard` is when we last saw its lease or its status move, by our own clock.
pub(crate) fn plan(node: &Node, pods: &[&Pod], heard: Timestamp, limits: Limits, now: Timestamp) -> Plan {
    let left = limits.grace - now.duration_since(heard);
    let silent = left <= SignedDuration::ZERO;
    let status = if silent { silenced(node, now) } else { None };
    let ready = if silent {
        Some("Unknown")
    } else {
        conditions::status(node, "Ready")
    };
    let taints = wanted(node, ready, now);
    let present = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let effective = taints.as_ref().unwrap_or(&present);
    let mut plan = Plan {
        status,
        ..Plan::default()
    };
    let mut next = if silent { None } else { Some(left) };
    for pod in pods {
        if ready == Some("Unknown") && is_ready(pod) {
            plan.unready.push((*pod).clone());
        }
        if is_deleting(*pod) || is_finished(pod) {
            continue;
        }
        let Some(at) = deadline(pod, effective, limits.toleration) else {
            continue;
        };
        let wait = at.duration_since(now);
        if wait <= SignedDuration::ZERO {
            plan.evict.push((*pod).clone());
        } else {
            next = Some(next.map_or(wait, |next| next.min(wait)));
        }
    }
    plan.taints = taints;
    plan.again = next.and_then(|next| next.try_into().ok());
    plan
}
