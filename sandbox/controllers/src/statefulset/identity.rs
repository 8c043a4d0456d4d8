//! Stable names: pods by ordinal, and the volume claims that belong to them.

use crate::model::template::pod_from_template;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use kube::ResourceExt;

/// Carries the name of the pod's ControllerRevision.
pub(crate) const REVISION_LABEL: &str = "controller-revision-hash";
const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// The first ordinal and the number of pods wanted.
pub(crate) fn range(set: &StatefulSet) -> std::ops::Range<i32> {
    let spec = set.spec.as_ref();
    let start = spec.and_then(|spec| spec.ordinals.as_ref()?.start).unwrap_or(0);
    start..start + spec.and_then(|spec| spec.replicas).unwrap_or(1).max(0)
}

/// The ordinal in a pod's name, if it is a name this set gives.
pub(crate) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let name = pod.name_any();
    let digits = name.strip_prefix(&set.name_any())?.strip_prefix('-')?;
    let ordinal: i32 = digits.parse().ok().filter(|ordinal| *ordinal >= 0)?;
    (ordinal.to_string() == digits).then_some(ordinal)
}

pub(crate) fn revision_of(pod: &Pod) -> &str {
    pod.labels().get(REVISION_LABEL).map_or("", String::as_str)
}

/// The pod with this ordinal.
pub(crate) fn pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let mut pod = pod_from_template(set, template);
    let name = format!("{}-{ordinal}", set.name_any());
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME_LABEL.into(), name.clone());
    labels.insert(INDEX_LABEL.into(), ordinal.to_string());
    labels.insert(REVISION_LABEL.into(), revision.into());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name);
    spec.subdomain = set.spec.as_ref().and_then(|spec| spec.service_name.clone());
    let volumes = spec.volumes.get_or_insert_default();
    for (template, claim) in claim_names(set, ordinal) {
        volumes.retain(|volume| volume.name != template);
        let source = PersistentVolumeClaimVolumeSource {
            claim_name: claim,
            read_only: None,
        };
        volumes.push(Volume {
            name: template,
            persistent_volume_claim: Some(source),
            ..Volume::default()
        });
    }
    if volumes.is_empty() {
        spec.volumes = None;
    }
    pod
}

/// (volume, claim) names of one pod.
fn claim_names(set: &StatefulSet, ordinal: i32) -> Vec<(String, String)> {
    let templates = set
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_claim_templates.as_deref())
        .unwrap_or_default();
    let name = |template: &PersistentVolumeClaim| template.name_any();
    templates
        .iter()
        .map(|claim| (name(claim), format!("{}-{}-{ordinal}", name(claim), set.name_any())))
        .collect()
}

/// The claims of one pod. They carry no owner: data outlives the set.
pub(crate) fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let spec = set.spec.clone().unwrap_or_default();
    let names = claim_names(set, ordinal);
    let templates = spec.volume_claim_templates.unwrap_or_default().into_iter().zip(names);
    templates
        .map(|(mut claim, (_, name))| {
            claim.metadata.name = Some(name);
            claim.metadata.namespace = set.namespace();
            let labels = claim.metadata.labels.get_or_insert_default();
            labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
            claim.status = None;
            claim
        })
        .collect()
}
