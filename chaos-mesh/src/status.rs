//! What the controller reports about an experiment.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `status` of every experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ChaosStatus {
    /// `Selected`, `AllInjected`, `AllRecovered`, `Paused`. `AllRecovered` is `True` before the injection, too: use
    /// [`crate::recovered`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ChaosCondition>,
    /// What is to be and what is.
    pub experiment: ExperimentStatus,
    /// Bookkeeping by target of the kinds that act through a helper object or process.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "open_map")]
    pub instances: BTreeMap<String, Value>,
}

impl ChaosStatus {
    /// Whether the condition of this type is `True`.
    pub fn condition(&self, kind: &str) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.kind == kind && condition.status == "True")
    }
}

/// Type of the condition that pods were selected.
pub const SELECTED: &str = "Selected";
/// Type of the condition that no record is left to inject.
pub const ALL_INJECTED: &str = "AllInjected";
/// Type of the condition that no record is left to recover: true before the injection, too.
pub const ALL_RECOVERED: &str = "AllRecovered";
/// Type of the condition that the experiment is paused.
pub const PAUSED: &str = "Paused";

/// One condition. Chaos Mesh's conditions have no transition time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChaosCondition {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What is to be and what is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentStatus {
    /// What the controller works towards; absent until it has seen the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_phase: Option<DesiredPhase>,
    /// One record a target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container_records: Vec<Record>,
}

/// What the controller works towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DesiredPhase {
    /// Every target injected.
    Run,
    /// No target injected.
    Stop,
}

/// Phase of a record whose fault is in place.
pub const INJECTED: &str = "Injected";
/// Phase of a record whose fault is not, or no longer, in place.
pub const NOT_INJECTED: &str = "Not Injected";

/// One target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// `namespace/pod` or `namespace/pod/container`.
    pub id: String,
    /// Which selector of the spec chose it: `.` or `.Target`.
    #[serde(default)]
    pub selector_key: String,
    /// [`INJECTED`] or [`NOT_INJECTED`]; a kind may report steps between (`Not Injected/Wait`), so this is no enumeration.
    pub phase: String,
    /// How often the injection succeeded.
    #[serde(default)]
    pub injected_count: i64,
    /// How often the recovery succeeded.
    #[serde(default)]
    pub recovered_count: i64,
    /// What was tried, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<RecordEvent>,
}

impl Record {
    /// The pod's namespace and name.
    pub fn pod(&self) -> Option<(&str, &str)> {
        let mut parts = self.id.split('/');
        Some((parts.next()?, parts.next()?))
    }
}

/// One attempt on a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordEvent {
    /// `Succeeded` or `Failed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `Apply` or `Recover`.
    pub operation: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

fn open_map(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
