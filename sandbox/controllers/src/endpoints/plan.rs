//! The decision: which slices a Service should have.

use super::address::{endpoint, ip, is_listed};
use super::ports::of_pod;
use crate::model::hash::short_hash;
use crate::model::meta::controller_ref;
use crate::model::same::same;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Endpoints per slice, as upstream.
const MOST: usize = 100;
pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";
pub(crate) const MANAGED_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
pub(crate) const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Endpoints with the same ports, by address family and a hash of the ports.
type Groups<'a> = BTreeMap<(&'a str, String), (Vec<EndpointPort>, Vec<Endpoint>)>;

/// Slices to create, to replace, to delete; in that order, so that no address vanishes on the way.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) create: Vec<EndpointSlice>,
    pub(crate) replace: Vec<EndpointSlice>,
    pub(crate) delete: Vec<EndpointSlice>,
}

/// The pods a Service selects; a Service without selector is managed by someone else (`None`).
pub(crate) fn selected<'a>(service: &Service, pods: &[&'a Pod]) -> Option<Vec<&'a Pod>> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let matches = |pod: &&&Pod| selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
    let mut pods: Vec<&Pod> = pods.iter().filter(matches).copied().collect();
    pods.sort_by_key(|pod| pod.name_any());
    Some(pods)
}

/// Whether this controller wrote the slice, for `service`.
pub(crate) fn is_ours(slice: &EndpointSlice, service: &str) -> bool {
    let label = |key: &str| slice.labels().get(key).map(String::as_str);
    label(MANAGED_LABEL) == Some(MANAGER) && label(SERVICE_LABEL) == Some(service)
}

/// Decides from the selected pods and our present slices.
pub(crate) fn plan(
    service: &Service,
    pods: &[&Pod],
    present: &[&EndpointSlice],
    zone_of: &dyn Fn(&str) -> Option<String>,
) -> Result<Plan, serde_json::Error> {
    let mut groups: Groups<'_> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| is_listed(pod)) {
        let ports = of_pod(service, Some(pod));
        let family = if ip(pod).is_some_and(|ip| ip.contains(':')) {
            "IPv6"
        } else {
            "IPv4"
        };
        let key = (family, short_hash(&ports, None)?);
        groups
            .entry(key)
            .or_insert_with(|| (ports, Vec::new()))
            .1
            .push(endpoint(service, pod, zone_of));
    }
    let mut wanted: Vec<EndpointSlice> = Vec::new();
    for ((family, hash), (ports, endpoints)) in groups {
        for (index, chunk) in endpoints.chunks(MOST).enumerate() {
            let suffix = if index == 0 { String::new() } else { format!("-{index}") };
            let name = format!(
                "{}-{}{hash}{suffix}",
                service.name_any(),
                if family == "IPv6" { "v6-" } else { "" }
            );
            wanted.push(slice(service, name, family, ports.clone(), chunk.to_vec()));
        }
    }
    if wanted.is_empty() {
        // An empty slice says "nobody" where none at all would say "unknown". Emptying the one that is there saves
        // readers from seeing one vanish and another appear.
        wanted.push(if let Some(one) = present.first() {
            let ports = one.ports.clone().unwrap_or_default();
            slice(service, one.name_any(), &one.address_type, ports, Vec::new())
        } else {
            let ports = of_pod(service, None);
            let name = format!("{}-{}", service.name_any(), short_hash(&ports, None)?);
            slice(service, name, "IPv4", ports, Vec::new())
        });
    }
    let mut plan = Plan::default();
    let mut left: Vec<&EndpointSlice> = present.to_vec();
    for mut slice in wanted {
        let Some(at) = left.iter().position(|known| known.name_any() == slice.name_any()) else {
            plan.create.push(slice);
            continue;
        };
        let known = left.swap_remove(at);
        let labelled = slice
            .labels()
            .iter()
            .all(|(key, value)| known.labels().get(key) == Some(value));
        if same(&known.endpoints, &slice.endpoints) && same(&known.ports, &slice.ports) && labelled {
            continue;
        }
        slice.metadata.resource_version = known.resource_version();
        slice.metadata.uid = known.uid();
        plan.replace.push(slice);
    }
    plan.delete = left.into_iter().cloned().collect();
    Ok(plan)
}

fn slice(
    service: &Service,
    name: String,
    family: &str,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let mut labels = service.labels().clone();
    labels.insert(SERVICE_LABEL.into(), service.name_any());
    labels.insert(MANAGED_LABEL.into(), MANAGER.into());
    if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert("service.kubernetes.io/headless".into(), String::new());
    }
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: service.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![controller_ref(service)]),
            ..ObjectMeta::default()
        },
        address_type: family.into(),
        endpoints: Some(endpoints),
        ports: Some(ports),
    }
}
