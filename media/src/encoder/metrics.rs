//! Prometheus metrics of an encoder agent.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Labels of push counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PushLabels {
    /// Base URL, as configured.
    pub origin: String,
    /// `taken`, `refilled`, `refused`, `failed` (one attempt), `given_up` or `dropped`.
    pub outcome: &'static str,
}

/// Labels of segment counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SegmentLabels {
    /// Rendition.
    pub rendition: String,
    /// `made` or `broken`.
    pub outcome: &'static str,
}

/// Labels of restart counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RestartLabels {
    /// `exited`, `stuck`, `behind`, `slipped` or `unstartable`.
    pub reason: &'static str,
}

/// The metrics and their registry.
#[derive(Debug)]
pub struct Metrics {
    /// Everything below, for rendering.
    pub registry: Registry,
    /// Pushes.
    pub pushes: Family<PushLabels, Counter>,
    /// Segments from ffmpeg.
    pub segments: Family<SegmentLabels, Counter>,
    /// Ends of ffmpeg.
    pub restarts: Family<RestartLabels, Counter>,
    /// How late the newest complete segment came.
    pub lag: Gauge<f64, AtomicU64>,
    /// Its number.
    pub newest: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("showrunner_encoder");
        let (pushes, segments, restarts) = (Family::default(), Family::default(), Family::default());
        let (lag, newest) = (Gauge::default(), Gauge::default());
        registry.register("pushes", "Objects pushed to origins, by outcome", pushes.clone());
        registry.register("segments", "Segments taken from ffmpeg", segments.clone());
        registry.register("ffmpeg_restarts", "Times ffmpeg ended, by reason", restarts.clone());
        registry.register(
            "lag_seconds",
            "Time from a segment's end to its completion",
            lag.clone(),
        );
        registry.register(
            "newest_segment",
            "Number of the newest segment that every rendition has",
            newest.clone(),
        );
        Self {
            registry,
            pushes,
            segments,
            restarts,
            lag,
            newest,
        }
    }
}
