//! `Scenario`: an audience, what goes wrong, and what must hold.

mod audience;
mod fault;
mod gate;
mod guardrails;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use audience::{AccessNetwork, Audience, Phase, RegionShare};
pub use fault::{Fault, FaultAction, FaultStart};
pub use gate::{Gate, GateCheck, Window};
pub use guardrails::{Guardrails, StopCondition, StopMetric};

use crate::duration::GoDuration;

/// A rehearsal: load phases, faults on a timeline, and gates.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "showrunner.dev",
    version = "v1alpha1",
    kind = "Scenario",
    namespaced,
    shortname = "scn",
    category = "showrunner",
    doc = "A rehearsal: load phases, faults on a timeline, and gates.",
    printcolumn = r#"{"name":"Title","type":"string","jsonPath":".spec.title"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScenarioSpec {
    /// One line for reports.
    #[schemars(length(min = 1, max = 120))]
    pub title: String,
    /// Seed of every random choice of the run; `--seed` overrides it.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// JSON merge patch (RFC 7386) applied to the platform's `spec` before the run: how a negative control switches
    /// off what the drill proves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub platform_patch: Option<Value>,
    /// Who watches, from where, and when.
    pub audience: Audience,
    /// What goes wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub faults: Vec<Fault>,
    /// How long the platform may take to settle before and after, each.
    #[serde(default = "default_settle")]
    pub steady_state_deadline: GoDuration,
    /// What ends the run early, whatever else is asked for.
    #[serde(default)]
    pub guardrails: Guardrails,
    /// What must hold. At least one.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub gates: Vec<Gate>,
}

fn default_seed() -> u64 {
    1
}

fn default_settle() -> GoDuration {
    GoDuration::from_secs(90)
}

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
