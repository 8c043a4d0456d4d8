//! Which resources there are.

pub(crate) mod builtin;
pub(crate) mod printer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde_json::Value;

use crate::apply::update::Kind;
use crate::crd::cel::CelRules;
use crate::schema::Schema;
use printer::Column;

const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const ONE_BY_ONE: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];

/// Paths of a scale subresource, as in a custom resource definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    pub(crate) spec: String,
    pub(crate) status: String,
    pub(crate) selector: Option<String>,
}

/// What only custom resources have.
#[derive(Debug, Default)]
pub(crate) struct Custom {
    pub(crate) cel: Option<CelRules>,
    pub(crate) columns: Vec<Column>,
    /// `openAPIV3Schema` as given.
    pub(crate) openapi: Value,
    /// The definition is being deleted: nothing new may be created.
    pub(crate) terminating: bool,
}

/// One resource in one version.
#[derive(Debug)]
pub(crate) struct ResourceDef {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) namespaced: bool,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    /// Key of the table all versions share.
    pub(crate) storage: Arc<str>,
    /// `apiVersion` objects are stored in.
    pub(crate) storage_api_version: String,
    pub(crate) status: bool,
    pub(crate) scale: Option<Scale>,
    pub(crate) schema: Arc<Schema>,
    /// An object of which nothing is set, with what its type writes even then.
    pub(crate) zero: Value,
    /// Fields that field selectors may name beside `metadata.name` and `metadata.namespace`.
    pub(crate) fields: Vec<String>,
    pub(crate) custom: Option<Custom>,
}

impl ResourceDef {
    /// `apiVersion` of this version.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether this is the built-in `kind` of `group`.
    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.custom.is_none() && self.group == group && self.kind == kind
    }

    /// What can be done with it. Namespaces are deleted one by one.
    pub(crate) fn verbs(&self) -> &'static [&'static str] {
        if self.is("", "Namespace") { ONE_BY_ONE } else { VERBS }
    }

    /// Whether objects leave the store in another form than they are kept.
    pub(crate) fn converts(&self) -> bool {
        self.storage_api_version != self.api_version()
    }

    /// A stored object in this version.
    pub(crate) fn served(&self, value: &Value) -> Value {
        let mut out = value.clone();
        if self.converts() {
            builtin::from_storage(self, &mut out);
            out["apiVersion"] = self.api_version().into();
        }
        out
    }

    /// An object of this version as it is stored.
    pub(crate) fn to_storage(&self, value: &mut Value) {
        if self.converts() {
            builtin::to_storage(self, value);
            value["apiVersion"] = self.storage_api_version.as_str().into();
        }
    }

    /// What ownership of the fields of an object goes by, at the endpoint of `subresource`.
    pub(crate) fn ownership(&self, subresource: &str) -> Kind<'_> {
        let reset: &[&[&str]] = match subresource {
            "" if self.status => &[&["status"]],
            "status" if self.custom.is_some() => &[&["metadata"], &["spec"]],
            "status" if self.kind == "Deployment" => &[&["spec"], &["metadata", "labels"]],
            "status" if self.kind == "Pod" => &[
                &["spec"],
                &["metadata", "deletionTimestamp"],
                &["metadata", "ownerReferences"],
            ],
            "status" => &[&["spec"]],
            _ => &[],
        };
        Kind {
            schema: &self.schema,
            zero: &self.zero,
            reset,
        }
    }

    pub(crate) fn not_found(&self, name: &str) -> crate::error::ApiError {
        crate::error::ApiError::not_found(&self.group, &self.plural, name)
    }

    pub(crate) fn invalid(&self, name: &str, causes: &[crate::error::Cause]) -> crate::error::ApiError {
        // Events are of the core group, whichever way they come.
        let group = if self.is("events.k8s.io", "Event") {
            ""
        } else {
            &self.group
        };
        crate::error::ApiError::invalid(group, &self.kind, name, causes)
    }
}

type Versions = HashMap<String, HashMap<String, Arc<ResourceDef>>>;

/// An immutable view of all resources.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    groups: HashMap<String, Versions>,
    /// In the order of registration.
    pub(crate) all: Vec<Arc<ResourceDef>>,
}

impl Snapshot {
    fn new(all: Vec<Arc<ResourceDef>>) -> Self {
        let mut groups: HashMap<String, Versions> = HashMap::new();
        for def in &all {
            let versions = groups.entry(def.group.clone()).or_default();
            versions
                .entry(def.version.clone())
                .or_default()
                .insert(def.plural.clone(), def.clone());
        }
        Self { groups, all }
    }

    /// A resource by its path.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<ResourceDef>> {
        self.groups.get(group)?.get(version)?.get(plural)
    }

    /// Whether the group and version exist.
    pub(crate) fn has_version(&self, group: &str, version: &str) -> bool {
        self.groups
            .get(group)
            .is_some_and(|versions| versions.contains_key(version))
    }

    /// The definition whose version objects of a table are stored in; any served one where that is not served.
    pub(crate) fn of_storage(&self, storage: &str) -> Option<&Arc<ResourceDef>> {
        let mut versions = self.all.iter().filter(|def| &*def.storage == storage);
        let first = versions.clone().next();
        versions.find(|def| !def.converts()).or(first)
    }
}

/// Built-in and custom resources.
#[derive(Debug)]
pub(crate) struct Registry {
    turn: Mutex<()>,
    snapshot: RwLock<Arc<Snapshot>>,
}

impl Registry {
    /// The built-ins alone.
    pub(crate) fn new() -> Self {
        Self {
            turn: Mutex::new(()),
            snapshot: RwLock::new(Arc::new(Snapshot::new(builtin::all().to_vec()))),
        }
    }

    /// A registry of its own with the same resources.
    pub(crate) fn fork(&self) -> Self {
        Self {
            turn: Mutex::new(()),
            snapshot: RwLock::new(self.snapshot()),
        }
    }

    /// The current view.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces all custom resources by what `custom` gives. One at a time: of two that overlapped, the one that read
    /// the definitions first could write last.
    pub(crate) fn set_custom<I: IntoIterator<Item = Arc<ResourceDef>>>(&self, custom: impl FnOnce() -> I) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = builtin::all().to_vec();
        all.extend(custom());
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Snapshot::new(all));
    }
}
