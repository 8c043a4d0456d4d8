//! `Premiere`: an audience that is announced ahead of time, so that the platform is warm when it comes.

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;

/// A scheduled audience for one platform.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "showrunner.dev",
    version = "v1alpha1",
    kind = "Premiere",
    namespaced,
    status = "PremiereStatus",
    shortname = "prem",
    category = "showrunner",
    doc = "An audience announced ahead of time, so that the platform is warm when it comes.",
    printcolumn = r#"{"name":"Platform","type":"string","jsonPath":".spec.platform"}"#,
    printcolumn = r#"{"name":"Start","type":"date","jsonPath":".spec.start"}"#,
    printcolumn = r#"{"name":"Viewers","type":"integer","jsonPath":".spec.expectedViewers"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PremiereSpec {
    /// Name of the StreamingPlatform in the same namespace.
    pub platform: String,
    /// When the doors open (RFC 3339).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub start: Timestamp,
    /// Concurrent viewers expected at the peak.
    #[schemars(range(min = 1))]
    pub expected_viewers: u32,
    /// How long the audience takes to arrive, from `start`.
    #[serde(default = "default_ramp")]
    pub ramp: GoDuration,
    /// How long the raised capacity is kept, from `start`.
    #[serde(default = "default_duration")]
    pub duration: GoDuration,
    /// How long before `start` the capacity must stand: pod start, node provisioning and cache warm-up together.
    #[serde(default = "default_lead")]
    pub prewarm_lead: GoDuration,
}

/// What the operator says about a premiere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PremiereStatus {
    /// `Scheduled`, `Warming`, `Live` or `Over`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
}

fn default_ramp() -> GoDuration {
    GoDuration::from_secs(300)
}

fn default_duration() -> GoDuration {
    GoDuration::from_secs(3 * 3600)
}

fn default_lead() -> GoDuration {
    GoDuration::from_secs(600)
}
