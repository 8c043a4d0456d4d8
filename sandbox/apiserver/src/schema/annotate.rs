//! What the Go types say in tags and the Rust types do not: merge keys, list types, atomic structs, and the defaults
//! of key fields. Source: the `x-kubernetes-*` extensions of Kubernetes' published OpenAPI document.

use std::sync::Arc;

use serde_json::json;

use super::{ListKind, PatchMerge, Schema, Ty};

/// (type, field, keys of the list map, merge key of strategic merge; empty where it replaces).
const LIST_MAPS: &[(&str, &str, &[&str], &str)] = &[
    ("PodSpec", "containers", &["name"], "name"),
    ("PodSpec", "initContainers", &["name"], "name"),
    ("PodSpec", "ephemeralContainers", &["name"], "name"),
    ("PodSpec", "volumes", &["name"], "name"),
    ("PodSpec", "imagePullSecrets", &["name"], "name"),
    ("PodSpec", "hostAliases", &["ip"], "ip"),
    (
        "PodSpec",
        "topologySpreadConstraints",
        &["topologyKey", "whenUnsatisfiable"],
        "topologyKey",
    ),
    ("PodSpec", "schedulingGates", &["name"], "name"),
    ("PodSpec", "resourceClaims", &["name"], "name"),
    ("Container", "ports", &["containerPort", "protocol"], "containerPort"),
    ("Container", "env", &["name"], "name"),
    ("Container", "volumeMounts", &["mountPath"], "mountPath"),
    ("Container", "volumeDevices", &["devicePath"], "devicePath"),
    (
        "EphemeralContainer",
        "ports",
        &["containerPort", "protocol"],
        "containerPort",
    ),
    ("EphemeralContainer", "env", &["name"], "name"),
    ("EphemeralContainer", "volumeMounts", &["mountPath"], "mountPath"),
    ("ResourceRequirements", "claims", &["name"], ""),
    ("PodStatus", "podIPs", &["ip"], "ip"),
    ("ServiceSpec", "ports", &["port", "protocol"], "port"),
    ("ServiceAccount", "secrets", &["name"], "name"),
    ("NodeStatus", "addresses", &["type"], "type"),
    ("ObjectMeta", "ownerReferences", &["uid"], "uid"),
];

/// Types whose `conditions` are a list map by `type` for both merges.
const CONDITIONS: &[&str] = &[
    "PodStatus",
    "ServiceStatus",
    "NodeStatus",
    "NamespaceStatus",
    "DeploymentStatus",
    "ReplicaSetStatus",
    "StatefulSetStatus",
    "DaemonSetStatus",
    "HorizontalPodAutoscalerStatus",
    "PodDisruptionBudgetStatus",
    "PersistentVolumeClaimStatus",
    "CustomResourceDefinitionStatus",
    "NetworkPolicyStatus",
];

/// Lists of scalars that are sets.
const SETS: &[(&str, &str)] = &[
    ("ObjectMeta", "finalizers"),
    ("NodeSpec", "podCIDRs"),
    ("Endpoint", "addresses"),
];

/// Structs that server-side apply owns as a whole.
const ATOMIC_TYPES: &[&str] = &[
    "LabelSelector",
    "ObjectReference",
    "LocalObjectReference",
    "TypedLocalObjectReference",
    "SecretKeySelector",
    "ConfigMapKeySelector",
    "ObjectFieldSelector",
    "ResourceFieldSelector",
    "NodeSelector",
    "NodeSelectorTerm",
    "OwnerReference",
    "SecretReference",
    "ScopeSelector",
    "TopologySelectorTerm",
];

/// Maps that server-side apply owns as a whole.
const ATOMIC_FIELDS: &[(&str, &str)] = &[("PodSpec", "nodeSelector"), ("ServiceSpec", "selector")];

fn edit(schema: &mut Schema, field: &str, change: impl FnOnce(&mut Schema)) {
    if let Some(child) = schema.properties.get_mut(field) {
        change(Arc::make_mut(child));
    }
}

/// Adds what is known of the struct `schema` by name.
pub(super) fn annotate(schema: &mut Schema) {
    let Some(name) = schema.type_name else { return };
    schema.atomic = ATOMIC_TYPES.contains(&name);
    for (_, field, keys, merge) in LIST_MAPS.iter().filter(|row| row.0 == name) {
        edit(schema, field, |list| {
            list.list = ListKind::Map(keys.iter().map(|k| (*k).to_owned()).collect());
            if !merge.is_empty() {
                list.merge = PatchMerge::Key((*merge).to_owned());
            }
        });
    }
    if CONDITIONS.contains(&name) {
        edit(schema, "conditions", |list| {
            list.list = ListKind::Map(vec!["type".to_owned()]);
            list.merge = PatchMerge::Key("type".to_owned());
        });
    }
    if name == "JobStatus" {
        edit(schema, "conditions", |list| {
            list.merge = PatchMerge::Key("type".to_owned());
        });
    }
    for (_, field) in SETS.iter().filter(|row| row.0 == name) {
        edit(schema, field, |list| list.list = ListKind::Set);
    }
    if name == "ObjectMeta" {
        edit(schema, "finalizers", |list| list.merge = PatchMerge::Primitive);
    }
    for (_, field) in ATOMIC_FIELDS.iter().filter(|row| row.0 == name) {
        edit(schema, field, |map| map.atomic = true);
    }
    if matches!(name, "ContainerPort" | "ServicePort") {
        // Part of a list key, so an applied item without it still has an identity.
        edit(schema, "protocol", |protocol| protocol.default = Some(json!("TCP")));
    }
    debug_assert!(schema.ty == Ty::Object);
}
