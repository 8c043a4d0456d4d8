//! The scale subresource of whatever an autoscaler points at.

use crate::context::within;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

/// What a scale says.
pub(super) struct Scale {
    pub(super) spec_replicas: i32,
    pub(super) status_replicas: i32,
    /// `status.selector`; empty if there is none.
    pub(super) selector: String,
    /// The version of the target.
    pub(super) version: Option<String>,
}

fn api(client: &Client, hpa: &HorizontalPodAutoscaler) -> Api<DynamicObject> {
    let target = &hpa.spec.scale_target_ref;
    let version = target.api_version.as_deref().unwrap_or("v1");
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    // The plural is derived from the kind by English rules, which hold for every built-in kind with a scale.
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &target.kind));
    Api::namespaced_with(client.clone(), &hpa.namespace().unwrap_or_default(), &resource)
}

pub(super) async fn read(client: &Client, hpa: &HorizontalPodAutoscaler) -> Result<Scale, kube::Error> {
    let scale = within(api(client, hpa).get_scale(&hpa.spec.scale_target_ref.name)).await?;
    let status = scale.status.unwrap_or_default();
    Ok(Scale {
        version: scale.metadata.resource_version,
        spec_replicas: scale.spec.and_then(|spec| spec.replicas).unwrap_or(0),
        status_replicas: status.replicas,
        selector: status.selector.unwrap_or_default(),
    })
}

/// Writes a size, on condition that nobody wrote the target since `version`.
pub(super) async fn write(
    client: &Client,
    hpa: &HorizontalPodAutoscaler,
    replicas: i32,
    version: Option<&str>,
    manager: &str,
) -> Result<(), kube::Error> {
    let params = PatchParams {
        field_manager: Some(manager.into()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({ "metadata": { "resourceVersion": version }, "spec": { "replicas": replicas } }));
    within(api(client, hpa).patch_scale(&hpa.spec.scale_target_ref.name, &params, &patch))
        .await
        .map(drop)
}
