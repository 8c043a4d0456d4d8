//! A rollout simulated step by step: the plan against a ReplicaSet controller and pods that become ready by chance.

#![allow(clippy::unwrap_used)]
use super::plan::{Plan, Step, plan};
use super::status::condition;
use super::{available, bounds, size};
use crate::model::testing::{at, labels, pod};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, ReplicaSet, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use proptest::prelude::*;

pub(super) fn template(image: &str) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels(&[("app", "a")])),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![Container {
                name: "c".into(),
                image: Some(image.into()),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
    }
}

pub(super) fn deployment(replicas: i32, surge: IntOrString, unavailable: IntOrString) -> Deployment {
    let rolling = RollingUpdateDeployment {
        max_surge: Some(surge),
        max_unavailable: Some(unavailable),
    };
    Deployment {
        metadata: ObjectMeta {
            name: Some("d".into()),
            namespace: Some("ns".into()),
            uid: Some("d".into()),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            selector: LabelSelector {
                match_labels: Some(labels(&[("app", "a")])),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(rolling),
            }),
            template: template("one"),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// The cluster a Deployment sees: its sets, whose status lags behind unless told to catch up.
pub(super) struct World {
    pub(super) deployment: Deployment,
    pub(super) sets: Vec<ReplicaSet>,
    pub(super) second: i64,
}

impl World {
    pub(super) fn new(deployment: Deployment) -> Self {
        Self {
            deployment,
            sets: Vec::new(),
            second: 0,
        }
    }

    pub(super) fn step(&mut self) -> Plan {
        self.second += 1;
        let plan = plan(
            &self.deployment,
            &self.sets.iter().collect::<Vec<_>>(),
            &[],
            at(self.second),
        )
        .unwrap();
        for step in plan.steps.clone() {
            match step {
                Step::Create(mut set) => {
                    set.metadata.uid = Some(set.name_any());
                    set.metadata.creation_timestamp = Some(Time(at(self.second)));
                    self.sets.push(*set);
                }
                Step::Update {
                    name,
                    replicas,
                    annotations,
                    ..
                } => {
                    let set = self.sets.iter_mut().find(|set| set.name_any() == name).unwrap();
                    set.metadata.annotations.get_or_insert_default().extend(annotations);
                    let spec = set.spec.as_mut().unwrap();
                    spec.replicas = replicas.or(spec.replicas);
                }
                Step::Delete(name) => self.sets.retain(|set| set.name_any() != name),
            }
        }
        self.deployment.status = Some(plan.status.clone());
        plan
    }

    /// The ReplicaSet controller catches up; of the pods of set `index`, at most `ready` are available.
    pub(super) fn catch_up(&mut self, index: usize, ready: i32) {
        let set = &mut self.sets[index];
        let size = size(set);
        let status = set.status.get_or_insert_default();
        status.replicas = size;
        status.ready_replicas = Some(ready.min(size));
        status.available_replicas = Some(ready.min(size));
    }

    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            for index in 0..self.sets.len() {
                self.catch_up(index, i32::MAX);
            }
            if self.step().steps.is_empty() {
                return;
            }
        }
        panic!("the rollout does not end");
    }

    fn change_image(&mut self, image: &str) {
        self.deployment.spec.as_mut().unwrap().template = template(image);
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(size).collect()
    }

    fn progressing(&self) -> (String, String) {
        let condition = condition(self.deployment.status.as_ref().unwrap(), "Progressing").unwrap();
        (condition.status.clone(), condition.reason.clone().unwrap())
    }
}

fn percent(value: u32) -> IntOrString {
    IntOrString::String(format!("{value}%"))
}

#[test]
fn a_rollout_completes_and_keeps_history() {
    let mut world = World::new(deployment(4, percent(25), percent(25)));
    world.deployment.spec.as_mut().unwrap().revision_history_limit = Some(1);
    world.settle();
    assert_eq!(world.sizes(), [4]);
    assert_eq!(world.progressing(), ("True".into(), "NewReplicaSetAvailable".into()));
    for image in ["two", "three"] {
        world.change_image(image);
        world.settle();
    }
    assert_eq!(world.sizes(), [0, 4], "one old set is kept, the other gone");
    let status = world.deployment.status.clone().unwrap();
    assert_eq!((status.updated_replicas, status.available_replicas), (Some(4), Some(4)));
    assert_eq!(world.sets[1].annotations()["deployment.kubernetes.io/revision"], "3");
}

#[test]
fn rolling_back_gives_the_old_set_a_new_revision() {
    let mut world = World::new(deployment(2, percent(25), percent(25)));
    world.settle();
    world.change_image("two");
    world.settle();
    world.change_image("one");
    world.settle();
    assert_eq!(world.sizes(), [2, 0]);
    assert_eq!(world.sets[0].annotations()["deployment.kubernetes.io/revision"], "3");
    assert_eq!(
        world.sets[0].annotations()["deployment.kubernetes.io/revision-history"],
        "1"
    );
}

#[test]
fn a_bad_image_stalls_and_the_deadline_passes() {
    let mut world = World::new(deployment(4, percent(25), percent(25)));
    world.deployment.spec.as_mut().unwrap().progress_deadline_seconds = Some(30);
    world.settle();
    world.change_image("bad");
    for _ in 0..60 {
        world.step();
        world.catch_up(0, i32::MAX);
        if world.sets.len() > 1 {
            world.catch_up(1, 0);
        }
    }
    assert_eq!(world.sizes(), [3, 2], "never below three available, never above five");
    assert_eq!(world.progressing(), ("False".into(), "ProgressDeadlineExceeded".into()));
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let mut world = World::new(deployment(2, percent(25), percent(25)));
    world.deployment.spec.as_mut().unwrap().strategy = Some(DeploymentStrategy {
        type_: Some("Recreate".into()),
        rolling_update: None,
    });
    world.settle();
    world.change_image("two");
    world.step();
    assert_eq!(world.sizes(), [0]);
    world.catch_up(0, 0);
    let mut last = pod("last");
    last.metadata.owner_references = Some(vec![crate::model::meta::controller_ref(&world.sets[0])]);
    let waiting = plan(&world.deployment, &[&world.sets[0]], &[&last], at(99)).unwrap();
    assert!(waiting.steps.is_empty());
    world.settle();
    assert_eq!(world.sizes(), [0, 2]);
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    let mut world = World::new(deployment(10, IntOrString::Int(3), IntOrString::Int(2)));
    world.settle();
    world.change_image("bad");
    for _ in 0..10 {
        world.step();
        world.catch_up(0, i32::MAX);
    }
    assert_eq!(world.sizes(), [8, 5]);
    world.deployment.spec.as_mut().unwrap().replicas = Some(15);
    world.step();
    assert_eq!(world.sizes(), [11, 7], "as in the Kubernetes documentation's example");
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = World::new(deployment(2, percent(25), percent(25)));
    world.settle();
    world.deployment.spec.as_mut().unwrap().paused = Some(true);
    world.change_image("two");
    world.settle();
    assert_eq!(world.sizes(), [2]);
    assert_eq!(world.progressing(), ("Unknown".into(), "DeploymentPaused".into()));
    world.deployment.spec.as_mut().unwrap().replicas = Some(3);
    world.settle();
    assert_eq!(world.sizes(), [3]);
}

#[test]
fn a_second_look_writes_nothing() {
    let mut world = World::new(deployment(3, percent(25), percent(25)));
    world.settle();
    let before = world.deployment.status.clone();
    let plan = world.step();
    assert!(plan.steps.is_empty());
    assert_eq!(Some(plan.status), before);
}

/// The promise of a rolling update: at most `surge` pods too many, and no step that takes an available pod away below
/// `replicas - unavailable`.
fn within(replicas: i32, (surge, unavailable): (i32, i32), total: i32, before: i32, after: i32) -> bool {
    total <= replicas + surge && after >= (replicas - unavailable).min(before)
}

/// The check above can fail: `Recreate` breaks a rolling update's promise in its first step.
#[test]
fn recreate_would_break_the_bounds_of_a_rolling_update() {
    let mut world = World::new(deployment(4, percent(25), percent(25)));
    world.settle();
    let promised = bounds(&world.deployment);
    world.deployment.spec.as_mut().unwrap().strategy = Some(DeploymentStrategy {
        type_: Some("Recreate".into()),
        rolling_update: None,
    });
    world.change_image("two");
    world.step();
    let after: i32 = world.sets.iter().map(available).sum();
    assert!(!within(4, promised, world.sizes().iter().sum(), 4, after));
}

proptest! {
    /// Whatever pods come and go, a rollout never has more than replicas + surge pods, never takes away an available
    /// pod below replicas - unavailable, and ends once all pods work.
    #[test]
    fn a_rollout_stays_within_its_bounds(
        replicas in 1i32..12, surge in 0u32..101, unavailable in 0u32..101,
        events in prop::collection::vec((0usize..3, 0i32..14, 0u32..6), 1..80),
    ) {
        let mut world = World::new(deployment(replicas, percent(surge), percent(unavailable)));
        world.settle();
        let (surge, unavailable) = bounds(&world.deployment);
        let mut images = 0;
        for (index, ready, change) in events {
            if change == 0 {
                images += 1;
                world.change_image(&format!("image-{images}"));
            }
            if let Some(set) = world.sets.get(index) {
                // Pods become available; they do not break (a broken pod lowers availability without the rollout).
                let ready = ready.max(available(set));
                world.catch_up(index, ready);
            }
            let before: i32 = world.sets.iter().map(available).sum();
            world.step();
            let after: i32 = world.sets.iter().map(available).sum();
            let total: i32 = world.sizes().iter().sum();
            prop_assert!(within(replicas, (surge, unavailable), total, before, after), "{total}: {before} -> {after}");
        }
        world.settle();
        prop_assert_eq!(world.sizes().iter().sum::<i32>(), replicas);
    }
}
