//! Definitions of the resources, for a cluster in which Chaos Mesh itself is not installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{DNSChaos, HTTPChaos, IOChaos, NetworkChaos, PodChaos, PodNetworkChaos, StressChaos, TimeChaos};

/// One definition a kind. They accept what these bindings can say, which is less than Chaos Mesh's own definitions do:
/// do not install them where Chaos Mesh is.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut experiments = vec![
        PodChaos::crd(),
        NetworkChaos::crd(),
        StressChaos::crd(),
        IOChaos::crd(),
        HTTPChaos::crd(),
        DNSChaos::crd(),
        TimeChaos::crd(),
    ];
    // The derive takes a status for a status subresource; Chaos Mesh writes it through the object.
    for version in experiments.iter_mut().flat_map(|crd| &mut crd.spec.versions) {
        version.subresources = None;
    }
    experiments.push(PodNetworkChaos::crd());
    experiments
}
