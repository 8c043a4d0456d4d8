//! The decision: which pods to adopt, release, create and delete, and the status to report.

use super::order::deletion_order;
use crate::model::meta::{Claim, claim, is_deleting};
use crate::model::pod::{available_in, is_active, is_available, is_ready};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use std::time::Duration;

/// As upstream: a storm of changes is worked off in portions.
const BURST: usize = 500;

/// What to do about one ReplicaSet.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) adopt: Vec<Pod>,
    pub(crate) release: Vec<Pod>,
    pub(crate) create: usize,
    pub(crate) delete: Vec<Pod>,
    pub(crate) status: ReplicaSetStatus,
    /// When a ready pod will become available although nothing else changes.
    pub(crate) again: Option<Duration>,
}

/// Decides from the pods of the namespace at time `now`.
pub(crate) fn plan(set: &ReplicaSet, pods: &[&Pod], now: Timestamp) -> Plan {
    let (Some(uid), Some(spec)) = (set.metadata.uid.as_deref(), set.spec.as_ref()) else {
        return Plan::default();
    };
    let mut plan = Plan::default();
    let mut mine: Vec<&Pod> = Vec::new();
    for pod in pods.iter().filter(|pod| is_active(pod)) {
        match claim(*pod, uid, is_deleting(set), &spec.selector) {
            Claim::Mine => mine.push(pod),
            Claim::Adopt => {
                plan.adopt.push((*pod).clone());
                mine.push(pod);
            }
            Claim::Release => plan.release.push((*pod).clone()),
            Claim::Foreign => {}
        }
    }
    if !is_deleting(set) {
        let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
        plan.create = wanted.saturating_sub(mine.len()).min(BURST);
        let surplus = mine.len().saturating_sub(wanted).min(BURST);
        plan.delete = deletion_order(&mine, now).into_iter().take(surplus).cloned().collect();
    }
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let soonest = mine.iter().filter_map(|pod| available_in(pod, min_ready, now)).min();
    plan.again = soonest.and_then(|wait| Duration::try_from(wait).ok());
    plan.status = status(set, &mine, min_ready, now);
    plan
}

fn status(set: &ReplicaSet, mine: &[&Pod], min_ready: i32, now: Timestamp) -> ReplicaSetStatus {
    let template = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.as_ref()?.metadata.as_ref()?.labels.clone());
    let template = template.unwrap_or_default();
    let labelled = |pod: &Pod| template.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
    let count = |test: &dyn Fn(&Pod) -> bool| mine.iter().filter(|pod| test(pod)).count() as i32;
    ReplicaSetStatus {
        replicas: mine.len() as i32,
        fully_labeled_replicas: Some(count(&labelled)),
        ready_replicas: Some(count(&is_ready)),
        available_replicas: Some(count(&|pod| is_available(pod, min_ready, now))),
        observed_generation: set.metadata.generation,
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
        terminating_replicas: None,
    }
}

/// Records in the status that pods could not be created or deleted (`Some`: reason and message), or that all is well.
pub(crate) fn note_failure(status: &mut ReplicaSetStatus, failure: Option<(&str, String)>, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let known = conditions.iter().any(|condition| condition.type_ == "ReplicaFailure");
    match failure {
        Some((reason, message)) if !known => conditions.push(ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: Some(Time(now)),
        }),
        Some(_) => {}
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
    }
    if conditions.is_empty() {
        status.conditions = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::template::pod_from_template;
    use crate::model::testing::{at, labels, ready_pod, with_phase};
    use k8s_openapi::api::apps::v1::ReplicaSetSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
    use proptest::prelude::*;

    fn set(replicas: i32) -> ReplicaSet {
        let mut set = ReplicaSet::default();
        set.metadata.name = Some("set".into());
        set.metadata.namespace = Some("ns".into());
        set.metadata.uid = Some("set".into());
        set.spec = Some(ReplicaSetSpec {
            replicas: Some(replicas),
            selector: LabelSelector {
                match_labels: Some(labels(&[("app", "a")])),
                ..LabelSelector::default()
            },
            ..ReplicaSetSpec::default()
        });
        set
    }

    fn owned(name: &str) -> Pod {
        let mut pod = ready_pod(name, at(10));
        let made = pod_from_template(&set(0), &k8s_openapi::api::core::v1::PodTemplateSpec::default());
        pod.metadata.owner_references = made.metadata.owner_references;
        pod.metadata.labels = Some(labels(&[("app", "a")]));
        pod
    }

    fn decide(set: &ReplicaSet, pods: &[Pod]) -> Plan {
        plan(set, &pods.iter().collect::<Vec<_>>(), at(1000))
    }

    #[test]
    fn creates_deletes_and_leaves_alone() {
        let two = [owned("a"), owned("b")];
        for (replicas, create, delete) in [(2, 0, 0), (5, 3, 0), (1, 0, 1), (0, 0, 2)] {
            let plan = decide(&set(replicas), &two);
            assert_eq!((plan.create, plan.delete.len()), (create, delete), "{replicas}");
        }
    }

    #[test]
    fn finished_and_terminating_pods_do_not_count() {
        let mut terminating = owned("b");
        terminating.metadata.deletion_timestamp = Some(Time(at(5)));
        let plan = decide(&set(2), &[with_phase(owned("a"), "Failed"), terminating]);
        assert_eq!((plan.create, plan.delete.len(), plan.status.replicas), (2, 0, 0));
    }

    #[test]
    fn adopts_orphans_and_releases_strays() {
        let mut orphan = owned("orphan");
        orphan.metadata.owner_references = None;
        let mut stray = owned("stray");
        stray.metadata.labels = Some(labels(&[("app", "other")]));
        let plan = decide(&set(1), &[orphan, stray]);
        assert_eq!(plan.adopt[0].name_any(), "orphan");
        assert_eq!(plan.release[0].name_any(), "stray");
        assert_eq!((plan.create, plan.delete.len()), (0, 0));
    }

    #[test]
    fn a_set_being_deleted_only_reports() {
        let mut set = set(5);
        set.metadata.deletion_timestamp = Some(Time(at(5)));
        let plan = decide(&set, &[owned("a")]);
        assert_eq!((plan.create, plan.delete.len(), plan.status.replicas), (0, 0, 1));
    }

    #[test]
    fn availability_comes_later_and_is_awaited() {
        let mut set = set(1);
        set.spec.as_mut().unwrap().min_ready_seconds = Some(1000);
        let plan = decide(&set, &[owned("a")]);
        assert_eq!(
            (plan.status.ready_replicas, plan.status.available_replicas),
            (Some(1), Some(0))
        );
        assert_eq!(plan.again, Some(Duration::from_secs(10)));
    }

    #[test]
    fn a_failure_is_noted_once_and_cleared() {
        let mut status = ReplicaSetStatus::default();
        note_failure(&mut status, Some(("FailedCreate", "quota".into())), at(1));
        let first = status.clone();
        note_failure(&mut status, Some(("FailedCreate", "quota again".into())), at(2));
        assert_eq!(status, first, "no status write on every failed attempt");
        note_failure(&mut status, None, at(3));
        assert_eq!(status.conditions, None);
    }

    proptest! {
        /// Applying the plan once reaches the wanted number, and a second plan finds nothing to do.
        #[test]
        fn it_converges(wanted in 0i32..40, phases in prop::collection::vec((0usize..4, any::<bool>()), 0..40)) {
            let mut pods: Vec<Pod> = phases.iter().enumerate().map(|(index, (phase, terminating))| {
                let mut pod = with_phase(owned(&format!("p{index}")), ["Pending", "Running", "Failed", "Succeeded"][*phase]);
                pod.metadata.deletion_timestamp = terminating.then(|| Time(at(5)));
                pod
            }).collect();
            let first = decide(&set(wanted), &pods);
            prop_assert!(first.create == 0 || first.delete.is_empty(), "never both");
            pods.retain(|pod| !first.delete.iter().any(|gone| gone.metadata.uid == pod.metadata.uid));
            pods.extend((0..first.create).map(|index| with_phase(owned(&format!("new{index}")), "Pending")));
            let second = decide(&set(wanted), &pods);
            prop_assert_eq!((second.create, second.delete.len(), second.status.replicas), (0, 0, wanted));
        }
    }
}
