//! `PodChaos`: pods are killed or kept from working.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::experiment;
use crate::{
    selector::{Mode, PodSelector},
    status::ChaosStatus,
};

/// Pods are killed or kept from working.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "chaos-mesh.org",
    version = "v1alpha1",
    kind = "PodChaos",
    plural = "podchaos",
    singular = "podchaos",
    namespaced,
    status = "ChaosStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct PodChaosSpec {
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
    /// What happens.
    pub action: PodAction,
    /// Seconds a killed pod has to end (`pod-kill`).
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub grace_period: i64,
}

/// What happens to a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PodAction {
    /// It is deleted, once.
    #[default]
    PodKill,
    /// It does not work while the experiment runs.
    PodFailure,
    /// Its containers are killed, once.
    ContainerKill,
}

experiment!(PodChaos, one_shot = |chaos| chaos.spec.action != PodAction::PodFailure);
