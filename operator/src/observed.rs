//! What was seen of the world before anything is decided: plain data, so that every decision is a pure function of it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{ResourceExt, core::DynamicObject};
use serde::de::DeserializeOwned;
use serde_json::Value;
use showrunner_crds::{labels, premiere::Premiere};

use crate::{
    addresses::ingress,
    kind::Kind,
    remote::View,
    validate::{Region, RemoteCluster, names::RegionName},
};

/// Objects of one platform that the API server has, by kind and name.
#[derive(Clone, Debug, Default)]
pub struct Live(BTreeMap<(Kind, String), Arc<DynamicObject>>);

impl Live {
    /// Collects what was listed.
    #[must_use]
    pub fn new(objects: impl IntoIterator<Item = (Kind, DynamicObject)>) -> Self {
        Self(
            objects
                .into_iter()
                .map(|(kind, object)| ((kind, object.name_any()), Arc::new(object)))
                .collect(),
        )
    }

    /// One object.
    #[must_use]
    pub fn get(&self, kind: Kind, name: &str) -> Option<&DynamicObject> {
        self.0.get(&(kind, name.to_owned())).map(Arc::as_ref)
    }

    /// The address that a load balancer has been given.
    #[must_use]
    pub fn address(&self, service: &str) -> Option<String> {
        self.get(Kind::Service, service).and_then(ingress)
    }

    /// One object, as its type.
    #[must_use]
    pub fn typed<K: DeserializeOwned>(&self, kind: Kind, name: &str) -> Option<K> {
        let value = serde_json::to_value(self.get(kind, name)?).ok()?;
        serde_json::from_value(value).ok()
    }

    /// Every object.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &DynamicObject)> {
        self.0.iter().map(|((kind, _), object)| (*kind, object.as_ref()))
    }
}

/// Everything dereferenced for one reconciliation.
#[derive(Clone, Debug)]
pub struct Observed {
    /// When it was seen.
    pub now: Timestamp,
    /// Objects rendered earlier, in the platform's own cluster.
    pub live: Live,
    /// What is seen of the other clusters that the spec names, or was a moment ago.
    pub elsewhere: BTreeMap<RemoteCluster, Arc<View>>,
    /// Pods of the platform, in its own cluster.
    pub pods: Vec<Pod>,
    /// Premieres of the platform.
    pub premieres: Vec<Premiere>,
    /// Conditions the platform has now.
    pub conditions: Vec<Condition>,
}

impl Observed {
    /// Objects of a cluster; `None` is the platform's own. None where it cannot be seen.
    #[must_use]
    pub fn in_cluster(&self, cluster: Option<&RemoteCluster>) -> Option<&Live> {
        match cluster {
            None => Some(&self.live),
            Some(cluster) => self.elsewhere.get(cluster).map(|view| &view.live),
        }
    }

    /// Objects of the cluster that a region is in. Names are unique within one cluster alone: while a region moves, two have
    /// objects of its names.
    #[must_use]
    pub fn of(&self, region: &Region) -> Option<&Live> {
        self.in_cluster(region.cluster.as_ref())
    }

    /// Pods of the platform, in every cluster.
    pub fn all_pods(&self) -> impl Iterator<Item = &Pod> {
        let elsewhere = self.elsewhere.values().flat_map(|view| &view.pods);
        self.pods.iter().chain(elsewhere)
    }
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
