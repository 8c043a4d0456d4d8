//! The built-in resources.

use std::sync::{Arc, LazyLock};

use k8s_openapi::api::{
    apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch, coordination::v1 as coordination,
    core::v1 as core, discovery::v1 as discovery, events::v1 as events, networking::v1 as networking,
    policy::v1 as policy, rbac::v1 as rbac, scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ResourceDef, Scale};
use crate::schema::trace::{TraceError, Tracer};

/// One row of the table of built-ins.
#[derive(Clone, Copy)]
struct Row {
    short: &'static [&'static str],
    categories: &'static [&'static str],
    namespaced: bool,
    status: bool,
    scale: bool,
    fields: &'static [&'static str],
}

const PLAIN: Row = Row {
    short: &[],
    categories: &[],
    namespaced: true,
    status: false,
    scale: false,
    fields: &[],
};
const CLUSTER: Row = Row {
    namespaced: false,
    ..PLAIN
};
const WORKLOAD: Row = Row {
    categories: &["all"],
    status: true,
    ..PLAIN
};

const POD_FIELDS: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];
const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

fn define<T>(tracer: &Tracer, row: Row) -> Result<Arc<ResourceDef>, TraceError>
where
    T: k8s_openapi::Resource + DeserializeOwned,
{
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let shared_events = T::GROUP == "events.k8s.io";
    let fields = if shared_events { &[] } else { row.fields };
    let schema = tracer.trace::<T>()?;
    Ok(Arc::new(ResourceDef {
        group: T::GROUP.to_owned(),
        version: T::VERSION.to_owned(),
        plural: T::URL_PATH_SEGMENT.to_owned(),
        singular: T::KIND.to_ascii_lowercase(),
        kind: T::KIND.to_owned(),
        list_kind: format!("{}List", T::KIND),
        namespaced: row.namespaced,
        short_names: owned(row.short),
        categories: owned(row.categories),
        storage: if shared_events {
            "/events".into()
        } else {
            format!("{}/{}", T::GROUP, T::URL_PATH_SEGMENT).into()
        },
        storage_api_version: if shared_events {
            "v1".to_owned()
        } else {
            T::API_VERSION.to_owned()
        },
        status: row.status,
        scale: row.scale.then(|| Scale {
            spec: ".spec.replicas".to_owned(),
            status: ".status.replicas".to_owned(),
            selector: None,
        }),
        zero: crate::builtin::zero::object(T::KIND, &schema),
        schema,
        fields: owned(fields),
        custom: None,
    }))
}

fn define_all() -> Result<Vec<Arc<ResourceDef>>, TraceError> {
    let t = Tracer::default();
    let scaled = Row {
        scale: true,
        ..WORKLOAD
    };
    Ok(vec![
        define::<core::Namespace>(
            &t,
            Row {
                short: &["ns"],
                status: true,
                fields: &["status.phase"],
                ..CLUSTER
            },
        )?,
        define::<core::Node>(
            &t,
            Row {
                short: &["no"],
                status: true,
                fields: &["spec.unschedulable"],
                ..CLUSTER
            },
        )?,
        define::<core::Pod>(
            &t,
            Row {
                short: &["po"],
                fields: POD_FIELDS,
                ..WORKLOAD
            },
        )?,
        define::<core::Service>(
            &t,
            Row {
                short: &["svc"],
                fields: &["spec.clusterIP", "spec.type"],
                ..WORKLOAD
            },
        )?,
        define::<core::Endpoints>(
            &t,
            Row {
                short: &["ep"],
                ..PLAIN
            },
        )?,
        define::<core::ConfigMap>(
            &t,
            Row {
                short: &["cm"],
                ..PLAIN
            },
        )?,
        define::<core::Secret>(
            &t,
            Row {
                fields: &["type"],
                ..PLAIN
            },
        )?,
        define::<core::ServiceAccount>(
            &t,
            Row {
                short: &["sa"],
                ..PLAIN
            },
        )?,
        define::<core::Event>(
            &t,
            Row {
                short: &["ev"],
                fields: EVENT_FIELDS,
                ..PLAIN
            },
        )?,
        define::<core::PersistentVolumeClaim>(
            &t,
            Row {
                short: &["pvc"],
                status: true,
                ..PLAIN
            },
        )?,
        define::<core::PersistentVolume>(
            &t,
            Row {
                short: &["pv"],
                status: true,
                ..CLUSTER
            },
        )?,
        define::<core::ResourceQuota>(
            &t,
            Row {
                short: &["quota"],
                status: true,
                ..PLAIN
            },
        )?,
        define::<core::LimitRange>(
            &t,
            Row {
                short: &["limits"],
                ..PLAIN
            },
        )?,
        define::<core::PodTemplate>(&t, PLAIN)?,
        define::<apps::Deployment>(
            &t,
            Row {
                short: &["deploy"],
                ..scaled
            },
        )?,
        define::<apps::ReplicaSet>(
            &t,
            Row {
                short: &["rs"],
                fields: &["status.replicas"],
                ..scaled
            },
        )?,
        define::<apps::StatefulSet>(
            &t,
            Row {
                short: &["sts"],
                ..scaled
            },
        )?,
        define::<apps::DaemonSet>(
            &t,
            Row {
                short: &["ds"],
                ..WORKLOAD
            },
        )?,
        define::<apps::ControllerRevision>(&t, PLAIN)?,
        define::<batch::Job>(
            &t,
            Row {
                fields: &["status.successful"],
                ..WORKLOAD
            },
        )?,
        define::<batch::CronJob>(
            &t,
            Row {
                short: &["cj"],
                ..WORKLOAD
            },
        )?,
        define::<autoscaling::HorizontalPodAutoscaler>(
            &t,
            Row {
                short: &["hpa"],
                ..WORKLOAD
            },
        )?,
        define::<policy::PodDisruptionBudget>(
            &t,
            Row {
                short: &["pdb"],
                status: true,
                ..PLAIN
            },
        )?,
        define::<networking::NetworkPolicy>(
            &t,
            Row {
                short: &["netpol"],
                ..PLAIN
            },
        )?,
        define::<networking::Ingress>(
            &t,
            Row {
                short: &["ing"],
                status: true,
                ..PLAIN
            },
        )?,
        define::<networking::IngressClass>(&t, CLUSTER)?,
        define::<discovery::EndpointSlice>(&t, PLAIN)?,
        define::<coordination::Lease>(&t, PLAIN)?,
        define::<events::Event>(
            &t,
            Row {
                short: &["ev"],
                ..PLAIN
            },
        )?,
        define::<rbac::Role>(&t, PLAIN)?,
        define::<rbac::RoleBinding>(&t, PLAIN)?,
        define::<rbac::ClusterRole>(&t, CLUSTER)?,
        define::<rbac::ClusterRoleBinding>(&t, CLUSTER)?,
        define::<storage::StorageClass>(
            &t,
            Row {
                short: &["sc"],
                ..CLUSTER
            },
        )?,
        define::<scheduling::PriorityClass>(
            &t,
            Row {
                short: &["pc"],
                ..CLUSTER
            },
        )?,
        define::<apiextensions::CustomResourceDefinition>(
            &t,
            Row {
                short: &["crd", "crds"],
                categories: &["api-extensions"],
                status: true,
                ..CLUSTER
            },
        )?,
    ])
}

/// Every built-in resource.
pub(crate) fn all() -> &'static [Arc<ResourceDef>] {
    static ALL: LazyLock<Vec<Arc<ResourceDef>>> = LazyLock::new(|| {
        // Which types there are is fixed at build time, so a type that cannot be traced fails the tests below.
        define_all().unwrap_or_else(|error| {
            tracing::error!(%error, "the built-in resources cannot be registered");
            Vec::new()
        })
    });
    &ALL
}

/// (events.k8s.io/v1, v1) names of fields that differ.
const EVENT_NAMES: &[(&str, &str)] = &[
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.to_owned(), value);
    }
}

/// Events are kept in their core/v1 form.
pub(super) fn to_storage(def: &ResourceDef, value: &mut Value) {
    if let (true, Some(fields)) = (def.is("events.k8s.io", "Event"), value.as_object_mut()) {
        for (here, stored) in EVENT_NAMES {
            rename(fields, here, stored);
        }
    }
}

/// The way back.
pub(super) fn from_storage(def: &ResourceDef, value: &mut Value) {
    if let (true, Some(fields)) = (def.is("events.k8s.io", "Event"), value.as_object_mut()) {
        for (here, stored) in EVENT_NAMES {
            rename(fields, stored, here);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_built_in_can_be_traced() {
        let all = define_all().unwrap();
        assert!(all.iter().all(|def| def.schema.known_field("metadata").is_some()));
        let deployment = all.iter().find(|def| def.is("apps", "Deployment")).unwrap();
        assert_eq!(
            (deployment.plural.as_str(), &*deployment.storage),
            ("deployments", "apps/deployments")
        );
    }
}
