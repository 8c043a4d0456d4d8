//! Services and their endpoints, as a pure table the proxies look things up in.

use super::ReportedAddresses;
use crate::key::{PodKey, ServiceKey};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The label that ties an EndpointSlice to its Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// One place a connection can go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// The endpoint's address.
    pub ip: Ipv4Addr,
    /// The endpoint's port.
    pub port: u16,
    /// The pod behind it, if the slice names one.
    pub pod: Option<PodKey>,
    /// The endpoint's hostname within a headless Service.
    pub hostname: Option<String>,
}

/// What the network knows of one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceEntry {
    /// ClusterIP addresses within 127.0.0.0/8, for callers outside any pod.
    pub cluster_ips: Vec<Ipv4Addr>,
    /// Load-balancer ingress addresses within 127.0.0.0/8.
    pub ingress_ips: Vec<Ipv4Addr>,
    /// Backends by Service port.
    pub ports: BTreeMap<u16, Vec<Backend>>,
    /// The name an ExternalName Service stands for.
    pub external_name: Option<String>,
}

/// All Services of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTable {
    /// Entries by name.
    pub services: BTreeMap<ServiceKey, ServiceEntry>,
}

impl ServiceTable {
    /// The table that these Services and EndpointSlices describe; `reported` is how the slices speak of pods.
    pub fn build(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], reported: ReportedAddresses) -> Self {
        let mut by_service: BTreeMap<ServiceKey, Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in slices {
            let labels = slice.metadata.labels.as_ref();
            if let (Some(namespace), Some(name)) = (
                &slice.metadata.namespace,
                labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL)),
            ) {
                by_service
                    .entry(ServiceKey::new(namespace, name))
                    .or_default()
                    .push(slice);
            }
        }
        let services = services
            .iter()
            .filter_map(|service| {
                let key = ServiceKey::new(service.metadata.namespace.clone()?, service.metadata.name.clone()?);
                let slices = by_service.get(&key).map_or(&[][..], Vec::as_slice);
                Some((key, entry(service, slices, reported)))
            })
            .collect();
        Self { services }
    }

    /// Whether the same Services exist in both, under the same names and with the same ports.
    pub fn same_names(&self, other: &Self) -> bool {
        let names = |(key, entry): (&'_ ServiceKey, &'_ ServiceEntry)| {
            (
                key.clone(),
                entry.external_name.clone(),
                entry.ports.keys().copied().collect::<Vec<_>>(),
            )
        };
        self.services.len() == other.services.len()
            && self.services.iter().map(names).eq(other.services.iter().map(names))
    }

    /// Backends for one port of a Service; with a hostname, only the endpoint of that name.
    pub fn backends(&self, service: &ServiceKey, port: u16, hostname: Option<&str>) -> Vec<Backend> {
        let all = self.services.get(service).and_then(|entry| entry.ports.get(&port));
        all.into_iter()
            .flatten()
            .filter(|backend| {
                hostname.is_none_or(|wanted| {
                    backend.hostname.as_deref() == Some(wanted)
                        || backend.pod.as_ref().is_some_and(|pod| pod.name == wanted)
                })
            })
            .cloned()
            .collect()
    }
}

/// An address the network may listen on: loopback only.
fn loopback(text: &str) -> Option<Ipv4Addr> {
    text.parse::<Ipv4Addr>().ok().filter(Ipv4Addr::is_loopback)
}

fn entry(service: &Service, slices: &[&EndpointSlice], reported: ReportedAddresses) -> ServiceEntry {
    let spec = service.spec.as_ref();
    let publish_all = spec.and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
    let cluster_ips = spec
        .map(|spec| {
            spec.cluster_ips
                .clone()
                .unwrap_or_else(|| spec.cluster_ip.clone().into_iter().collect())
        })
        .unwrap_or_default();
    let ingress = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    ServiceEntry {
        cluster_ips: cluster_ips.iter().filter_map(|ip| loopback(ip)).collect(),
        ingress_ips: ingress
            .into_iter()
            .flatten()
            .filter_map(|entry| loopback(entry.ip.as_deref()?))
            .collect(),
        ports: ports
            .iter()
            .filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP")
            .filter_map(|port| {
                let number = u16::try_from(port.port).ok()?;
                Some((
                    number,
                    backends(slices, port.name.as_deref().unwrap_or(""), publish_all, reported),
                ))
            })
            .collect(),
        external_name: spec
            .filter(|spec| spec.type_.as_deref() == Some("ExternalName"))
            .and_then(|spec| spec.external_name.clone()),
    }
}

/// Ready endpoints; when there are none, those that still serve while they terminate (as kube-proxy does).
fn backends(
    slices: &[&EndpointSlice],
    port_name: &str,
    publish_all: bool,
    reported: ReportedAddresses,
) -> Vec<Backend> {
    let mut ready = Vec::new();
    let mut terminating = Vec::new();
    for slice in slices {
        let port = slice
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref().unwrap_or("") == port_name)
            .and_then(|port| u16::try_from(port.port?).ok());
        let Some(port) = port else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let conditions = endpoint.conditions.as_ref();
            // Unset means ready, by the API's definition.
            let is_ready = conditions.and_then(|c| c.ready).unwrap_or(true);
            let serving = conditions.and_then(|c| c.serving).unwrap_or(is_ready);
            let is_terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
            let found = endpoint_backends(slice, endpoint, port, reported);
            if is_ready || publish_all {
                ready.extend(found);
            } else if serving && is_terminating {
                terminating.extend(found);
            }
        }
    }
    let mut chosen = if ready.is_empty() { terminating } else { ready };
    chosen.sort();
    chosen.dedup();
    chosen
}

fn endpoint_backends<'a>(
    slice: &'a EndpointSlice,
    endpoint: &'a Endpoint,
    port: u16,
    reported: ReportedAddresses,
) -> impl Iterator<Item = Backend> + 'a {
    let pod = endpoint
        .target_ref
        .as_ref()
        .filter(|target| target.kind.as_deref() == Some("Pod"))
        .and_then(|target| {
            let namespace = target.namespace.clone().or_else(|| slice.metadata.namespace.clone())?;
            Some(PodKey::new(namespace, target.name.clone()?))
        });
    endpoint
        .addresses
        .iter()
        .filter_map(move |address| reported.inward(address.parse().ok()?))
        .map(move |ip| Backend {
            ip,
            port,
            pod: pod.clone(),
            hostname: endpoint.hostname.clone(),
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    const LOOPBACK: ReportedAddresses = ReportedAddresses::Loopback;

    fn service(publish_all: bool) -> Arc<Service> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"namespace": "ns", "name": "web"},
                "spec": {"clusterIP": "127.20.0.5", "publishNotReadyAddresses": publish_all,
                    "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "127.30.0.1"}, {"ip": "8.8.8.8"}]}}
            }))
            .unwrap(),
        )
    }

    fn slice(endpoints: &serde_json::Value) -> Arc<EndpointSlice> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"namespace": "ns", "name": "web-1", "labels": {SERVICE_NAME_LABEL: "web"}},
                "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints
            }))
            .unwrap(),
        )
    }

    fn endpoint(last: u8, ready: bool, serving: bool, terminating: bool) -> serde_json::Value {
        json!({"addresses": [format!("127.10.0.{last}")], "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            "targetRef": {"kind": "Pod", "name": format!("web-{last}"), "namespace": "ns"}})
    }

    fn ips(table: &ServiceTable) -> Vec<u8> {
        table
            .backends(&ServiceKey::new("ns", "web"), 80, None)
            .iter()
            .map(|b| b.ip.octets()[3])
            .collect()
    }

    #[test]
    fn only_ready_endpoints_count() {
        let slices = [slice(&json!([
            endpoint(1, true, true, false),
            endpoint(2, false, false, false),
            endpoint(3, false, true, true)
        ]))];
        let table = ServiceTable::build(&[service(false)], &slices, LOOPBACK);
        assert_eq!(ips(&table), [1]);
        let entry = &table.services[&ServiceKey::new("ns", "web")];
        assert_eq!(entry.cluster_ips, [Ipv4Addr::new(127, 20, 0, 5)]);
        assert_eq!(
            entry.ingress_ips,
            [Ipv4Addr::new(127, 30, 0, 1)],
            "only loopback addresses are listened on"
        );
        assert_eq!(entry.ports.keys().copied().collect::<Vec<_>>(), [80], "UDP is left out");
    }

    #[test]
    fn publish_not_ready_uses_all_endpoints() {
        let slices = [slice(&json!([
            endpoint(1, true, true, false),
            endpoint(2, false, false, false)
        ]))];
        assert_eq!(ips(&ServiceTable::build(&[service(true)], &slices, LOOPBACK)), [1, 2]);
    }

    #[test]
    fn terminating_endpoints_serve_when_nobody_else_does() {
        let slices = [slice(&json!([
            endpoint(2, false, false, true),
            endpoint(3, false, true, true)
        ]))];
        assert_eq!(ips(&ServiceTable::build(&[service(false)], &slices, LOOPBACK)), [3]);
    }

    #[test]
    fn a_hostname_picks_one_pod() {
        let slices = [slice(&json!([
            endpoint(1, true, true, false),
            endpoint(2, true, true, false)
        ]))];
        let table = ServiceTable::build(&[service(false)], &slices, LOOPBACK);
        let found = table.backends(&ServiceKey::new("ns", "web"), 80, Some("web-2"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pod, Some(PodKey::new("ns", "web-2")));
    }

    /// Under an API server that refuses loopback addresses, slices name others, and Services keep theirs.
    #[test]
    fn reported_addresses_are_translated_back() {
        let mut other = endpoint(1, true, true, false);
        other["addresses"] = json!(["10.10.0.1"]);
        let slices = [slice(&json!([other]))];
        let private = ServiceTable::build(&[service(false)], &slices, ReportedAddresses::Private);
        let key = ServiceKey::new("ns", "web");
        assert_eq!(private.backends(&key, 80, None)[0].ip, Ipv4Addr::new(127, 10, 0, 1));
        assert_eq!(private.services[&key].cluster_ips, [Ipv4Addr::new(127, 20, 0, 5)]);
        let plain = ServiceTable::build(&[service(false)], &slices, LOOPBACK);
        assert!(plain.backends(&key, 80, None).is_empty());
    }
}
