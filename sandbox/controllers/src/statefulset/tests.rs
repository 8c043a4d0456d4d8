#![allow(clippy::unwrap_used)]
use super::identity::{ordinal, revision_of};
use super::plan::{Plan, plan};
use crate::model::testing::{at, labels, pod, ready_pod, with_phase};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::json;

fn set(replicas: i32, more: &serde_json::Value) -> StatefulSet {
    let mut spec = json!({
        "replicas": replicas,
        "serviceName": "db",
        "selector": { "matchLabels": { "app": "a" } },
        "template": { "metadata": { "labels": { "app": "a" } }, "spec": { "containers": [{ "name": "c", "image": "one" }] } },
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let mut set = StatefulSet {
        spec: Some(serde_json::from_value(spec).unwrap()),
        ..StatefulSet::default()
    };
    set.metadata.name = Some("db".into());
    set.metadata.namespace = Some("ns".into());
    set.metadata.uid = Some("db".into());
    set
}

/// A cluster that obeys the plan; pods start when told.
struct World {
    set: StatefulSet,
    pods: Vec<Pod>,
    revisions: Vec<ControllerRevision>,
}

impl World {
    fn new(set: StatefulSet) -> Self {
        Self {
            set,
            pods: Vec::new(),
            revisions: Vec::new(),
        }
    }

    fn look(&self) -> Plan {
        let pods: Vec<&Pod> = self.pods.iter().collect();
        plan(&self.set, &pods, &self.revisions.iter().collect::<Vec<_>>(), at(1000)).unwrap()
    }

    fn step(&mut self) -> Plan {
        let plan = self.look();
        if let Some(mut revision) = plan.revision.clone() {
            self.revisions.retain(|known| known.name_any() != revision.name_any());
            revision.metadata.uid = Some(revision.name_any());
            self.revisions.push(revision);
        }
        for pod in &plan.delete {
            self.pods.retain(|known| known.name_any() != pod.name_any());
        }
        for pod in plan.create.clone() {
            let fresh = with_phase(pod, "Pending");
            self.pods.push(fresh);
        }
        self.set.status = Some(plan.status.clone());
        plan
    }

    fn start(&mut self, name: &str) {
        let pod = self.pods.iter_mut().find(|pod| pod.name_any() == name).unwrap();
        pod.status = ready_pod("x", at(10)).status;
    }

    fn settle(&mut self) -> Vec<String> {
        let mut order = Vec::new();
        for _ in 0..200 {
            let plan = self.step();
            order.extend(plan.delete.iter().map(|pod| format!("-{}", pod.name_any())));
            order.extend(plan.create.iter().map(|pod| format!("+{}", pod.name_any())));
            for name in self.names() {
                self.start(&name);
            }
            if plan.create.is_empty() && plan.delete.is_empty() && plan.status == self.look().status {
                return order;
            }
        }
        panic!("does not settle");
    }

    fn names(&self) -> Vec<String> {
        self.pods.iter().map(ResourceExt::name_any).collect()
    }

    fn change_image(&mut self, image: &str) {
        let template = &mut self.set.spec.as_mut().unwrap().template;
        template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
    }

    fn images(&self) -> Vec<String> {
        let mut pods: Vec<&Pod> = self.pods.iter().collect();
        pods.sort_by_key(|pod| pod.name_any());
        let image = |pod: &&Pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
        pods.iter().map(image).collect()
    }
}

#[test]
fn pods_come_in_order_each_after_the_one_before_is_ready() {
    let mut world = World::new(set(3, &json!({})));
    world.step();
    assert_eq!(world.names(), ["db-0"]);
    world.step();
    assert_eq!(world.names(), ["db-0"], "waits for db-0");
    assert_eq!(world.settle(), ["+db-1", "+db-2"]);
    let first = &world.pods[0];
    assert_eq!(first.labels()["statefulset.kubernetes.io/pod-name"], "db-0");
    assert_eq!(first.labels()["apps.kubernetes.io/pod-index"], "0");
    let spec = first.spec.as_ref().unwrap();
    assert_eq!(
        (spec.hostname.as_deref(), spec.subdomain.as_deref()),
        (Some("db-0"), Some("db"))
    );
    world.set.spec.as_mut().unwrap().replicas = Some(1);
    assert_eq!(world.settle(), ["-db-2", "-db-1"]);
}

#[test]
fn parallel_pods_come_and_go_at_once() {
    let mut world = World::new(set(
        3,
        &json!({ "podManagementPolicy": "Parallel", "ordinals": { "start": 5 } }),
    ));
    world.step();
    assert_eq!(world.names(), ["db-5", "db-6", "db-7"]);
    world.set.spec.as_mut().unwrap().replicas = Some(0);
    assert_eq!(world.step().delete.len(), 3);
}

#[test]
fn an_update_goes_from_the_last_to_the_first() {
    let mut world = World::new(set(3, &json!({})));
    world.settle();
    world.change_image("two");
    assert_eq!(world.settle(), ["-db-2", "+db-2", "-db-1", "+db-1", "-db-0", "+db-0"]);
    assert_eq!(world.images(), ["two", "two", "two"]);
    let status = world.set.status.unwrap();
    assert_eq!(status.current_revision, status.update_revision);
}

#[test]
fn an_update_stops_at_a_pod_that_does_not_come_up() {
    let mut world = World::new(set(3, &json!({})));
    world.settle();
    world.change_image("bad");
    for _ in 0..10 {
        world.step();
    }
    assert_eq!(world.images(), ["one", "one", "bad"]);
}

#[test]
fn the_partition_holds_pods_back_even_when_they_are_recreated() {
    let held = json!({ "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 2 } } });
    let mut world = World::new(set(3, &held));
    world.settle();
    world.change_image("two");
    world.settle();
    assert_eq!(world.images(), ["one", "one", "two"]);
    world.pods.retain(|pod| pod.name_any() != "db-0");
    world.settle();
    assert_eq!(world.images(), ["one", "one", "two"]);
    let status = world.set.status.unwrap();
    assert_eq!((status.current_replicas, status.updated_replicas), (Some(2), Some(1)));
}

#[test]
fn on_delete_waits_for_someone_to_delete() {
    let mut world = World::new(set(2, &json!({ "updateStrategy": { "type": "OnDelete" } })));
    world.settle();
    world.change_image("two");
    assert!(world.settle().is_empty());
    world.pods.retain(|pod| pod.name_any() != "db-0");
    world.settle();
    assert_eq!(world.images(), ["two", "one"]);
}

#[test]
fn failed_pods_make_way_and_terminating_ones_are_awaited() {
    let mut world = World::new(set(2, &json!({})));
    world.settle();
    world.pods[1] = with_phase(world.pods[1].clone(), "Failed");
    assert_eq!(world.settle(), ["-db-1", "+db-1"]);
    world.pods[0].metadata.deletion_timestamp = Some(Time(at(5)));
    let plan = world.look();
    assert!(plan.create.is_empty() && plan.delete.is_empty());
}

#[test]
fn claims_belong_to_pods_and_stay() {
    let more = json!({ "volumeClaimTemplates": [{ "metadata": { "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } }] });
    let mut world = World::new(set(1, &more));
    let plan = world.step();
    assert_eq!(plan.claims[0].name_any(), "data-db-0");
    assert!(plan.claims[0].metadata.owner_references.is_none());
    let volume = &plan.create[0].spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
    assert_eq!(volume.persistent_volume_claim.as_ref().unwrap().claim_name, "data-db-0");
}

#[test]
fn only_names_the_set_gives_count() {
    let set = set(1, &json!({}));
    for (name, expected) in [
        ("db-0", Some(0)),
        ("db-12", Some(12)),
        ("db-012", None),
        ("db-x", None),
        ("other-1", None),
    ] {
        assert_eq!(ordinal(&set, &pod(name)), expected, "{name}");
    }
}

#[test]
fn history_is_limited() {
    let mut world = World::new(set(1, &json!({ "revisionHistoryLimit": 1 })));
    world.settle();
    for image in ["two", "three", "four"] {
        world.change_image(image);
        world.settle();
    }
    let expired = world.look().expired;
    assert_eq!(world.revisions.len() - expired.len(), 2, "the one in use and one more");
    assert!(
        expired
            .iter()
            .all(|revision| revision.name_any() != revision_of(&world.pods[0]))
    );
}

#[test]
fn the_revision_of_the_present_template_has_a_number_of_its_own() {
    let mut world = World::new(set(1, &json!({})));
    world.settle();
    let mut late = world.revisions[0].clone();
    late.metadata.name = Some("db-late".into());
    world.revisions.push(late);
    world.settle();
    let numbers: Vec<i64> = world.revisions.iter().map(|revision| revision.revision).collect();
    assert_eq!(numbers, [1, 2], "the late one first, the renumbered one after it");
    assert_eq!(world.look().revision, None);
}

proptest! {
    /// Ordered: a pod is created only when all before it are ready, at most one is created or deleted at a time, and
    /// whatever the cluster looks like it ends up with exactly the wanted names.
    #[test]
    fn order_is_kept(
        present in prop::collection::vec((0i32..8, 0usize..4), 0..8),
        replicas in 0i32..7,
    ) {
        let mut world = World::new(set(8, &json!({})));
        world.settle();
        world.pods.retain(|pod| present.iter().any(|(ordinal, _)| pod.name_any() == format!("db-{ordinal}")));
        for (ordinal, state) in present {
            let found = world.pods.iter_mut().find(|pod| pod.name_any() == format!("db-{ordinal}"));
            if let (Some(pod), 1..) = (found, state) {
                *pod = with_phase(pod.clone(), ["Running", "Pending", "Failed", "Succeeded"][state]);
            }
        }
        world.set.spec.as_mut().unwrap().replicas = Some(replicas);
        for _ in 0..60 {
            let ready: Vec<String> = world.pods.iter()
                .filter(|pod| pod.status.as_ref().unwrap().phase.as_deref() == Some("Running"))
                .map(ResourceExt::name_any).collect();
            let plan = world.step();
            prop_assert!(plan.create.len() + plan.delete.len() <= 1);
            for pod in &plan.create {
                let own = ordinal(&world.set, pod).unwrap();
                let all_before = (0..own).all(|before| ready.contains(&format!("db-{before}")));
                prop_assert!(all_before);
            }
            for name in world.names() {
                world.start(&name);
            }
        }
        let mut names = world.names();
        names.sort();
        let wanted: Vec<String> = (0..replicas).map(|ordinal| format!("db-{ordinal}")).collect();
        prop_assert_eq!(names, wanted);
    }
}

#[test]
fn strangers_with_matching_labels_are_adopted() {
    let mut world = World::new(set(1, &json!({})));
    let mut orphan = ready_pod("db-0", at(10));
    orphan.metadata.labels = Some(labels(&[("app", "a")]));
    world.pods.push(orphan);
    assert_eq!(world.look().adopt.len(), 1);
}
