//! The player's parsers.

#[path = "../../src/player/playlist.rs"]
mod playlist;
#[path = "../../src/player/steering.rs"]
mod steering;

pub use playlist::{MediaPlaylist, Multivariant, PlaylistError, Rung, Segment};
pub use steering::{SteeringError, SteeringManifest};
