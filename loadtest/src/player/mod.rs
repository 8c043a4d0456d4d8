//! The player, as a pure state machine modelled on hls.js 1.7: no sockets, no clock, no tasks.
//!
//! [`Player::on`] takes an event and the time, and says what to do. The same player runs on real sockets, under paused time
//! and in a simulation.

mod abr;
mod bandwidth;
mod event;
mod freshness;
mod init;
mod job;
mod load_policy;
mod machine;
mod memo;
mod playback;
mod playlist;
mod reload;
mod services;
mod settings;
mod steering;
mod track;

pub use bandwidth::BandwidthEstimator;
pub use event::{Action, Event, Failure, Fetch, FetchId, Fetched};
pub use load_policy::{LoadPolicy, MediaPolicy, RetryPolicy};
pub use machine::{Identity, Player};
pub use playback::{PlaybackClock, PlaybackState};
pub use playlist::{MediaPlaylist, Multivariant, PlaylistError, Rung, Segment};
pub use settings::{Device, PlayerSettings, ServiceEndpoint, Services};
pub use steering::{SteeringError, SteeringManifest};
