//! Addresses that load balancers have been given, pure: where viewers and other clusters reach a Service.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use kube::core::DynamicObject;
use showrunner_crds::{
    names,
    platform::{ClusterAddress, ClusterStatus, Role},
};

use crate::{
    observed::{Live, Observed},
    validate::{
        Region, RemoteCluster, Service, ValidatedPlatform,
        names::{RegionName, ServiceName},
    },
};

/// Addresses that load balancers have been given: an IP or a host name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Of each region's edges.
    pub edges: BTreeMap<RegionName, String>,
    /// Of the steering servers.
    pub steering: Option<String>,
    /// Of the deployed playback services.
    pub services: BTreeMap<ServiceName, String>,
    /// Of every Service, by cluster, where there are several; `None` is the platform's own.
    pub clusters: BTreeMap<Option<RemoteCluster>, BTreeMap<String, String>>,
}

impl Addresses {
    /// Reads the addresses out of the Services there are. Of another cluster an address that was known stays until there is a
    /// new one: those who go by it do better with an old address than with none.
    #[must_use]
    pub fn read(platform: &ValidatedPlatform, observed: &Observed, recorded: &[ClusterStatus]) -> Self {
        let clusters = by_cluster(platform, observed, recorded);
        let of = |cluster: Option<&RemoteCluster>, service: &str| {
            if clusters.is_empty() {
                return observed.live.address(service);
            }
            clusters.get(&cluster.cloned())?.get(service).cloned()
        };
        // What spans regions has an address in each cluster; viewers are told one, the platform's own cluster's first.
        let anywhere = |service: &str| {
            let remote = platform.regions.iter().map(|region| region.cluster.as_ref());
            std::iter::once(None)
                .chain(remote)
                .find_map(|cluster| of(cluster, service))
        };
        Self {
            edges: platform
                .regions_with(Role::Edge)
                .filter_map(|region| {
                    let name = platform.regional(&region.name, Role::Edge);
                    Some((region.name.clone(), of(region.cluster.as_ref(), &name)?))
                })
                .collect(),
            steering: anywhere(&names::steering(platform.name.as_str())),
            services: platform
                .deployed_services()
                .filter_map(|service| {
                    let name = names::service(platform.name.as_str(), service.name.as_str());
                    Some((service.name.clone(), anywhere(&name)?))
                })
                .collect(),
            clusters,
        }
    }

    /// Base URL that players reach a region at: what the spec says, else the load balancer's address once there is one.
    #[must_use]
    pub fn edge_url(&self, region: &Region) -> Option<String> {
        region
            .public_url
            .clone()
            .or_else(|| self.edges.get(&region.name).map(|address| url(address)))
    }

    /// Base URL of the steering servers.
    #[must_use]
    pub fn steering_url(&self) -> Option<String> {
        self.steering.as_deref().map(url)
    }

    /// Base URL of the steering servers of a cluster: players who came there stay there. Any other's as long as it has none.
    #[must_use]
    pub fn steering_url_in(&self, platform: &ValidatedPlatform, cluster: Option<&RemoteCluster>) -> Option<String> {
        let own = self.clusters.get(&cluster.cloned());
        own.and_then(|services| services.get(&names::steering(platform.name.as_str())))
            .map(|address| url(address))
            .or_else(|| self.steering_url())
    }

    /// Base URL of a playback service.
    #[must_use]
    pub fn service_url(&self, service: &Service) -> Option<String> {
        service
            .url
            .clone()
            .or_else(|| self.services.get(&service.name).map(|address| url(address)))
    }

    /// Host by which pods of a cluster reach a Service of another, or of their own: its name there, its load balancer from
    /// elsewhere, as soon as it has an address.
    #[must_use]
    pub fn host(
        &self,
        platform: &ValidatedPlatform,
        from: Option<&RemoteCluster>,
        to: Option<&RemoteCluster>,
        service: &str,
    ) -> Option<String> {
        if from == to {
            return Some(names::dns(service, platform.namespace_in(to).as_str()));
        }
        self.clusters.get(&to.cloned())?.get(service).cloned()
    }

    /// Load balancers of a cluster, as the status records them.
    #[must_use]
    pub fn record(&self, cluster: &RemoteCluster) -> Vec<ClusterAddress> {
        let services = self.clusters.get(&Some(cluster.clone())).into_iter().flatten();
        services
            .map(|(service, address)| ClusterAddress {
                service: service.clone(),
                address: address.clone(),
            })
            .collect()
    }
}

fn by_cluster(
    platform: &ValidatedPlatform,
    observed: &Observed,
    recorded: &[ClusterStatus],
) -> BTreeMap<Option<RemoteCluster>, BTreeMap<String, String>> {
    let remote = platform.clusters();
    if remote.is_empty() {
        return BTreeMap::new();
    }
    let nothing = Live::default();
    let clusters = std::iter::once(None).chain(remote.into_iter().map(Some));
    clusters
        .map(|cluster| {
            let seen = observed.in_cluster(cluster.as_ref()).unwrap_or(&nothing);
            let known = recorded
                .iter()
                .find(|status| cluster.is_some() && RemoteCluster::recorded(status) == cluster);
            let addresses = public(platform, cluster.as_ref()).into_iter().filter_map(|service| {
                let before = || {
                    let mut addresses = known?.addresses.iter();
                    let address = &addresses.find(|known| known.service == service)?.address;
                    is_address(address).then(|| address.clone())
                };
                let address = seen.address(&service).or_else(before)?;
                Some((service, address))
            });
            let addresses = addresses.collect();
            (cluster, addresses)
        })
        .collect()
}

/// Services of a cluster that have load balancers.
fn public(platform: &ValidatedPlatform, cluster: Option<&RemoteCluster>) -> BTreeSet<String> {
    let name = platform.name.as_str();
    let mut services = BTreeSet::new();
    for region in platform.regions_in(cluster) {
        for &role in &region.roles {
            match role {
                Role::Encoder => {}
                // What only their own cluster reaches has an address no longer, though one may be on record.
                Role::Origin | Role::Shield if !platform.spans_clusters() => {}
                Role::Origin => services.extend(platform.origin_services(region)),
                Role::Shield | Role::Edge => {
                    services.insert(platform.regional(&region.name, role));
                }
                Role::Steering => {
                    services.insert(names::steering(name));
                }
                Role::Services => {
                    let deployed = platform.deployed_services();
                    services.extend(deployed.map(|service| names::service(name, service.name.as_str())));
                }
            }
        }
    }
    services
}

/// Base URL of an address on the HTTP port.
#[must_use]
pub fn url(address: &str) -> String {
    if address.contains(':') && !address.starts_with('[') {
        return format!("http://[{address}]:{}", names::HTTP_PORT);
    }
    format!("http://{address}:{}", names::HTTP_PORT)
}

/// Read out of the object as it came, like all that is asked for of every region.
///
/// Whoever runs a cluster says what its addresses are, and they go into rules and configuration everywhere: what is none is
/// not taken.
pub(crate) fn ingress(service: &DynamicObject) -> Option<String> {
    let ingress = &service.data["status"]["loadBalancer"]["ingress"][0];
    let text = |field: &str, is_one: fn(&str) -> bool| ingress[field].as_str().filter(|text| is_one(text));
    text("ip", is_ip)
        .or_else(|| text("hostname", is_host))
        .map(str::to_owned)
}

/// Most characters of a host's name in DNS.
const LONGEST_HOST: usize = 253;

fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn is_host(text: &str) -> bool {
    (1..=LONGEST_HOST).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'.' || c == b'-')
}

fn is_address(text: &str) -> bool {
    is_ip(text) || is_host(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;
    use crate::{fixtures::cinema_resource, validate::validate};

    fn read(list: &Value) -> Option<String> {
        let service = json!({ "metadata": {}, "status": { "loadBalancer": { "ingress": list } } });
        ingress(&serde_json::from_value(service).unwrap())
    }

    /// What is known of `north`'s cluster where it was in another than `south` until now, if nothing is seen there.
    fn known(clusters: [Option<&str>; 2]) -> Vec<String> {
        let mut platform = cinema_resource();
        platform.spec.regions.truncate(2);
        platform.spec.resilience.regions_to_lose = 0;
        platform.spec.interconnect.source_ranges = vec!["10.0.0.0/8".into()];
        for (region, cluster) in platform.spec.regions.iter_mut().zip(clusters) {
            let reference = |name| json!({ "kubeconfigSecretRef": { "name": name }, "namespace": "away" });
            region.cluster = cluster.map(|name| serde_json::from_value(reference(name)).unwrap());
        }
        let platform = validate(&platform).unwrap();
        let cluster = platform.regions[0].cluster.clone().unwrap();
        let before =
            ["cinema-north-edge", "cinema-north-origin-0", "cinema-north-shield"].map(|service| ClusterAddress {
                service: service.to_owned(),
                address: "192.0.2.1".to_owned(),
            });
        let recorded = [ClusterStatus {
            addresses: before.into(),
            ..cluster.status()
        }];
        let observed = Observed {
            now: jiff::Timestamp::UNIX_EPOCH,
            live: Live::default(),
            elsewhere: BTreeMap::new(),
            pods: Vec::new(),
            premieres: Vec::new(),
            conditions: Vec::new(),
        };
        let addresses = Addresses::read(&platform, &observed, &recorded).record(&cluster);
        addresses.into_iter().map(|address| address.service).collect()
    }

    #[test]
    fn an_address_is_known_for_as_long_as_others_go_by_it() {
        let all = ["cinema-north-edge", "cinema-north-origin-0", "cinema-north-shield"];
        assert_eq!(known([Some("far"), None]), all);
        assert_eq!(known([Some("far"), Some("further")]), all);
        assert_eq!(known([Some("far"), Some("far")]), all[..1]);
    }

    #[test]
    fn addresses_are_addresses() {
        let hostile = "x\"; } sub vcl_recv { return (synth(200)); } backend b { .host = \"y";
        let (longest, longer) = ("a".repeat(253), "a".repeat(254));
        for (told, expected) in [
            (json!({ "ip": "192.0.2.1" }), Some("192.0.2.1")),
            (json!({ "ip": "2001:db8::1" }), Some("2001:db8::1")),
            (json!({ "hostname": "LB-1.eu.example." }), Some("LB-1.eu.example.")),
            (json!({ "hostname": longest }), Some(longest.as_str())),
            (json!({ "ip": "", "hostname": "lb.example" }), Some("lb.example")),
            (json!({ "ip": hostile, "hostname": "lb.example" }), Some("lb.example")),
            (json!({ "ip": "lb.example" }), None),
            (json!({ "ip": "192.0.2.1\n" }), None),
            (json!({ "ip": "fe80::1%eth0" }), None),
            (json!({ "hostname": hostile }), None),
            (json!({ "hostname": "a b" }), None),
            (json!({ "hostname": "a\"" }), None),
            (json!({ "hostname": "a/b" }), None),
            (json!({ "hostname": "é.example" }), None),
            (json!({ "hostname": "" }), None),
            (json!({ "hostname": longer }), None),
            (json!({ "ip": 7 }), None),
            (json!({}), None),
        ] {
            assert_eq!(read(&json!([told])).as_deref(), expected, "{told}");
        }
        for none in [json!([]), json!(null), json!("x")] {
            assert_eq!(read(&none), None, "{none}");
        }
    }
}
