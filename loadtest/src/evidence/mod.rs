//! Evidence: what a run saw, append-only, one JSON object a line. Verdicts and reports are functions of it alone.

mod event;
pub(crate) mod lines;
mod read;
mod write;

pub use event::{
    ConditionSeen, EdgeSeen, Event, FaultStage, Header, KubeEventSeen, OriginSeen, Record, RunEnd, SCHEMA, SteadyStage,
};
pub use read::{Evidence, ReadError, read};
pub use write::{Recorder, WriteError, Writer};
