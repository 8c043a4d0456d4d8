//! The decision for one Deployment: one step of its rollout, and its status.

use super::status::{condition, counted, is_complete, progress, reason, set as set_condition};
use super::{HASH_LABEL, annotations, is_rolling, rolling, scale, size, wanted};
use crate::model::hash::short_hash;
use crate::model::meta::{Claim, claim, controller_ref, is_controlled_by, is_deleting};
use crate::model::pod::is_finished;
use crate::model::template::same_template;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// Upstream's default of `revisionHistoryLimit`.
const HISTORY: i32 = 10;

/// One change to a ReplicaSet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Create(Box<ReplicaSet>),
    /// Merge annotations, and a new size if there is one.
    Update {
        name: String,
        replicas: Option<i32>,
        annotations: BTreeMap<String, String>,
        min_ready: Option<i32>,
    },
    Delete(String),
}

/// What to do about one Deployment.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) adopt: Vec<ReplicaSet>,
    pub(crate) release: Vec<ReplicaSet>,
    pub(crate) steps: Vec<Step>,
    /// The revision the Deployment itself must be annotated with.
    pub(crate) revision: Option<i64>,
    pub(crate) status: DeploymentStatus,
    /// When the progress deadline passes although nothing else changes.
    pub(crate) again: Option<Duration>,
}

/// Decides from the ReplicaSets and pods of the namespace at time `now`.
pub(crate) fn plan(
    deployment: &Deployment,
    sets: &[&ReplicaSet],
    pods: &[&Pod],
    now: Timestamp,
) -> Result<Plan, serde_json::Error> {
    let mut plan = Plan::default();
    let (Some(uid), Some(spec)) = (deployment.metadata.uid.as_deref(), deployment.spec.as_ref()) else {
        return Ok(plan);
    };
    let mut mine: Vec<&ReplicaSet> = Vec::new();
    for set in sets {
        match claim(*set, uid, is_deleting(deployment), &spec.selector) {
            Claim::Mine => mine.push(set),
            Claim::Adopt => {
                plan.adopt.push((*set).clone());
                mine.push(set);
            }
            Claim::Release => plan.release.push((*set).clone()),
            Claim::Foreign => {}
        }
    }
    mine.sort_by_key(|set| {
        (
            set.metadata.creation_timestamp.as_ref().map(|time| time.0),
            set.name_any(),
        )
    });
    let is_new = |set: &&ReplicaSet| {
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
        template.is_some_and(|template| same_template(template, &spec.template, HASH_LABEL))
    };
    let new = mine.iter().copied().find(is_new);
    let old: Vec<&ReplicaSet> = mine
        .iter()
        .copied()
        .filter(|set| new.is_none_or(|new| new.metadata.uid != set.metadata.uid))
        .collect();

    let rollout = Rollout {
        deployment,
        new,
        old: &old,
        all: &mine,
        now,
    };
    let mut conditions = DeploymentStatus {
        conditions: rollout.reported().conditions,
        ..DeploymentStatus::default()
    };
    if is_deleting(deployment) {
        plan.status = rollout.count(conditions);
        return Ok(plan);
    }
    let paused = spec.paused == Some(true);
    rollout.note_pause(paused, &mut conditions);

    let revision = old.iter().map(|set| annotations::revision(set)).max().unwrap_or(0) + 1;
    if let Some(new) = new {
        plan.steps.extend(rollout.refresh(new, revision));
        plan.revision = Some(annotations::revision(new).max(revision));
        if condition(&conditions, "Progressing").is_none() {
            let text = format!("Found new replica set \"{}\"", new.name_any());
            set_condition(&mut conditions, "Progressing", "True", reason::FOUND, text, now);
        }
    }
    if paused || rollout.is_resized() {
        plan.steps.extend(rollout.resize());
        plan.status = rollout.count(conditions);
        if paused {
            plan.steps.extend(rollout.cleanup());
        }
        return Ok(plan);
    }

    let moves = if is_rolling(deployment) {
        rollout.roll(revision)?
    } else {
        rollout.recreate(pods, revision)?
    };
    if let Some(Step::Create(set)) = moves.first() {
        let text = format!("Created new replica set \"{}\"", set.name_any());
        set_condition(&mut conditions, "Progressing", "True", reason::CREATED, text, now);
        plan.revision = Some(revision);
    }
    let still = moves.is_empty();
    plan.steps.extend(moves);
    let mut status = rollout.count(conditions);
    plan.again = progress(deployment, &mut status, new, &mine, now);
    if still && is_complete(deployment, &status) {
        plan.steps.extend(rollout.cleanup());
    }
    plan.status = status;
    Ok(plan)
}

struct Rollout<'a> {
    deployment: &'a Deployment,
    new: Option<&'a ReplicaSet>,
    /// Oldest first.
    old: &'a [&'a ReplicaSet],
    all: &'a [&'a ReplicaSet],
    now: Timestamp,
}

impl Rollout<'_> {
    fn reported(&self) -> DeploymentStatus {
        self.deployment.status.clone().unwrap_or_default()
    }

    fn count(&self, conditions: DeploymentStatus) -> DeploymentStatus {
        let collisions = self.reported().collision_count;
        counted(
            self.deployment,
            self.all,
            self.new,
            conditions.conditions,
            collisions,
            self.now,
        )
    }

    fn note_pause(&self, paused: bool, status: &mut DeploymentStatus) {
        let was = condition(status, "Progressing").and_then(|condition| condition.reason.clone());
        if was.as_deref() == Some(reason::LATE) {
            return;
        }
        if paused {
            set_condition(
                status,
                "Progressing",
                "Unknown",
                reason::PAUSED,
                "Deployment is paused".into(),
                self.now,
            );
        } else if was.as_deref() == Some(reason::PAUSED) {
            set_condition(
                status,
                "Progressing",
                "Unknown",
                reason::RESUMED,
                "Deployment is resumed".into(),
                self.now,
            );
        }
    }

    /// Keeps the annotations and `minReadySeconds` of the current set in step with the Deployment.
    fn refresh(&self, new: &ReplicaSet, revision: i64) -> Option<Step> {
        let annotations = annotations::for_new(self.deployment, Some(new), revision);
        let min_ready = self
            .deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.min_ready_seconds)
            .unwrap_or(0);
        let present = new.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let min_ready = (present != min_ready).then_some(min_ready);
        let changed = new.metadata.annotations.clone().unwrap_or_default() != annotations;
        (changed || min_ready.is_some()).then(|| Step::Update {
            name: new.name_any(),
            replicas: None,
            annotations,
            min_ready,
        })
    }

    /// The Deployment was scaled since its sets were last sized.
    fn is_resized(&self) -> bool {
        let wanted = i64::from(wanted(self.deployment));
        let mut active = self.all.iter().filter(|set| size(set) > 0);
        active.any(|set| annotations::desired(set).is_some_and(|desired| desired != wanted))
    }

    fn resize(&self) -> Vec<Step> {
        let sizes = scale::scale(self.deployment, self.new, self.old);
        let record = annotations::sizes(self.deployment);
        let recorded = |set: &ReplicaSet| {
            record
                .iter()
                .all(|(key, value)| set.annotations().get(key) == Some(value))
        };
        let step = |set: &&ReplicaSet| {
            let new = sizes
                .iter()
                .find(|(name, _)| *name == set.name_any())
                .map(|(_, new)| *new);
            // Even a set that keeps its size must forget the old one, or it would look resized for ever.
            (new.is_some() || size(set) > 0 && !recorded(set)).then(|| self.update(set.name_any(), new))
        };
        self.all.iter().filter_map(step).collect()
    }

    fn update(&self, name: String, replicas: Option<i32>) -> Step {
        Step::Update {
            name,
            replicas,
            annotations: annotations::sizes(self.deployment),
            min_ready: None,
        }
    }

    fn roll(&self, revision: i64) -> Result<Vec<Step>, serde_json::Error> {
        let total: i32 = self.all.iter().map(|set| size(set)).sum();
        let Some(new) = self.new else {
            return Ok(vec![
                self.create(rolling::new_size(self.deployment, 0, total), revision)?,
            ]);
        };
        let goal = rolling::new_size(self.deployment, size(new), total);
        if goal != size(new) {
            return Ok(vec![self.update(new.name_any(), Some(goal))]);
        }
        let shrunk = rolling::shrink_old(self.deployment, new, self.old);
        Ok(shrunk
            .into_iter()
            .map(|(name, size)| self.update(name, Some(size)))
            .collect())
    }

    fn recreate(&self, pods: &[&Pod], revision: i64) -> Result<Vec<Step>, serde_json::Error> {
        let running: Vec<&&ReplicaSet> = self.old.iter().filter(|set| size(set) > 0).collect();
        if !running.is_empty() {
            return Ok(running
                .into_iter()
                .map(|set| self.update(set.name_any(), Some(0)))
                .collect());
        }
        if self.old.iter().any(|set| has_pods(set, pods)) {
            return Ok(Vec::new());
        }
        let goal = wanted(self.deployment);
        match self.new {
            None => Ok(vec![self.create(goal, revision)?]),
            Some(new) if size(new) != goal => Ok(vec![self.update(new.name_any(), Some(goal))]),
            Some(_) => Ok(Vec::new()),
        }
    }

    fn create(&self, replicas: i32, revision: i64) -> Result<Step, serde_json::Error> {
        let spec = self.deployment.spec.clone().unwrap_or_default();
        let mut template = spec.template;
        let hash = short_hash(&template, self.reported().collision_count)?;
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(HASH_LABEL.into(), hash.clone());
        let labels = labels.clone();
        let mut selector = spec.selector;
        selector
            .match_labels
            .get_or_insert_default()
            .insert(HASH_LABEL.into(), hash.clone());
        let mut annotations = annotations::for_new(self.deployment, None, revision);
        annotations.extend(annotations::sizes(self.deployment));
        Ok(Step::Create(Box::new(ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", self.deployment.name_any())),
                namespace: self.deployment.namespace(),
                labels: Some(labels),
                annotations: Some(annotations),
                owner_references: Some(vec![controller_ref(self.deployment)]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(replicas),
                min_ready_seconds: spec.min_ready_seconds,
                selector,
                template: Some(template),
            }),
            status: None,
        })))
    }

    /// Old sets beyond the history limit, lowest revision first; only those that are empty for certain.
    fn cleanup(&self) -> Vec<Step> {
        let limit = self
            .deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.revision_history_limit)
            .unwrap_or(HISTORY);
        let mut sets: Vec<&&ReplicaSet> = self.old.iter().filter(|set| !is_deleting(**set)).collect();
        sets.sort_by_key(|set| annotations::revision(set));
        let surplus = sets.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        let is_empty = |set: &ReplicaSet| {
            let status = set.status.clone().unwrap_or_default();
            size(set) == 0 && status.replicas == 0 && status.observed_generation >= set.metadata.generation
        };
        sets.into_iter()
            .take(surplus)
            .filter(|set| is_empty(set))
            .map(|set| Step::Delete(set.name_any()))
            .collect()
    }
}

/// Pods of an old set still exist (even terminating): `Recreate` waits for the last of them.
fn has_pods(set: &ReplicaSet, pods: &[&Pod]) -> bool {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    set.status.as_ref().is_some_and(|status| status.replicas > 0)
        || pods.iter().any(|pod| is_controlled_by(*pod, uid) && !is_finished(pod))
}
