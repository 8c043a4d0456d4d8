//! `TimeChaos`: clocks are wrong.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::experiment;
use crate::{
    selector::{Mode, PodSelector},
    status::ChaosStatus,
};

/// The clocks of containers are wrong.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "chaos-mesh.org",
    version = "v1alpha1",
    kind = "TimeChaos",
    plural = "timechaos",
    singular = "timechaos",
    namespaced,
    status = "ChaosStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct TimeChaosSpec {
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
    /// By how much, a Go duration that may be negative: `-10m`.
    pub time_offset: String,
    /// Clocks concerned; `CLOCK_REALTIME` where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clock_ids: Vec<String>,
}

experiment!(TimeChaos);
