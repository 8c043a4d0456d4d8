//! What data-plane processes report over HTTP, beside their Prometheus metrics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GET /stats` of an origin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OriginStats {
    /// Segments published, first copies only.
    pub published: u64,
    /// Segments that came again and were dropped.
    pub duplicates: u64,
    /// Completed segment fetches by shield pod (`X-Showrunner-Shield`; `none` where the header is absent).
    pub shields: BTreeMap<String, ShieldFetches>,
}

/// What one shield fetched from one origin. Segments only; a range or a repeat counts again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShieldFetches {
    /// Distinct segments.
    pub objects: u64,
    /// Fetches of them, answered in full.
    pub fetches: u64,
    /// Most fetches of one segment.
    pub max_per_object: u64,
}

/// `GET /audience` of a steering server: what it alone saw. Sums over servers are the audience.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AudienceReport {
    /// Length of the sliding window in seconds.
    pub window_seconds: f64,
    /// Concurrent viewers by pathway, from polls in the window.
    pub pathways: BTreeMap<String, f64>,
}
