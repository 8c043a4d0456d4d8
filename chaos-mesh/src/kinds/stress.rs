//! `StressChaos`: CPU and memory are used up.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::experiment;
use crate::{
    selector::{Mode, PodSelector},
    status::ChaosStatus,
};

/// CPU and memory of containers are used up.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "chaos-mesh.org",
    version = "v1alpha1",
    kind = "StressChaos",
    plural = "stresschaos",
    singular = "stresschaos",
    namespaced,
    status = "ChaosStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct StressChaosSpec {
    /// Which pods.
    pub selector: PodSelector,
    /// How many of them.
    pub mode: Mode,
    /// The number that the mode needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How long it lasts, in Go's notation; until it is deleted where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Names of the containers concerned; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub container_names: Vec<String>,
    /// What is used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stressors: Option<Stressors>,
    /// The same in the words of stress-ng; wins over `stressors`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stressng_stressors: Option<String>,
}

/// What is used up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stressors {
    /// Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStressor>,
    /// CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuStressor>,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemoryStressor {
    /// Processes that do it.
    #[schemars(range(max = 8192))]
    pub workers: u32,
    /// How much together: `256MB`, or a percentage of what there is, `50%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Further options of stress-ng.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpuStressor {
    /// Processes that do it.
    #[schemars(range(max = 8192))]
    pub workers: u32,
    /// Load of each in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<u32>,
    /// Further options of stress-ng.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

experiment!(StressChaos);
