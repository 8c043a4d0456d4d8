//! Prometheus metrics of an origin.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Labels of ingest counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct IngestLabels {
    /// Channel, as configured.
    pub channel: String,
    /// `published`, `duplicate`, `replaced` or `refused`.
    pub outcome: &'static str,
}

/// Labels of one channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ChannelLabels {
    /// Channel, as configured.
    pub channel: String,
}

/// The metrics and their registry.
#[derive(Debug)]
pub struct Metrics {
    /// Everything below, for rendering.
    pub registry: Registry,
    /// PUTs by outcome.
    pub ingest: Family<IngestLabels, Counter>,
    /// Seconds since the newest complete segment was published.
    pub age: Family<ChannelLabels, Gauge<f64, AtomicU64>>,
    /// Bytes of segments held.
    pub held: Family<ChannelLabels, Gauge>,
    /// Body bytes sent.
    pub sent: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("showrunner_origin");
        let (ingest, age, held, sent) = (
            Family::default(),
            Family::default(),
            Family::default(),
            Counter::default(),
        );
        registry.register("ingest", "Objects put by encoders, by outcome", ingest.clone());
        registry.register(
            "segment_age_seconds",
            "Age of the newest segment that every rendition has",
            age.clone(),
        );
        registry.register("held_bytes", "Bytes of segments in memory", held.clone());
        registry.register("sent_bytes", "Bytes of object bodies sent", sent.clone());
        Self {
            registry,
            ingest,
            age,
            held,
            sent,
        }
    }
}
