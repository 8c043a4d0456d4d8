//! What each kind of experiment does to its targets.

use super::rules::{impairment, rules};
use crate::NodeRuntime;
use crate::key::PodKey;
use chaos_mesh_rs::kinds::Experiment;
use chaos_mesh_rs::kinds::pod::PodAction;
use chaos_mesh_rs::selector::{Mode, PodSelector};
use chaos_mesh_rs::status::{INJECTED, Record};
use chaos_mesh_rs::{NetworkChaos, PodChaos};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use std::collections::BTreeSet;
use std::future::Future;

/// What a failed pod runs instead of its own image. It must be a pause image of the node's table.
const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.9";
/// Where a failed pod's own images are kept, by container.
const ORIGINAL_IMAGE: &str = "original-image.chaos-mesh.org/";
/// Attempts to change a pod that others change too.
const ATTEMPTS: usize = 5;

/// One selector of a spec: its key in the records, the selector, the mode and its value.
pub(super) type Selection<'a> = (&'static str, &'a PodSelector, Mode, Option<&'a str>);

/// A kind of experiment that this runtime can carry out.
pub(super) trait Fault: Experiment + ResourceExt + Send + Sync {
    /// Its kind, for events.
    fn kind_name(&self) -> &'static str;
    /// Why the spec cannot be carried out here, if so.
    fn refusal(&self) -> Option<String>;
    /// Its selectors. All must match something.
    fn selections(&self) -> Vec<Selection<'_>>;
    /// The ids of the records for one chosen pod.
    fn targets(&self, pod: &Pod) -> Vec<String>;
    /// Injects one record.
    fn inject(&self, runtime: &NodeRuntime, record: &Record) -> impl Future<Output = Result<(), String>> + Send;
    /// Recovers one record.
    fn recover(&self, runtime: &NodeRuntime, record: &Record) -> impl Future<Output = Result<(), String>> + Send;
    /// Makes whatever the records share agree with them. Called after every change and at every look: it is idempotent.
    fn settle(&self, runtime: &NodeRuntime, records: &[Record]);
}

fn pod_id(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

fn key(record: &Record) -> Result<PodKey, String> {
    let (namespace, name) = record.pod().ok_or_else(|| format!("`{}` is no record id", record.id))?;
    Ok(PodKey::new(namespace, name))
}

impl Fault for NetworkChaos {
    fn kind_name(&self) -> &'static str {
        "NetworkChaos"
    }

    fn refusal(&self) -> Option<String> {
        impairment(&self.spec).err().map(|error| error.to_string())
    }

    fn selections(&self) -> Vec<Selection<'_>> {
        let mut all = vec![(".", &self.spec.selector, self.spec.mode, self.spec.value.as_deref())];
        if let Some(target) = &self.spec.target {
            all.push((".Target", &target.selector, target.mode, target.value.as_deref()));
        }
        all
    }

    fn targets(&self, pod: &Pod) -> Vec<String> {
        vec![pod_id(pod)]
    }

    // The rules name all records at once; `settle` makes them.
    async fn inject(&self, _: &NodeRuntime, record: &Record) -> Result<(), String> {
        key(record).map(|_| ())
    }

    async fn recover(&self, _: &NodeRuntime, record: &Record) -> Result<(), String> {
        key(record).map(|_| ())
    }

    fn settle(&self, runtime: &NodeRuntime, records: &[Record]) {
        let pods = |selector: &str| -> BTreeSet<PodKey> {
            let chosen = records
                .iter()
                .filter(|r| r.selector_key == selector && r.phase == INJECTED);
            chosen.filter_map(|record| key(record).ok()).collect()
        };
        let name = format!(
            "NetworkChaos/{}/{}",
            self.namespace().unwrap_or_default(),
            self.name_any()
        );
        // A spec that makes no rules was refused before it had records.
        let rules = rules(&self.spec, &pods("."), &pods(".Target")).unwrap_or_default();
        runtime.network().set_fault(&name, rules);
    }
}

impl Fault for PodChaos {
    fn kind_name(&self) -> &'static str {
        "PodChaos"
    }

    fn refusal(&self) -> Option<String> {
        (self.spec.action == PodAction::PodKill && self.spec.grace_period < 0)
            .then(|| "spec.gracePeriod must not be negative".to_owned())
    }

    fn selections(&self) -> Vec<Selection<'_>> {
        vec![(".", &self.spec.selector, self.spec.mode, self.spec.value.as_deref())]
    }

    fn targets(&self, pod: &Pod) -> Vec<String> {
        let id = pod_id(pod);
        if self.spec.action != PodAction::ContainerKill {
            return vec![id];
        }
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        containers
            .filter(|container| {
                self.spec.container_names.is_empty() || self.spec.container_names.contains(&container.name)
            })
            .map(|container| format!("{id}/{}", container.name))
            .collect()
    }

    async fn inject(&self, runtime: &NodeRuntime, record: &Record) -> Result<(), String> {
        let pod = key(record)?;
        let api: Api<Pod> = Api::namespaced(runtime.client().clone(), &pod.namespace);
        match self.spec.action {
            PodAction::PodKill => {
                let grace = u32::try_from(self.spec.grace_period).unwrap_or(0);
                match api
                    .delete(&pod.name, &DeleteParams::default().grace_period(grace))
                    .await
                {
                    Ok(_) => Ok(()),
                    Err(error) => Err(error.to_string()),
                }
            }
            PodAction::PodFailure => change_pod(&api, &pod.name, fail).await,
            PodAction::ContainerKill => {
                let container = record.id.rsplit('/').next().unwrap_or_default();
                if runtime.kill_container(&pod, container) {
                    Ok(())
                } else {
                    Err(format!("container {container} of pod {pod} is not running"))
                }
            }
        }
    }

    async fn recover(&self, runtime: &NodeRuntime, record: &Record) -> Result<(), String> {
        if self.spec.action != PodAction::PodFailure {
            return Ok(());
        }
        let pod = key(record)?;
        let api: Api<Pod> = Api::namespaced(runtime.client().clone(), &pod.namespace);
        change_pod(&api, &pod.name, heal).await
    }

    fn settle(&self, _: &NodeRuntime, _: &[Record]) {}
}

/// Gives every container the pause image and remembers its own.
fn fail(pod: &mut Pod) {
    let annotations = pod.metadata.annotations.get_or_insert_default();
    for container in pod.spec.iter_mut().flat_map(|spec| &mut spec.containers) {
        let image = container.image.get_or_insert_default();
        // Another experiment may have been here first; the image it found is the pod's own.
        annotations
            .entry(format!("{ORIGINAL_IMAGE}{}", container.name))
            .or_insert_with(|| image.clone());
        PAUSE_IMAGE.clone_into(image);
    }
}

/// Gives every container its own image back.
fn heal(pod: &mut Pod) {
    let Some(annotations) = pod.metadata.annotations.as_mut() else {
        return;
    };
    for container in pod.spec.iter_mut().flat_map(|spec| &mut spec.containers) {
        if let Some(image) = annotations.remove(&format!("{ORIGINAL_IMAGE}{}", container.name)) {
            container.image = Some(image);
        }
    }
}

/// Reads, changes and writes a pod, again if somebody else wrote between. A pod that is gone needs no change.
async fn change_pod(api: &Api<Pod>, name: &str, change: impl Fn(&mut Pod)) -> Result<(), String> {
    for _ in 0..ATTEMPTS {
        let Some(mut pod) = api.get_opt(name).await.map_err(|error| error.to_string())? else {
            return Ok(());
        };
        change(&mut pod);
        match api.replace(name, &PostParams::default(), &pod).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Err(format!("pod {name} changes too fast"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn failing_twice_and_healing_gives_the_first_images_back() {
        let original: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "annotations": {"kept": "1"}},
            "spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:2"}]}}))
        .unwrap();
        let mut pod = original.clone();
        fail(&mut pod);
        fail(&mut pod);
        assert!(
            pod.spec
                .as_ref()
                .unwrap()
                .containers
                .iter()
                .all(|c| c.image.as_deref() == Some(PAUSE_IMAGE))
        );
        heal(&mut pod);
        assert_eq!(pod, original);
        heal(&mut pod);
        assert_eq!(pod, original);
    }

    #[test]
    fn container_kills_have_a_record_a_container() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}]}}))
        .unwrap();
        let targets = |names: &[&str]| {
            let chaos: PodChaos = serde_json::from_value(json!({"metadata": {"name": "c"},
                "spec": {"selector": {}, "mode": "all", "action": "container-kill", "containerNames": names}}))
            .unwrap();
            chaos.targets(&pod)
        };
        assert_eq!(targets(&[]), ["ns/p/a", "ns/p/b"]);
        assert_eq!(targets(&["b"]), ["ns/p/b"]);
    }
}
