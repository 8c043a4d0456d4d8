#![allow(clippy::unwrap_used)]
use super::indexes;
use super::plan::{Plan, condition, plan};
use crate::model::meta::controller_ref;
use crate::model::testing::{at, pod, with_phase};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::SignedDuration;
use serde_json::json;
use std::time::Duration;

const BACKOFF: SignedDuration = SignedDuration::from_secs(10);

fn job(spec: &serde_json::Value) -> Job {
    let mut whole = json!({ "template": { "spec": { "containers": [{ "name": "c" }], "restartPolicy": "Never" } } });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    let mut job = Job {
        spec: Some(serde_json::from_value(whole).unwrap()),
        ..Job::default()
    };
    job.metadata.name = Some("job".into());
    job.metadata.uid = Some("job".into());
    job.metadata.namespace = Some("ns".into());
    job
}

fn pods(phases: &[&str]) -> Vec<Pod> {
    let owner = controller_ref(&job(&json!({})));
    let made = |(index, phase): (usize, &&str)| {
        let mut pod = with_phase(pod(&format!("p{index}")), phase);
        pod.metadata.owner_references = Some(vec![owner.clone()]);
        pod
    };
    phases.iter().enumerate().map(made).collect()
}

fn decide(job: &Job, pods: &[Pod], second: i64) -> Plan {
    plan(job, &pods.iter().collect::<Vec<_>>(), BACKOFF, at(second))
}

#[test]
fn pods_are_made_up_to_parallelism_and_what_is_left_to_do() {
    for (completions, parallelism, phases, create, delete) in [
        (Some(3), 2, vec![], 2, 0),
        (Some(3), 2, vec!["Running", "Succeeded"], 1, 0),
        (Some(3), 2, vec!["Succeeded", "Succeeded", "Pending"], 0, 0),
        (Some(3), 2, vec!["Running", "Running", "Running"], 0, 1),
        (None, 2, vec![], 2, 0),
        (None, 3, vec!["Succeeded", "Running"], 0, 0),
        (Some(3), 0, vec!["Running"], 0, 1),
    ] {
        let job = job(&json!({ "completions": completions, "parallelism": parallelism }));
        let plan = decide(&job, &pods(&phases), 100);
        assert_eq!(
            (plan.create.len(), plan.delete.len()),
            (create, delete),
            "{completions:?} {parallelism} {phases:?}"
        );
    }
}

#[test]
fn it_completes() {
    let mut job = job(&json!({ "completions": 2, "ttlSecondsAfterFinished": 60 }));
    let plan = decide(&job, &pods(&["Succeeded", "Succeeded"]), 99);
    assert!(condition(&plan.status, "SuccessCriteriaMet").is_some());
    assert!(condition(&plan.status, "Complete").is_none());
    job.status = Some(plan.status);
    let plan = decide(&job, &pods(&["Succeeded", "Succeeded"]), 100);
    assert!(condition(&plan.status, "Complete").is_some());
    assert_eq!(
        (plan.status.succeeded, plan.again),
        (Some(2), Some(Duration::from_mins(1)))
    );
    job.status = Some(plan.status);
    let later = decide(&job, &[], 130);
    assert_eq!((later.expired, later.again), (false, Some(Duration::from_secs(30))));
    assert_eq!(later.status.succeeded, Some(2), "the count outlives the pods");
    assert!(decide(&job, &[], 160).expired);
}

#[test]
fn it_fails_beyond_the_backoff_limit_and_ends_what_runs() {
    let job = job(&json!({ "backoffLimit": 1, "completions": 3, "parallelism": 2 }));
    let target = |plan: &Plan| condition(&plan.status, "FailureTarget").and_then(|target| target.reason.clone());
    assert_eq!(target(&decide(&job, &pods(&["Failed", "Running"]), 100)), None);
    let plan = decide(&job, &pods(&["Failed", "Failed", "Running"]), 100);
    assert_eq!(target(&plan).as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(
        (plan.create.len(), plan.delete.len(), plan.status.active),
        (0, 1, Some(0))
    );
}

#[test]
fn it_has_ended_when_its_pods_have() {
    let mut job = job(&json!({ "backoffLimit": 0, "parallelism": 2 }));
    let mut pods = pods(&["Failed", "Running"]);
    let plan = decide(&job, &pods, 100);
    assert_eq!(plan.status.terminating, Some(1));
    job.status = Some(plan.status);
    pods[1].metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(130)));
    let ending = decide(&job, &pods, 101);
    assert_eq!(
        ending.status,
        job.status.clone().unwrap(),
        "nothing new until it is gone"
    );
    assert!(ending.create.is_empty() && ending.delete.is_empty());
    let ended = decide(&job, &pods[..1], 131).status;
    let failed = condition(&ended, "Failed").unwrap();
    assert_eq!(failed.reason.as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(
        (ended.terminating, ended.active, ended.failed),
        (Some(0), Some(0), Some(2)),
        "what had not ended has failed"
    );
}

#[test]
fn failures_are_retried_later_and_later() {
    let job = job(&json!({}));
    for (failures, second, wait) in [(1, 4, Some(6)), (1, 10, None), (2, 4, Some(16)), (4, 0, Some(80))] {
        let plan = decide(&job, &pods(&vec!["Failed"; failures]), second);
        assert_eq!(plan.again, wait.map(Duration::from_secs), "{failures} at {second}");
        assert_eq!(plan.create.len(), usize::from(wait.is_none()));
    }
}

#[test]
fn it_must_end_before_its_deadline() {
    let mut job = job(&json!({ "activeDeadlineSeconds": 30 }));
    let first = decide(&job, &[], 100);
    assert_eq!(first.again, Some(Duration::from_secs(30)));
    job.status = Some(first.status);
    assert!(condition(&decide(&job, &pods(&["Running"]), 129).status, "FailureTarget").is_none());
    let late = decide(&job, &pods(&["Running"]), 130);
    assert_eq!(
        condition(&late.status, "FailureTarget").unwrap().reason.as_deref(),
        Some("DeadlineExceeded")
    );
}

#[test]
fn a_suspended_job_gives_up_its_pods_and_comes_back() {
    let mut suspended = job(&json!({ "suspend": true }));
    let plan = decide(&suspended, &pods(&["Running"]), 100);
    assert_eq!((plan.delete.len(), plan.status.start_time.clone()), (1, None));
    suspended.status = Some(plan.status);
    suspended.spec.as_mut().unwrap().suspend = Some(false);
    let plan = decide(&suspended, &[], 200);
    assert_eq!(plan.create.len(), 1);
    assert!(condition(&plan.status, "Suspended").is_none());
}

#[test]
fn indexes_are_given_once_each() {
    let job = job(&json!({ "completionMode": "Indexed", "completions": 4, "parallelism": 4 }));
    let mut present = pods(&["Succeeded", "Running"]);
    for (pod, index) in present.iter_mut().zip(["0", "2"]) {
        pod.metadata
            .annotations
            .get_or_insert_default()
            .insert(indexes::INDEX.into(), index.into());
    }
    let plan = decide(&job, &present, 100);
    let made: Vec<_> = plan.create.iter().map(|pod| indexes::of_pod(pod).unwrap()).collect();
    assert_eq!(made, [1, 3]);
    assert_eq!(plan.status.completed_indexes.as_deref(), Some("0"));
    let container = &plan.create[0].spec.as_ref().unwrap().containers[0];
    assert_eq!(container.env.as_ref().unwrap()[0].name, "JOB_COMPLETION_INDEX");
}
