//! The decision for one StatefulSet.

use super::identity::{self, ordinal, range, revision_of};
use super::revision::{Revisions, pick, template};
use super::status::status;
use crate::model::meta::{Claim, claim, is_deleting};
use crate::model::pod::{available_in, is_available, is_finished, is_ready, phase};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// What to do about one StatefulSet.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) adopt: Vec<Pod>,
    pub(crate) release: Vec<Pod>,
    /// Create it, or raise its number if it exists.
    pub(crate) revision: Option<ControllerRevision>,
    pub(crate) expired: Vec<ControllerRevision>,
    /// Claims that must exist before the pods do.
    pub(crate) claims: Vec<PersistentVolumeClaim>,
    pub(crate) create: Vec<Pod>,
    pub(crate) delete: Vec<Pod>,
    pub(crate) status: StatefulSetStatus,
    /// When a ready pod will become available although nothing else changes.
    pub(crate) again: Option<Duration>,
}

/// Decides from the pods and revisions of the namespace at time `now`.
pub(crate) fn plan(
    set: &StatefulSet,
    pods: &[&Pod],
    revisions: &[&ControllerRevision],
    now: Timestamp,
) -> Result<Plan, serde_json::Error> {
    let mut plan = Plan::default();
    let (Some(uid), Some(spec)) = (set.metadata.uid.as_deref(), set.spec.as_ref()) else {
        return Ok(plan);
    };
    let mut mine: BTreeMap<i32, &Pod> = BTreeMap::new();
    for pod in pods {
        let Some(ordinal) = ordinal(set, pod) else { continue };
        match claim(*pod, uid, is_deleting(set), &spec.selector) {
            Claim::Mine => {
                mine.insert(ordinal, pod);
            }
            Claim::Adopt => {
                plan.adopt.push((*pod).clone());
                mine.insert(ordinal, pod);
            }
            Claim::Release => plan.release.push((*pod).clone()),
            Claim::Foreign => {}
        }
    }
    let live: Vec<&str> = mine.values().map(|pod| revision_of(pod)).collect();
    let Revisions {
        update,
        write,
        current,
        expired,
    } = pick(set, revisions, &live)?;
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let all: Vec<&Pod> = mine.values().copied().collect();
    plan.status = status(set, &all, &current.name_any(), &update.name_any(), min_ready, now);
    plan.again = all
        .iter()
        .filter_map(|pod| available_in(pod, min_ready, now))
        .min()
        .and_then(|w| w.try_into().ok());
    if is_deleting(set) {
        return Ok(plan);
    }
    plan.revision = write.then(|| update.clone());
    plan.expired = expired;
    let roll = Roll {
        set,
        mine,
        update,
        current,
        min_ready,
        now,
    };
    roll.keep(&mut plan);
    Ok(plan)
}

struct Roll<'a> {
    set: &'a StatefulSet,
    mine: BTreeMap<i32, &'a Pod>,
    update: ControllerRevision,
    current: ControllerRevision,
    min_ready: i32,
    now: Timestamp,
}

impl Roll<'_> {
    fn keep(&self, plan: &mut Plan) {
        let spec = self.set.spec.clone().unwrap_or_default();
        let ordered = spec.pod_management_policy.as_deref() != Some("Parallel");
        // Up: each waits for all before it.
        for ordinal in range(self.set) {
            match self.mine.get(&ordinal).copied() {
                None => {
                    self.create(ordinal, plan);
                    if ordered {
                        return;
                    }
                }
                // A finished pod makes way for its successor of the same name.
                Some(pod) if is_finished(pod) => {
                    if !is_deleting(pod) {
                        plan.delete.push(pod.clone());
                    }
                    if ordered {
                        return;
                    }
                }
                Some(pod) if ordered && !self.is_healthy(pod) => return,
                Some(_) => {}
            }
        }
        // Down: the last first, and not while one that stays, or one before it, is unwell; but an unwell one that
        // must go anyway need not recover for that.
        let condemned: Vec<&Pod> = self
            .mine
            .iter()
            .rev()
            .filter(|(ordinal, _)| !range(self.set).contains(ordinal))
            .map(|(_, pod)| *pod)
            .collect();
        let first_unwell = self
            .mine
            .values()
            .find(|pod| !self.is_healthy(pod))
            .and_then(|pod| pod.metadata.uid.clone());
        for pod in condemned {
            if is_deleting(pod) {
                if ordered {
                    return;
                }
                continue;
            }
            if ordered && !self.is_healthy(pod) && pod.metadata.uid != first_unwell {
                return;
            }
            plan.delete.push(pod.clone());
            if ordered {
                return;
            }
        }
        if !plan.delete.is_empty() || !plan.create.is_empty() {
            return;
        }
        let strategy = spec.update_strategy.unwrap_or_default();
        if strategy.type_.as_deref() == Some("OnDelete") {
            return;
        }
        let partition = strategy
            .rolling_update
            .and_then(|rolling| rolling.partition)
            .unwrap_or(0);
        self.update_one(partition, plan);
    }

    /// Replaces the highest outdated pod at or above the partition, once all above it are well.
    fn update_one(&self, partition: i32, plan: &mut Plan) {
        let range = range(self.set);
        for ordinal in (range.start + partition.max(0)..range.end).rev() {
            let Some(pod) = self.mine.get(&ordinal).copied() else {
                return;
            };
            if revision_of(pod) != self.update.name_any() && !is_deleting(pod) {
                plan.delete.push(pod.clone());
                return;
            }
            if !self.is_healthy(pod) {
                return;
            }
        }
    }

    fn create(&self, ordinal: i32, plan: &mut Plan) {
        let spec = self.set.spec.clone().unwrap_or_default();
        let strategy = spec.update_strategy.unwrap_or_default();
        let partition = strategy
            .rolling_update
            .and_then(|rolling| rolling.partition)
            .unwrap_or(0);
        let held_back =
            strategy.type_.as_deref() != Some("OnDelete") && ordinal < range(self.set).start + partition.max(0);
        let chosen = if held_back { &self.current } else { &self.update };
        let template = template(chosen).unwrap_or(spec.template);
        plan.claims.extend(identity::claims(self.set, ordinal));
        plan.create
            .push(identity::pod(self.set, &template, &chosen.name_any(), ordinal));
    }

    fn is_healthy(&self, pod: &Pod) -> bool {
        phase(pod) == "Running" && is_ready(pod) && is_available(pod, self.min_ready, self.now) && !is_deleting(pod)
    }
}
