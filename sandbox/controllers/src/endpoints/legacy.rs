//! The older Endpoints object, for clients that still read it.

use super::address::{hostname, ip, is_listed, publishes_not_ready, reference};
use super::ports::of_pod;
use crate::model::meta::{controller_ref, is_deleting};
use crate::model::pod::{is_ready, node_name};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointPort as SlicePort;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

/// The Endpoints of `service`: subsets of pods with the same ports. Terminating pods are not part of it.
pub(super) fn endpoints(service: &Service, pods: &[&Pod]) -> Endpoints {
    let mut subsets: Vec<EndpointSubset> = Vec::new();
    let live = |pod: &&&Pod| is_listed(pod) && (publishes_not_ready(service) || !is_deleting(**pod));
    for pod in pods.iter().filter(live) {
        let ports: Vec<EndpointPort> = of_pod(service, Some(pod)).into_iter().map(port).collect();
        let address = EndpointAddress {
            ip: ip(pod).unwrap_or_default().into(),
            hostname: hostname(service, pod),
            node_name: Some(node_name(pod).to_owned()).filter(|node| !node.is_empty()),
            target_ref: Some(reference(pod)),
        };
        let at = subsets
            .iter()
            .position(|subset| subset.ports.as_ref() == Some(&ports))
            .unwrap_or_else(|| {
                subsets.push(EndpointSubset {
                    ports: Some(ports),
                    ..EndpointSubset::default()
                });
                subsets.len() - 1
            });
        let ready = publishes_not_ready(service) || is_ready(pod);
        let subset = &mut subsets[at];
        let list = if ready {
            &mut subset.addresses
        } else {
            &mut subset.not_ready_addresses
        };
        list.get_or_insert_default().push(address);
    }
    Endpoints {
        metadata: ObjectMeta {
            name: Some(service.name_any()),
            namespace: service.namespace(),
            labels: Some(service.labels().clone()).filter(|labels| !labels.is_empty()),
            owner_references: Some(vec![controller_ref(service)]),
            ..ObjectMeta::default()
        },
        subsets: Some(subsets).filter(|subsets| !subsets.is_empty()),
    }
}

fn port(port: SlicePort) -> EndpointPort {
    EndpointPort {
        app_protocol: port.app_protocol,
        name: port.name.filter(|name| !name.is_empty()),
        port: port.port.unwrap_or_default(),
        protocol: port.protocol,
    }
}
