//! What is rendered, before and after it has been applied: status can only be computed from the latter.

use std::{collections::BTreeMap, marker::PhantomData};

use k8s_openapi::Resource as Typed;
use serde::Serialize;
use serde_json::Value;
use showrunner_crds::platform::Role;

use crate::{kind::Kind, validate::names::RegionName};

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
    /// Rendered objects, ordered by stage, then by role as the topology orders them, then by name.
    #[must_use]
    pub fn new(mut objects: Vec<Object>, roles: &[Role]) -> Self {
        let place = |role: Role| roles.iter().position(|&other| other == role).unwrap_or(roles.len());
        objects.sort_by(|a, b| {
            (a.kind.stage(), place(a.role), a.kind, &a.name).cmp(&(b.kind.stage(), place(b.role), b.kind, &b.name))
        });
        Self {
            objects,
            failures: BTreeMap::new(),
            state: PhantomData,
        }
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
    /// Regions that could not be applied, and why.
    pub const fn failures(&self) -> &BTreeMap<RegionName, String> {
        &self.failures
    }
}
