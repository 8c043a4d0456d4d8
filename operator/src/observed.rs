//! What was seen of the world before anything is decided: plain data, so that every decision is a pure function of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{ResourceExt, core::DynamicObject};
use serde::de::DeserializeOwned;
use serde_json::Value;
use showrunner_crds::{labels, names, premiere::Premiere};

use crate::{
    kind::Kind,
    validate::{
        ValidatedPlatform,
        names::{RegionName, ServiceName},
    },
};

/// Objects of one platform that the API server has, by kind and name.
#[derive(Clone, Debug, Default)]
pub struct Live(BTreeMap<(Kind, String), DynamicObject>);

impl Live {
    /// Collects what was listed.
    #[must_use]
    pub fn new(objects: impl IntoIterator<Item = (Kind, DynamicObject)>) -> Self {
        Self(
            objects
                .into_iter()
                .map(|(kind, object)| ((kind, object.name_any()), object))
                .collect(),
        )
    }

    /// One object.
    #[must_use]
    pub fn get(&self, kind: Kind, name: &str) -> Option<&DynamicObject> {
        self.0.get(&(kind, name.to_owned()))
    }

    /// One object, as its type.
    #[must_use]
    pub fn typed<K: DeserializeOwned>(&self, kind: Kind, name: &str) -> Option<K> {
        let value = serde_json::to_value(self.get(kind, name)?).ok()?;
        serde_json::from_value(value).ok()
    }

    /// Every object.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &DynamicObject)> {
        self.0.iter().map(|((kind, _), object)| (*kind, object))
    }
}

/// Everything dereferenced for one reconciliation.
#[derive(Clone, Debug)]
pub struct Observed {
    /// When it was seen.
    pub now: Timestamp,
    /// Objects rendered earlier.
    pub live: Live,
    /// Pods of the platform.
    pub pods: Vec<Pod>,
    /// Premieres of the platform.
    pub premieres: Vec<Premiere>,
    /// Conditions the platform has now.
    pub conditions: Vec<Condition>,
}

/// Addresses that load balancers have been given: an IP or a host name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Of each region's edges.
    pub edges: BTreeMap<RegionName, String>,
    /// Of the steering servers.
    pub steering: Option<String>,
    /// Of the deployed playback services.
    pub services: BTreeMap<ServiceName, String>,
}

impl Addresses {
    /// Reads the addresses out of the Services there are.
    #[must_use]
    pub fn read(platform: &ValidatedPlatform, live: &Live) -> Self {
        let address = |name: &str| live.get(Kind::Service, name).and_then(ingress);
        Self {
            edges: platform
                .regions_with(showrunner_crds::platform::Role::Edge)
                .filter_map(|region| {
                    let name = platform.regional(&region.name, showrunner_crds::platform::Role::Edge);
                    Some((region.name.clone(), address(&name)?))
                })
                .collect(),
            steering: address(&names::steering(platform.name.as_str())),
            services: platform
                .deployed_services()
                .filter_map(|service| {
                    let name = names::service(platform.name.as_str(), service.name.as_str());
                    Some((service.name.clone(), address(&name)?))
                })
                .collect(),
        }
    }

    /// Base URL that players reach a region at: what the spec says, else the load balancer's address once there is one.
    #[must_use]
    pub fn edge_url(&self, region: &crate::validate::Region) -> Option<String> {
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

    /// Base URL of a playback service.
    #[must_use]
    pub fn service_url(&self, service: &crate::validate::Service) -> Option<String> {
        service
            .url
            .clone()
            .or_else(|| self.services.get(&service.name).map(|address| url(address)))
    }
}

fn url(address: &str) -> String {
    if address.contains(':') {
        return format!("http://[{address}]:{}", names::HTTP_PORT);
    }
    format!("http://{address}:{}", names::HTTP_PORT)
}

/// Read out of the object as it came, like all that is asked for of every region.
fn ingress(service: &DynamicObject) -> Option<String> {
    let ingress = &service.data["status"]["loadBalancer"]["ingress"][0];
    let text = |field: &str| ingress[field].as_str().map(str::to_owned);
    text("ip")
        .or_else(|| text("hostname"))
        .filter(|address| !address.is_empty())
}

/// How far a workload is, whatever its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkloadState {
    /// Replicas that should run.
    pub desired: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Whether its controller has seen the spec and every replica runs it.
    pub settled: bool,
}

impl WorkloadState {
    /// Reads a Deployment or a StatefulSet; absent, nothing runs and nothing is settled.
    ///
    /// Figures alone are read, out of the object as it came: this is asked for every role of every region, several times a
    /// look.
    #[must_use]
    pub fn read(live: &Live, kind: Kind, name: &str) -> Self {
        let Some(object) = live.get(kind, name) else {
            return Self::default();
        };
        let (spec, status) = (&object.data["spec"], &object.data["status"]);
        let count = |value: &Value| value.as_u64().and_then(|count| u32::try_from(count).ok());
        let desired = count(&spec["replicas"]).unwrap_or(1);
        let all = |field: &str| count(&status[field]).unwrap_or(0) == desired;
        let rolled_out = if kind == Kind::StatefulSet {
            let update = &status["updateRevision"];
            update.is_null() || status["currentRevision"] == *update || all("updatedReplicas")
        } else {
            all("updatedReplicas")
        };
        Self {
            desired,
            ready: count(&status["readyReplicas"]).unwrap_or(0),
            settled: status["observedGeneration"].as_i64() >= object.metadata.generation
                && all("replicas")
                && rolled_out,
        }
    }
}

/// Region label of an object.
#[must_use]
pub fn region_of(object: &impl ResourceExt) -> Option<RegionName> {
    RegionName::new(object.labels().get(labels::REGION)?)
}
