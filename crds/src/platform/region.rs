//! A region: which roles it has, how much of the audience it takes, where its pods run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Role;

/// One place the platform runs in; to viewers, one pathway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Region {
    /// Name, a DNS label of at most 16 characters; also the pathway's ID.
    #[schemars(length(min = 1, max = 16), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What runs here. All roles unless stated; encoder and origin go together.
    #[serde(default = "all_roles")]
    // Atomic although it is a set: the roles of the default belong to nobody, and server-side apply would add to them
    // for ever.
    #[schemars(length(min = 1, max = 6), extend("x-kubernetes-list-type" = "atomic"))]
    pub roles: Vec<Role>,
    /// Share of the audience relative to the other regions' weights. 0 takes no viewers unless others are lost.
    #[serde(default = "default_weight")]
    #[schemars(range(max = 1000))]
    pub weight: u32,
    /// Where the pods run.
    #[serde(default)]
    pub placement: Placement,
    /// Base URL that viewers reach the region's edges at, where it is not the address of the edge Service (a CDN, a DNS name).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub public_url: Option<String>,
    /// The cluster it runs in, where that is another than the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<RegionCluster>,
}

/// A cluster of a region's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegionCluster {
    /// The Secret with the kubeconfig, in the platform's namespace. Keys and certificates stand in the kubeconfig itself: it
    /// may name neither files nor commands.
    pub kubeconfig_secret_ref: KubeconfigSecretRef,
    /// Namespace in that cluster; the platform's where absent. It has to be there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
}

/// Where a kubeconfig is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubeconfigSecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), pattern(r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in the Secret.
    #[serde(default = "default_key")]
    #[schemars(length(min = 1, max = 253), pattern(r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// Where a region's pods run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Placement {
    /// Node labels; `topology.kubernetes.io/region: <name>` where this is empty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
}

fn all_roles() -> Vec<Role> {
    Role::ALL.to_vec()
}

fn default_weight() -> u32 {
    100
}

fn default_key() -> String {
    "kubeconfig".to_owned()
}
