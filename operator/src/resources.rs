//! What is rendered, before and after it has been applied: status can only be computed from the latter.

use std::{collections::BTreeMap, marker::PhantomData};

use k8s_openapi::Resource as Typed;
use serde::Serialize;
use serde_json::Value;
use showrunner_crds::platform::Role;

use crate::{
    kind::Kind,
    validate::{RemoteCluster, names::RegionName},
};

/// State of [`Resources`]: rendered, not sent.
#[derive(Clone, Copy, Debug)]
pub struct Prepared;

/// State of [`Resources`]: sent to the API server, with what came of it by region.
#[derive(Clone, Copy, Debug)]
pub struct Applied;

/// One object as it will be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Region it belongs to; `None` for what spans regions.
    pub region: Option<RegionName>,
    /// Role it serves.
    pub role: Role,
    /// Cluster it goes to; `None` is the platform's own.
    pub cluster: Option<RemoteCluster>,
    /// Not sent yet, because what it names has no address yet. One that is there already is left as it is.
    pub withheld: bool,
    /// The object.
    pub body: Value,
}

impl Object {
    /// Wraps a typed object. Serialising a Kubernetes type cannot fail; were it to, the object would be empty and refused.
    pub fn new<K: Typed + Serialize>(kind: Kind, region: Option<&RegionName>, role: Role, object: &K) -> Self {
        let body = serde_json::to_value(object).unwrap_or_default();
        let name = body
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        Self {
            kind,
            name,
            region: region.cloned(),
            role,
            cluster: None,
            withheld: false,
            body,
        }
    }
}

/// A platform's objects.
#[derive(Clone, Debug)]
pub struct Resources<S> {
    objects: Vec<Object>,
    /// Regions that could not be applied, and why.
    failures: BTreeMap<RegionName, String>,
    state: PhantomData<S>,
}

impl<S> Resources<S> {
    /// Every object, those of one region in the order in which they are applied.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }
}

impl Resources<Prepared> {
    /// Rendered objects, ordered by cluster, then by stage, by role as the topology orders them, and by name.
    #[must_use]
    pub fn new(mut objects: Vec<Object>, roles: &[Role]) -> Self {
        let place = |role: Role| roles.iter().position(|&other| other == role).unwrap_or(roles.len());
        objects.sort_by(|a, b| {
            let key = |object: &Object| (object.kind.stage(), place(object.role), object.kind);
            (&a.cluster, key(a), &a.name).cmp(&(&b.cluster, key(b), &b.name))
        });
        Self {
            objects,
            failures: BTreeMap::new(),
            state: PhantomData,
        }
    }

    /// Those of each cluster by themselves; `None` is the platform's own, which is always among them.
    #[must_use]
    pub fn by_cluster(self) -> BTreeMap<Option<RemoteCluster>, Self> {
        let mut clusters: BTreeMap<_, Vec<Object>> = [(None, Vec::new())].into();
        for object in self.objects {
            clusters.entry(object.cluster.clone()).or_default().push(object);
        }
        let own = |(cluster, objects)| {
            let resources = Self {
                objects,
                failures: BTreeMap::new(),
                state: PhantomData,
            };
            (cluster, resources)
        };
        clusters.into_iter().map(own).collect()
    }

    /// What they become once sent; `failures` names the regions that could not be.
    #[must_use]
    pub fn applied(self, failures: BTreeMap<RegionName, String>) -> Resources<Applied> {
        Resources {
            objects: self.objects,
            failures,
            state: PhantomData,
        }
    }
}

impl Resources<Applied> {
    /// Those of all clusters together.
    #[must_use]
    pub fn together(clusters: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self {
            objects: Vec::new(),
            failures: BTreeMap::new(),
            state: PhantomData,
        };
        for cluster in clusters {
            all.objects.extend(cluster.objects);
            all.failures.extend(cluster.failures);
        }
        all
    }

    /// Tells better why a region could not be applied.
    pub fn explain(&mut self, region: &RegionName, why: &str) {
        if let Some(told) = self.failures.get_mut(region) {
            why.clone_into(told);
        }
    }

    /// Regions that could not be applied, and why.
    pub const fn failures(&self) -> &BTreeMap<RegionName, String> {
        &self.failures
    }
}
