//! The four conditions, with a reason and a message each. A condition's time moves only when its status does.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::ResourceExt;
use showrunner_crds::{
    annotations,
    platform::{ClusterStatus, ConditionType, RegionState, RegionStatus, Role},
};

use super::{Facts, evacuation, find, regions};
use crate::{
    pods,
    remote::Lingering,
    validate::{Region, ValidateError, names::RegionName},
};

/// Pods named in a message before the rest are counted.
const NAMED: usize = 3;

struct Judgement {
    type_: ConditionType,
    status: bool,
    reason: &'static str,
    message: String,
}

impl Judgement {
    fn new(type_: ConditionType, status: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status,
            reason,
            message: message.into(),
        }
    }

    fn condition(self, before: &[Condition], generation: i64, now: Timestamp) -> Condition {
        let type_ = self.type_.to_string();
        let status = if self.status { "True" } else { "False" };
        let since = find(before, &type_)
            .filter(|condition| condition.status == status)
            .map_or_else(
                || Time(whole_second(now)),
                |condition| condition.last_transition_time.clone(),
            );
        Condition {
            last_transition_time: since,
            message: self.message,
            observed_generation: Some(generation),
            reason: self.reason.to_owned(),
            status: status.to_owned(),
            type_,
        }
    }
}

/// The API knows whole seconds only: anything finer would differ from what is read back.
fn whole_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

pub(super) fn compute(facts: &Facts<'_>, regions: &[RegionStatus]) -> Vec<Condition> {
    let generation = facts.platform.generation;
    [
        ready(facts, regions),
        progressing(facts),
        degraded(facts),
        evacuation_safe(facts),
    ]
    .into_iter()
    .map(|judgement| judgement.condition(&facts.observed.conditions, generation, facts.observed.now))
    .collect()
}

pub(super) fn refused(error: &ValidateError, before: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let message = error.to_string();
    let judgements = [
        Judgement::new(ConditionType::Ready, false, "InvalidSpec", message.clone()),
        Judgement::new(
            ConditionType::Progressing,
            false,
            "InvalidSpec",
            "waiting for a valid spec",
        ),
        Judgement::new(ConditionType::Degraded, true, "InvalidSpec", message),
    ];
    unjudged(judgements, before, generation, now)
}

/// These conditions, and whether a region may be lost as it was judged last.
fn unjudged(judgements: [Judgement; 3], before: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    judgements
        .into_iter()
        .map(|judgement| judgement.condition(before, generation, now))
        .chain(find(before, "EvacuationSafe").cloned())
        .collect()
}

/// Everything is taken away, and some clusters do not let it be.
pub(super) fn leaving(
    clusters: &[ClusterStatus],
    before: &[Condition],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let why: Vec<&str> = clusters
        .iter()
        .filter_map(|cluster| cluster.message.as_deref())
        .collect();
    let secrets: BTreeSet<&str> = clusters.iter().map(|cluster| cluster.secret_name.as_str()).collect();
    let secrets: Vec<&str> = secrets.into_iter().collect();
    let message = format!(
        "{}. To leave there what is there, annotate the platform: {}={}",
        why.join("; "),
        annotations::ABANDON_CLUSTERS,
        secrets.join(",")
    );
    let judgements = [
        Judgement::new(ConditionType::Ready, false, "Deleting", "the platform is being deleted"),
        Judgement::new(
            ConditionType::Progressing,
            true,
            "Deleting",
            "everything is being taken away",
        ),
        Judgement::new(ConditionType::Degraded, true, "ClusterHoldsDeletion", message),
    ];
    unjudged(judgements, before, generation, now)
}

/// Every region serves, from every role it has.
fn ready(facts: &Facts<'_>, regions: &[RegionStatus]) -> Judgement {
    let short: Vec<String> = regions
        .iter()
        .filter_map(|region| {
            let missing: Vec<&str> = region
                .roles
                .iter()
                .filter(|role| role.ready == 0)
                .map(|role| role.role.as_str())
                .collect();
            (!missing.is_empty()).then(|| format!("{} has no ready {}", region.name, missing.join(", ")))
        })
        .collect();
    let unknown = regions.iter().any(|region| region.state == RegionState::Unknown);
    let kind = ConditionType::Ready;
    if !short.is_empty() || unknown {
        let message = if short.is_empty() {
            "nothing runs yet".to_owned()
        } else {
            short.join("; ")
        };
        Judgement::new(kind, false, "RegionsNotServing", message)
    } else if let Some(waiting) = missing_addresses(facts) {
        Judgement::new(kind, false, "WaitingForAddresses", waiting)
    } else {
        Judgement::new(
            kind,
            true,
            "AllRegionsServe",
            format!("all {} regions serve from every role", regions.len()),
        )
    }
}

/// Viewers cannot be sent where no address is known.
fn missing_addresses(facts: &Facts<'_>) -> Option<String> {
    let edges = facts
        .platform
        .regions_with(Role::Edge)
        .filter(|region| facts.addresses.edge_url(region).is_none());
    let mut missing: Vec<String> = edges.map(|region| format!("the edges in {}", region.name)).collect();
    if facts.addresses.steering_url().is_none() {
        missing.push("steering".to_owned());
    }
    (!missing.is_empty()).then(|| format!("no load balancer address yet for {}", missing.join(", ")))
}

fn is_unseen(facts: &Facts<'_>, region: &Region) -> bool {
    let cluster = region.cluster.as_ref();
    cluster.is_some_and(|cluster| facts.unseen.contains_key(cluster))
}

/// A rollout or a scaling is under way.
fn progressing(facts: &Facts<'_>) -> Judgement {
    let platform = facts.platform;
    let mut moving = Vec::new();
    // What cannot be seen does not move.
    for region in platform.regions.iter().filter(|region| !is_unseen(facts, region)) {
        for &role in &region.roles {
            let state = regions::role_state(platform, facts.observed, region, role);
            if !state.settled || state.ready < state.desired {
                moving.push(format!("{role} in {} {}/{}", region.name, state.ready, state.desired));
            }
        }
    }
    let kind = ConditionType::Progressing;
    if !moving.is_empty() {
        Judgement::new(kind, true, "RollingOut", moving.join(", "))
    } else if let Some(waiting) = missing_addresses(facts) {
        Judgement::new(kind, true, "WaitingForAddresses", waiting)
    } else {
        Judgement::new(kind, false, "Settled", "every workload is as it should be")
    }
}

/// Something that should run does not.
fn degraded(facts: &Facts<'_>) -> Judgement {
    let kind = ConditionType::Degraded;
    if !facts.applied.failures().is_empty() {
        let failures = facts.applied.failures().iter();
        let message = failures
            .map(|(region, why)| format!("{region}: {why}"))
            .collect::<Vec<_>>()
            .join("; ");
        let unseen = facts.platform.regions.iter().any(|region| is_unseen(facts, region));
        let reason = if unseen { "ClusterUnreachable" } else { "ApplyFailed" };
        return Judgement::new(kind, true, reason, message);
    }
    let held: Vec<&str> = facts.leaving.values().filter_map(Lingering::fault).collect();
    if !held.is_empty() {
        let message = format!("left without being cleared: {}", held.join("; "));
        return Judgement::new(kind, true, "ClusterNotCleared", message);
    }
    let mut failing: Vec<String> = facts
        .observed
        .all_pods()
        .filter(|pod| pods::is_failing(pod, facts.observed.now))
        .map(Pod::name_any)
        .collect();
    failing.sort();
    if failing.is_empty() {
        let silent: Vec<&str> = facts.audience.silent.iter().map(RegionName::as_str).collect();
        if !silent.is_empty() {
            let message = format!("steering servers do not tell their audience in {}", silent.join(", "));
            return Judgement::new(kind, true, "AudienceUnknown", message);
        }
        return Judgement::new(kind, false, "AsDesired", "nothing that should run is down");
    }
    let rest = failing.len().saturating_sub(NAMED);
    failing.truncate(NAMED);
    let more = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    Judgement::new(
        kind,
        true,
        "PodsNotReady",
        format!("not ready: {}{more}", failing.join(", ")),
    )
}

/// The remaining regions can carry the peak if `regionsToLose` are lost.
fn evacuation_safe(facts: &Facts<'_>) -> Judgement {
    let judged = evacuation::judge(
        facts.platform,
        facts.topology,
        facts.unavailable,
        facts.audience.total(),
    );
    Judgement::new(
        ConditionType::EvacuationSafe,
        judged.safe,
        judged.reason,
        judged.message,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn time_moves_with_the_status_alone() {
        let judge = |status, reason| Judgement::new(ConditionType::Ready, status, reason, "m");
        let first = judge(true, "A").condition(&[], 1, at(100));
        let same = judge(true, "B").condition(std::slice::from_ref(&first), 2, at(200));
        assert_eq!(same.last_transition_time.0, at(100));
        assert_eq!((same.reason.as_str(), same.observed_generation), ("B", Some(2)));
        let flipped = judge(false, "B").condition(&[same], 2, at(300));
        assert_eq!(flipped.last_transition_time.0, at(300));
    }
}
