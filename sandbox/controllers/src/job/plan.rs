//! The decision for one Job.

use super::indexes::{self, INDEX};
use crate::model::meta::{is_controlled_by, is_deleting};
use crate::model::pod::{is_active, is_failed, is_finished, is_ready, is_succeeded};
use crate::model::template::pod_from_template;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::collections::BTreeSet;
use std::time::Duration;

const BACKOFF_LIMIT: i32 = 6;
const BACKOFF_MOST: SignedDuration = SignedDuration::from_secs(600);
/// The label of a Job's pods with its uid.
pub(crate) const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
/// What a Job says first when it is decided how it ends, and what it says when all its pods have ended: whoever waits for the
/// latter finds nothing of it running any more.
const ENDS: [(&str, &str); 2] = [("FailureTarget", "Failed"), ("SuccessCriteriaMet", "Complete")];

/// What to do about one Job.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) create: Vec<Pod>,
    pub(crate) delete: Vec<Pod>,
    pub(crate) status: JobStatus,
    /// Finished long enough ago to be removed.
    pub(crate) expired: bool,
    /// When time alone will change something.
    pub(crate) again: Option<Duration>,
}

pub(crate) fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let conditions = status.conditions.as_deref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Decides from the pods of the namespace at time `now`. `backoff` is the pause after the first failure.
pub(crate) fn plan(job: &Job, pods: &[&Pod], backoff: SignedDuration, now: Timestamp) -> Plan {
    let (Some(uid), Some(spec)) = (job.metadata.uid.as_deref(), job.spec.as_ref()) else {
        return Plan::default();
    };
    let mine: Vec<&Pod> = pods.iter().copied().filter(|pod| is_controlled_by(*pod, uid)).collect();
    let mut plan = Plan {
        status: job.status.clone().unwrap_or_default(),
        ..Plan::default()
    };
    if is_deleting(job) {
        return plan;
    }
    if let Some(finished) = condition(&plan.status, "Complete").or_else(|| condition(&plan.status, "Failed")) {
        let ended = finished.last_transition_time.as_ref().map_or(now, |time| time.0);
        if let Some(keep) = spec.ttl_seconds_after_finished {
            let left = SignedDuration::from_secs(i64::from(keep)) - now.duration_since(ended);
            plan.expired = left <= SignedDuration::ZERO;
            plan.again = (!plan.expired).then(|| left.try_into().ok()).flatten();
        }
        return plan;
    }
    Run {
        job,
        mine,
        backoff,
        now,
    }
    .decide(&mut plan);
    plan
}

/// Ends what runs; gives how many pods have not ended by then.
fn stop(plan: &mut Plan, active: &[&Pod]) -> i32 {
    plan.delete = active.iter().map(|pod| (*pod).clone()).collect();
    plan.status.active = Some(0);
    plan.status.ready = Some(0);
    let ending = plan.status.terminating.unwrap_or(0) + active.len() as i32;
    plan.status.terminating = Some(ending);
    ending
}

struct Run<'a> {
    job: &'a Job,
    mine: Vec<&'a Pod>,
    backoff: SignedDuration,
    now: Timestamp,
}

impl Run<'_> {
    fn decide(&self, plan: &mut Plan) {
        let spec = self.job.spec.clone().unwrap_or_default();
        let indexed = spec.completion_mode.as_deref() == Some("Indexed");
        let active: Vec<&Pod> = self.mine.iter().copied().filter(|pod| is_active(pod)).collect();
        let done = self.completed_indexes();
        self.count(&mut plan.status, &active, indexed.then_some(&done));
        let decided = ENDS
            .iter()
            .find_map(|(target, end)| Some((condition(&plan.status, target)?.clone(), *end)));
        if let Some((target, end)) = decided {
            self.finish(plan, target, end, &active);
            return;
        }
        let suspended = spec.suspend == Some(true);
        self.note_suspension(suspended, &mut plan.status);
        if suspended {
            plan.delete = active.into_iter().cloned().collect();
            plan.status.active = Some(0);
            return;
        }
        let started = plan.status.start_time.get_or_insert(Time(self.now)).0;
        let succeeded = plan.status.succeeded.unwrap_or(0);
        if let Some((reason, message)) = self.verdict(started, plan.status.failed.unwrap_or(0)) {
            self.set(&mut plan.status, "FailureTarget", "True", reason, message);
            // Of a Job that fails, what has not ended has failed.
            let unfinished = stop(plan, &active);
            plan.status.failed = Some(plan.status.failed.unwrap_or(0) + unfinished);
            return;
        }
        let complete = match spec.completions {
            Some(completions) => succeeded >= completions,
            None => succeeded > 0 && active.is_empty(),
        };
        if complete {
            let reached = "Reached expected number of succeeded pods".into();
            self.set(
                &mut plan.status,
                "SuccessCriteriaMet",
                "True",
                "CompletionsReached",
                reached,
            );
            stop(plan, &active);
            return;
        }
        if let Some(limit) = spec.active_deadline_seconds {
            let left = SignedDuration::from_secs(limit) - self.now.duration_since(started);
            plan.again = left.try_into().ok();
        }
        let parallelism = spec.parallelism.unwrap_or(1);
        let wanted = match spec.completions {
            Some(completions) => parallelism.min(completions - succeeded),
            None if succeeded > 0 => active.len() as i32,
            None => parallelism,
        };
        let missing = wanted - active.len() as i32;
        if missing < 0 {
            let surplus = usize::try_from(-missing).unwrap_or(0);
            plan.delete = active.iter().rev().take(surplus).map(|pod| (*pod).clone()).collect();
        } else if let Some(pause) = self.pause().filter(|_| missing > 0) {
            plan.again = Some(plan.again.map_or(pause, |again| again.min(pause)));
        } else {
            plan.create = self.pods(usize::try_from(missing).unwrap_or(0), indexed, &active, &done);
        }
    }

    fn completed_indexes(&self) -> BTreeSet<i32> {
        let status = self.job.status.as_ref();
        let mut done = indexes::parse(
            status
                .and_then(|status| status.completed_indexes.as_deref())
                .unwrap_or(""),
        );
        done.extend(
            self.mine
                .iter()
                .filter(|pod| is_succeeded(pod))
                .filter_map(|pod| indexes::of_pod(pod)),
        );
        done
    }

    fn count(&self, status: &mut JobStatus, active: &[&Pod], done: Option<&BTreeSet<i32>>) {
        let count = |test: &dyn Fn(&Pod) -> bool| self.mine.iter().filter(|pod| test(pod)).count() as i32;
        let succeeded = match done {
            Some(done) => {
                status.completed_indexes = (!done.is_empty()).then(|| indexes::format(done));
                done.len() as i32
            }
            None => count(&is_succeeded),
        };
        // Never back: finished pods may be cleaned away.
        status.succeeded = Some(status.succeeded.unwrap_or(0).max(succeeded));
        status.failed = Some(status.failed.unwrap_or(0).max(count(&is_failed)));
        status.active = Some(active.len() as i32);
        status.ready = Some(active.iter().filter(|pod| is_ready(pod)).count() as i32);
        status.terminating = Some(count(&|pod| is_deleting(pod) && !is_finished(pod)));
    }

    /// Why the job has failed, if it has.
    fn verdict(&self, started: Timestamp, failed: i32) -> Option<(&'static str, String)> {
        let spec = self.job.spec.as_ref()?;
        let limit = spec.backoff_limit.unwrap_or(BACKOFF_LIMIT);
        let restarts = || -> i32 {
            let statuses = self
                .mine
                .iter()
                .filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref());
            statuses.flatten().map(|status| status.restart_count).sum()
        };
        let restarting = spec
            .template
            .spec
            .as_ref()
            .and_then(|spec| spec.restart_policy.as_deref())
            == Some("OnFailure");
        // Containers restarted in place never become failed pods: their restarts count instead.
        let exhausted = restarting
            && if limit == 0 {
                restarts() > 0
            } else {
                restarts() >= limit
            };
        if failed > limit || exhausted {
            return Some((
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit".into(),
            ));
        }
        let deadline = SignedDuration::from_secs(spec.active_deadline_seconds?);
        (self.now.duration_since(started) >= deadline).then(|| {
            (
                "DeadlineExceeded",
                "Job was active longer than specified deadline".into(),
            )
        })
    }

    /// What the end will be has been written: it comes when no pod is left that could still do anything.
    fn finish(&self, plan: &mut Plan, target: JobCondition, end: &str, active: &[&Pod]) {
        if stop(plan, active) > 0 {
            return;
        }
        if end == "Complete" {
            plan.status.completion_time = Some(Time(self.now));
        }
        let (reason, message) = (target.reason.unwrap_or_default(), target.message.unwrap_or_default());
        self.set(&mut plan.status, end, "True", &reason, message);
        if let Some(keep) = self.job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished) {
            plan.again = Some(Duration::from_secs(u64::try_from(keep).unwrap_or(0)));
        }
    }

    fn note_suspension(&self, suspended: bool, status: &mut JobStatus) {
        let known = status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Suspended");
        if suspended {
            status.start_time = None;
            self.set(status, "Suspended", "True", "JobSuspended", "Job suspended".into());
        } else if known {
            self.set(status, "Suspended", "False", "JobResumed", "Job resumed".into());
        }
    }

    fn set(&self, status: &mut JobStatus, kind: &str, value: &str, reason: &str, message: String) {
        let conditions = status.conditions.get_or_insert_default();
        if conditions
            .iter()
            .any(|condition| condition.type_ == kind && condition.status == value)
        {
            return;
        }
        conditions.retain(|condition| condition.type_ != kind);
        conditions.push(JobCondition {
            type_: kind.into(),
            status: value.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_probe_time: Some(Time(self.now)),
            last_transition_time: Some(Time(self.now)),
        });
    }

    /// How long the next pod must wait after the last failure: doubling, at most ten minutes.
    fn pause(&self) -> Option<Duration> {
        let ended = |pod: &Pod| {
            let statuses = pod
                .status
                .as_ref()
                .and_then(|status| status.container_statuses.as_deref());
            let ends = statuses.unwrap_or_default().iter().filter_map(|status| {
                status
                    .state
                    .as_ref()?
                    .terminated
                    .as_ref()?
                    .finished_at
                    .as_ref()
                    .map(|time| time.0)
            });
            ends.max().unwrap_or_else(|| crate::model::pod::created(pod))
        };
        let failures: Vec<Timestamp> = self
            .mine
            .iter()
            .filter(|pod| is_failed(pod))
            .map(|pod| ended(pod))
            .collect();
        let last = failures.iter().max()?;
        let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(16);
        let pause = self
            .backoff
            .checked_mul(1 << doublings)
            .unwrap_or(BACKOFF_MOST)
            .min(BACKOFF_MOST);
        let left = pause - self.now.duration_since(*last);
        (left > SignedDuration::ZERO).then(|| left.try_into().ok()).flatten()
    }

    fn pods(&self, count: usize, indexed: bool, active: &[&Pod], done: &BTreeSet<i32>) -> Vec<Pod> {
        if !indexed {
            return (0..count).map(|_| self.pod()).collect();
        }
        let completions = self.job.spec.as_ref().and_then(|spec| spec.completions).unwrap_or(0);
        let taken: BTreeSet<i32> = active.iter().filter_map(|pod| indexes::of_pod(pod)).collect();
        let free = (0..completions).filter(|index| !done.contains(index) && !taken.contains(index));
        free.take(count).map(|index| self.indexed_pod(index)).collect()
    }

    fn pod(&self) -> Pod {
        let spec = self.job.spec.clone().unwrap_or_default();
        let mut pod = pod_from_template(self.job, &spec.template);
        let (name, uid) = (self.job.name_any(), self.job.uid().unwrap_or_default());
        let labels = pod.metadata.labels.get_or_insert_default();
        for label in ["job-name", "batch.kubernetes.io/job-name"] {
            labels.insert(label.into(), name.clone());
        }
        for label in ["controller-uid", CONTROLLER_UID] {
            labels.insert(label.into(), uid.clone());
        }
        pod
    }

    fn indexed_pod(&self, index: i32) -> Pod {
        let mut pod = self.pod();
        let name = format!("{}-{index}", self.job.name_any());
        pod.metadata.generate_name = Some(format!("{name}-"));
        pod.metadata
            .annotations
            .get_or_insert_default()
            .insert(INDEX.into(), index.to_string());
        pod.metadata
            .labels
            .get_or_insert_default()
            .insert(INDEX.into(), index.to_string());
        let spec = pod.spec.get_or_insert_default();
        spec.hostname = Some(name);
        let field = ObjectFieldSelector {
            field_path: format!("metadata.annotations['{INDEX}']"),
            api_version: None,
        };
        let variable = EnvVar {
            name: "JOB_COMPLETION_INDEX".into(),
            value: None,
            value_from: Some(EnvVarSource {
                field_ref: Some(field),
                ..EnvVarSource::default()
            }),
        };
        for container in spec
            .containers
            .iter_mut()
            .chain(spec.init_containers.iter_mut().flatten())
        {
            container.env.get_or_insert_default().push(variable.clone());
        }
        pod
    }
}
