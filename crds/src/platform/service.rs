//! What playback depends on besides media.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A service that playback calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceDependency {
    /// Name, a DNS label of at most 20 characters.
    #[schemars(length(min = 1, max = 20), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What it does for playback.
    pub kind: ServiceKind,
    /// URL of a service that others run. Where absent, the reference implementation is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub url: Option<String>,
    /// Replicas per region of the reference implementation.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: u32,
    /// How long a caller waits, in milliseconds.
    #[serde(default = "default_deadline")]
    #[schemars(range(min = 1, max = 60_000))]
    pub deadline_ms: u32,
    /// Whether playback may not start without it.
    #[serde(default = "yes")]
    pub critical: bool,
    /// When callers stop calling for a while.
    #[serde(default)]
    pub breaker: CircuitBreaker,
}

/// What a service does for playback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKind {
    /// May this viewer watch this channel? Gives a signed token.
    Entitlement,
    /// Content keys (W3C ClearKey JSON in the reference implementation).
    Licence,
    /// Heartbeats of running sessions.
    Session,
    /// Anything else that playback must not depend on: search, billing, recommendations, …
    Other,
}

/// A circuit breaker on the caller's side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CircuitBreaker {
    /// Consecutive failures that open it.
    #[serde(default = "CircuitBreaker::default_failures")]
    #[schemars(range(min = 1, max = 1000))]
    pub failures: u32,
    /// How long it stays open, in milliseconds.
    #[serde(default = "CircuitBreaker::default_open")]
    #[schemars(range(min = 1, max = 600_000))]
    pub open_ms: u32,
}

impl CircuitBreaker {
    fn default_failures() -> u32 {
        5
    }
    fn default_open() -> u32 {
        10_000
    }
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            failures: Self::default_failures(),
            open_ms: Self::default_open(),
        }
    }
}

fn default_replicas() -> u32 {
    1
}

fn default_deadline() -> u32 {
    1000
}

fn yes() -> bool {
    true
}
