//! The node agent: what a kubelet does, with processes for containers.

mod backoff;
mod config;
mod context;
mod env;
mod events;
mod expand;
mod fields;
pub(crate) mod groups;
mod handler;
mod images;
mod logs;
mod node;
mod probe;
pub(crate) mod procfs;
mod project;
mod run;
mod shared;
mod sources;
mod spawn;
mod state;
mod status;
mod supervise;
mod translate;
mod usage;
mod volumes;
mod worker;

pub mod runtime;

pub use backoff::{BackoffState, CrashBackoff};
pub use config::{NodeConfig, RuntimeConfig};
pub use events::{EventKind, Recorder};
pub use expand::expand;
pub use groups::reap_stale;
pub use images::{ImageError, ImageTable};
pub use node::KUBELET_PORT;
pub use probe::{ProbeState, ProbeTiming, Verdict};
pub use spawn::{SpawnRequest, Spawned, Spawner};
pub use translate::{Translation, references};
