//! Pods from templates.

use crate::model::meta::controller_ref;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

/// A pod as `owner` would create it from `template`; the server completes the generated name.
pub(crate) fn pod_from_template<K: Resource<DynamicType = ()>>(owner: &K, template: &PodTemplateSpec) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    let name = owner.meta().name.as_deref().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            namespace: owner.meta().namespace.clone(),
            generate_name: Some(format!("{name}-")),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_ref(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Whether two templates ask for the same pods, `ignored` label apart.
pub(crate) fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec, ignored: &str) -> bool {
    let without = |template: &PodTemplateSpec| {
        let mut template = template.clone();
        let meta = template.metadata.get_or_insert_default();
        // The server drops or sets these at will; an empty map and none are the same thing.
        meta.creation_timestamp = None;
        meta.labels.get_or_insert_default().remove(ignored);
        meta.annotations.get_or_insert_default();
        template
    };
    without(a) == without(b)
}
