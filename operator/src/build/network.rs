//! Services, and the policies that say who may talk to whom.

use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        networking::v1::{
            IPBlock, NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};
use showrunner_crds::{labels, names::HTTP_PORT, platform::Role};

use super::{
    meta::{About, Labels},
    object,
};
use crate::{kind::Kind, resources::Object, validate::ValidatedPlatform};

/// Who can reach a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// No address of its own: names of the pods behind it.
    Headless,
    /// The cluster.
    Cluster,
    /// The other clusters of the platform, too.
    Clusters,
    /// Viewers.
    Public,
}

impl Reach {
    /// Of what other regions call: a load balancer where regions are in several clusters.
    pub(super) fn within(platform: &ValidatedPlatform) -> Self {
        if platform.spans_clusters() {
            Self::Clusters
        } else {
            Self::Cluster
        }
    }
}

/// A Service on the HTTP port.
pub(super) fn service(about: About<'_>, name: String, selector: Labels, reach: Reach, unready_too: bool) -> Object {
    let type_ = match reach {
        Reach::Public | Reach::Clusters => "LoadBalancer",
        Reach::Headless | Reach::Cluster => "ClusterIP",
    };
    let ranges = (reach == Reach::Clusters).then(|| about.platform.source_ranges.clone());
    let service = Service {
        metadata: about.meta(name),
        spec: Some(ServiceSpec {
            type_: Some(type_.to_owned()),
            // Callers keep their addresses, by which the policies know them.
            external_traffic_policy: ranges.as_ref().map(|_| "Local".to_owned()),
            load_balancer_source_ranges: ranges,
            cluster_ip: (reach == Reach::Headless).then(|| "None".to_owned()),
            selector: Some(selector),
            ports: Some(vec![ServicePort {
                name: Some("http".into()),
                port: HTTP_PORT.into(),
                target_port: Some(IntOrString::String("http".into())),
                protocol: Some("TCP".into()),
                ..ServicePort::default()
            }]),
            publish_not_ready_addresses: unready_too.then_some(true),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    object(Kind::Service, about.region, about.role, &service)
}

/// One policy a role: what may open connections to its pods. Probes of the kubelet are always let in.
pub(super) fn policies(platform: &ValidatedPlatform, roles: &[Role]) -> Vec<Object> {
    let shielded = platform.regions_with(Role::Shield).next().is_some();
    roles
        .iter()
        .map(|&role| {
            let allowed = match role {
                Role::Encoder => Some(vec![]),
                Role::Origin if shielded => Some(vec![Role::Encoder, Role::Shield]),
                Role::Origin => Some(vec![Role::Encoder, Role::Edge]),
                Role::Shield => Some(vec![Role::Edge]),
                // Viewers come from anywhere.
                Role::Edge | Role::Steering | Role::Services => None,
            };
            policy(platform, role, allowed.as_deref())
        })
        .collect()
}

/// `from`: roles of the same platform, in the same cluster by their labels, in others by their addresses; `None` is anyone.
/// The admin port of the caches is open to nobody in the cluster: a flush goes through the API server's pod proxy, where it
/// takes a permission and leaves an audit record.
fn policy(platform: &ValidatedPlatform, role: Role, from: Option<&[Role]>) -> Object {
    let about = About::new(platform, None, role);
    let http = NetworkPolicyPort {
        port: Some(IntOrString::Int(HTTP_PORT.into())),
        protocol: Some("TCP".into()),
        ..NetworkPolicyPort::default()
    };
    let peers = from.map(|roles| {
        let mut peers = vec![monitoring()];
        if !roles.is_empty() {
            peers.push(of_roles(platform, roles));
            if Reach::within(platform) == Reach::Clusters {
                peers.extend(platform.source_ranges.iter().map(|range| of_range(range)));
            }
        }
        peers
    });
    let policy = NetworkPolicy {
        metadata: about.meta(format!("{}-{role}", platform.name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(about.label_selector()),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: peers,
                ports: Some(vec![http]),
            }]),
            ..NetworkPolicySpec::default()
        }),
    };
    object(Kind::NetworkPolicy, None, role, &policy)
}

fn of_roles(platform: &ValidatedPlatform, roles: &[Role]) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(LabelSelector {
            match_labels: Some([(labels::PLATFORM.to_owned(), platform.name.to_string())].into()),
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: labels::ROLE.to_owned(),
                operator: "In".into(),
                values: Some(roles.iter().map(ToString::to_string).collect()),
            }]),
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn of_range(range: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: range.to_owned(),
            except: None,
        }),
        ..NetworkPolicyPeer::default()
    }
}

/// Namespaces that carry this label may scrape metrics.
fn monitoring() -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some([("showrunner.dev/monitoring".to_owned(), "true".to_owned())].into()),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    }
}
