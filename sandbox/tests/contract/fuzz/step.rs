//! What a sequence is made of.

use std::fmt;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::bodies;
use crate::context::{Context, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH};
use crate::suites::objects;

/// What is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    ConfigMap,
    Deployment,
    Service,
    Gadget,
}

impl Resource {
    /// An object that can be created.
    pub(crate) fn whole(self, name: &str) -> Value {
        match self {
            Self::ConfigMap => objects::config_map(name, json!({})),
            Self::Deployment => objects::deployment(name),
            Self::Service => objects::service(name),
            Self::Gadget => json!({"metadata": {"name": name}, "spec": {}}),
        }
    }

    /// Fills in the kind and its version.
    pub(crate) fn identify(self, c: &Context, body: &mut Value) {
        let (version, kind) = match self {
            Self::ConfigMap => ("v1".to_owned(), "ConfigMap"),
            Self::Deployment => ("apps/v1".to_owned(), "Deployment"),
            Self::Service => ("v1".to_owned(), "Service"),
            Self::Gadget => (format!("{}/v1", c.group()), "Gadget"),
        };
        body["apiVersion"] = version.into();
        body["kind"] = kind.into();
    }
}

/// What an update says of the version it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Nothing.
    None,
    /// The one last seen.
    Current,
    /// An old one.
    Stale,
    /// The whole object as last seen is sent, with changes.
    Edited,
}

/// One request. Its object has no name, kind and version yet.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create {
        manager: &'static str,
        body: Value,
    },
    Apply {
        manager: &'static str,
        force: bool,
        status: bool,
        body: Value,
    },
    Update {
        manager: &'static str,
        version: Version,
        body: Value,
    },
    Patch {
        manager: &'static str,
        kind: &'static str,
        status: bool,
        body: Value,
    },
    Delete,
    Get,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { manager, body } => write!(f, "create by {manager}: {body}"),
            Self::Apply {
                manager,
                force,
                status,
                body,
            } => write!(f, "apply by {manager}, force {force}, status {status}: {body}"),
            Self::Update { manager, version, body } => write!(f, "update by {manager}, version {version:?}: {body}"),
            Self::Patch {
                manager,
                kind,
                status,
                body,
            } => write!(f, "patch by {manager}, {kind}, status {status}: {body}"),
            Self::Delete => write!(f, "delete"),
            Self::Get => write!(f, "get"),
        }
    }
}

/// Requests about one object.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) resource: Resource,
    pub(crate) steps: Vec<Step>,
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:?}", self.resource)?;
        self.steps.iter().try_for_each(|step| write!(f, "\n  {step}"))
    }
}

pub(crate) fn sequence() -> impl Strategy<Value = Sequence> {
    let resource = prop_oneof![
        Just(Resource::ConfigMap),
        Just(Resource::Deployment),
        Just(Resource::Service),
        Just(Resource::Gadget)
    ];
    resource.prop_flat_map(|resource| {
        // Most begin with an object.
        let first = prop_oneof![4 => create(resource), 3 => apply(resource), 1 => step(resource)];
        let rest = proptest::collection::vec(step(resource), 0..7);
        (first, rest).prop_map(move |(first, rest)| Sequence {
            resource,
            steps: [vec![first], rest].concat(),
        })
    })
}

fn manager() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("alice"), Just("bob"), Just("carol")]
}

fn create(resource: Resource) -> BoxedStrategy<Step> {
    (manager(), bodies::whole(resource))
        .prop_map(|(manager, body)| Step::Create { manager, body })
        .boxed()
}

fn apply(resource: Resource) -> BoxedStrategy<Step> {
    let body = prop_oneof![2 => bodies::whole(resource), 2 => bodies::part(resource)];
    (manager(), any::<bool>(), body)
        .prop_map(|(manager, force, body)| Step::Apply {
            manager,
            force,
            status: false,
            body,
        })
        .boxed()
}

fn apply_status(resource: Resource) -> BoxedStrategy<Step> {
    (manager(), any::<bool>(), bodies::status(resource))
        .prop_map(|(manager, force, body)| Step::Apply {
            manager,
            force,
            status: true,
            body,
        })
        .boxed()
}

fn update(resource: Resource) -> BoxedStrategy<Step> {
    let version = prop_oneof![
        2 => Just(Version::None),
        3 => Just(Version::Current),
        1 => Just(Version::Stale),
        3 => Just(Version::Edited)
    ];
    (manager(), version, bodies::whole(resource))
        .prop_map(|(manager, version, body)| Step::Update { manager, version, body })
        .boxed()
}

fn patch(resource: Resource) -> BoxedStrategy<Step> {
    let merge = bodies::part(resource).prop_map(|body| (MERGE_PATCH, false, body));
    let status = bodies::status(resource).prop_map(|body| (MERGE_PATCH, true, body));
    let strategic = bodies::strategic(resource).prop_map(|body| (STRATEGIC_PATCH, false, body));
    let json = bodies::operations(resource).prop_map(|body| (JSON_PATCH, false, body));
    let patch = if resource == Resource::ConfigMap {
        // It has no status.
        prop_oneof![3 => merge.boxed(), 2 => strategic.boxed(), 2 => json.boxed()].boxed()
    } else {
        prop_oneof![3 => merge.boxed(), 1 => status.boxed(), 2 => strategic.boxed(), 2 => json.boxed()].boxed()
    };
    (manager(), patch)
        .prop_map(|(manager, (kind, status, body))| Step::Patch {
            manager,
            kind,
            status,
            body,
        })
        .boxed()
}

fn step(resource: Resource) -> BoxedStrategy<Step> {
    // Applying a Service's status where there is no Service is refused for what a Service needs: nothing of interest.
    let status = if matches!(resource, Resource::ConfigMap | Resource::Service) {
        apply(resource)
    } else {
        apply_status(resource)
    };
    prop_oneof![
        6 => apply(resource),
        1 => status,
        4 => update(resource),
        6 => patch(resource),
        1 => create(resource),
        1 => Just(Step::Delete),
        1 => Just(Step::Get),
    ]
    .boxed()
}
