//! One pod as an endpoint.

use crate::model::meta::is_deleting;
use crate::model::pod::{is_finished, is_ready, node_name};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions};
use kube::ResourceExt;

pub(crate) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

pub(crate) fn ip(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref().filter(|ip| !ip.is_empty())
}

/// Has an address and has not run to its end. Terminating pods stay listed: they may still be serving.
pub(crate) fn is_listed(pod: &Pod) -> bool {
    ip(pod).is_some() && !is_finished(pod)
}

pub(crate) fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.namespace(),
        name: Some(pod.name_any()),
        uid: pod.uid(),
        ..ObjectReference::default()
    }
}

/// The pod's name in DNS, where the Service governs it.
pub(crate) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let governed = spec.subdomain.as_deref() == Some(service.name_any().as_str());
    spec.hostname.clone().filter(|_| governed)
}

/// `zone_of` looks up a node's zone.
pub(crate) fn endpoint(service: &Service, pod: &Pod, zone_of: &dyn Fn(&str) -> Option<String>) -> Endpoint {
    let serving = is_ready(pod);
    let terminating = is_deleting(pod);
    let node = Some(node_name(pod)).filter(|node| !node.is_empty());
    Endpoint {
        addresses: ip(pod).map(str::to_owned).into_iter().collect(),
        conditions: Some(EndpointConditions {
            ready: Some(publishes_not_ready(service) || serving && !terminating),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        node_name: node.map(str::to_owned),
        target_ref: Some(reference(pod)),
        zone: node.and_then(zone_of),
        ..Endpoint::default()
    }
}
