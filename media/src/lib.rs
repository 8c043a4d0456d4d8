//! Showrunner's streaming data plane. One binary, several roles:
//!
//! - [`encoder`]: supervises ffmpeg, epoch-locked, and pushes what it makes to every origin.
//! - [`origin`]: takes segments, keeps the first valid copy, renders media playlists, says whether the stream is fresh.
//! - [`steering`]: multivariant playlists, steering manifests, its own probes of the edges, the audience count.
//! - [`services`]: the reference entitlement, licence and session services that drills use.
//!
//! Around them: [`epoch`] (segment numbers are wall-clock time), [`bmff`] (what makes a segment valid), [`object`] (the only
//! names that exist), [`server`] and [`client`] (bounded HTTP).
//!
//! Nothing here knows Kubernetes: a role reads a configuration file and listens on an address.

pub mod backoff;
pub mod bmff;
pub mod cli;
pub mod client;
pub mod codec;
pub mod encoder;
pub mod epoch;
pub mod object;
pub mod origin;
pub mod server;
pub mod services;
pub mod steering;
pub mod telemetry;
