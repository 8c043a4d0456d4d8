//! What viewers and the generator report, as plain data.
//!
//! Events are small, stable and serde-friendly: they go into the evidence as they are. Every event carries the
//! milliseconds since the run started. Nothing here performs IO; a [`TelemetrySink`] decides where events go.

mod event;
mod generator;
mod latency;
mod meter;

pub use event::{
    ClassSample, ErrorKind, EventBody, GeneratorHealth, PathwaySwitchReason, PopulationSample, RequestClass,
    SecondSample, SessionEnd, SessionEvent, TelemetryEvent,
};
pub use generator::GeneratorProbe;
pub use latency::{LatencyHistogram, LatencySummary};
pub use meter::{ClassTotals, Meter, Outcome, ViewerState};

/// Takes events. Called from many tasks: it must not block, and it must bound what it keeps.
pub trait TelemetrySink: Send + Sync {
    /// One event happened.
    fn event(&self, event: TelemetryEvent);
}

/// Drops everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullSink;

impl TelemetrySink for NullSink {
    fn event(&self, _: TelemetryEvent) {}
}

/// Keeps everything in memory, for tests and short runs.
#[derive(Debug, Default)]
pub struct MemorySink {
    events: std::sync::Mutex<Vec<TelemetryEvent>>,
}

impl MemorySink {
    /// What came so far.
    pub fn events(&self) -> Vec<TelemetryEvent> {
        self.events.lock().map(|events| events.clone()).unwrap_or_default()
    }
}

impl TelemetrySink for MemorySink {
    fn event(&self, event: TelemetryEvent) {
        if let Ok(mut events) = self.events.lock() {
            events.push(event);
        }
    }
}
