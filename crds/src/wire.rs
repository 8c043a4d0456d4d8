//! What data-plane processes report over HTTP, beside their Prometheus metrics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GET /stats?since=CURSOR` of an origin. Sums are those since it started; single segments are those whose counts changed
/// after the cursor, every segment that it still holds where there is none. A segment's counts are totals, not differences:
/// a report that is read twice, or lost on the way, does no harm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OriginStats {
    /// Which start of the origin counted this. An origin that starts again counts from zero under another name.
    pub instance: String,
    /// What to ask with next time; valid for this instance alone.
    pub cursor: u64,
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
    /// Single segments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentFetches>,
}

/// One shield's fetches of one segment from one origin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SegmentFetches {
    /// `channel/rendition/number`.
    pub segment: String,
    /// Fetches answered in full, by the number of the try (`X-Showrunner-Try`; 0 where the header is absent). A shield
    /// whose first origin fails asks another one as its next try.
    pub tries: Vec<u64>,
    /// Milliseconds from the last of them to this report.
    pub age_ms: u64,
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
