//! A channel: its input, its ladder, its segments.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Input;
use crate::duration::GoDuration;

/// One live stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Channel {
    /// Name, a DNS label of at most 20 characters: it becomes part of object names.
    #[schemars(length(min = 1, max = 20), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Where the pictures come from. ffmpeg's test picture where absent.
    // No default in the schema: a stored `testPattern` would stand beside the `url` that is stated later.
    #[serde(default, skip_serializing_if = "Input::is_test_pattern")]
    pub input: Input,
    /// The rungs, best first or last: players sort by bitrate.
    #[schemars(length(min = 1, max = 12), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub ladder: Vec<Rung>,
    /// The audio rendition.
    #[serde(default)]
    pub audio: Audio,
    /// Frames per second of every rung.
    #[serde(default = "default_fps")]
    #[schemars(range(min = 1, max = 120))]
    pub frame_rate: u32,
    /// Length of a segment, in whole seconds: encoders cut on the epoch's multiples of it.
    #[serde(default = "default_segment")]
    #[schemars(range(min = 1, max = 10))]
    pub segment_seconds: u32,
    /// How far back viewers may seek, and what the origin keeps.
    #[serde(default = "default_dvr")]
    pub dvr_window: GoDuration,
}

/// One quality of the ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rung {
    /// Name, a DNS label; it becomes part of the URL. `audio` is taken.
    #[schemars(length(min = 1, max = 20), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Width in pixels, even.
    #[schemars(range(min = 16, max = 7680))]
    pub width: u32,
    /// Height in pixels, even.
    #[schemars(range(min = 16, max = 4320))]
    pub height: u32,
    /// Video bitrate in kbit/s.
    #[schemars(range(min = 16, max = 100_000))]
    pub bitrate_kbps: u32,
}

/// The audio rendition of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Audio {
    /// Bitrate in kbit/s (AAC-LC).
    #[serde(default = "Audio::default_bitrate")]
    #[schemars(range(min = 16, max = 512))]
    pub bitrate_kbps: u32,
    /// Language (BCP 47).
    #[serde(default = "Audio::default_language")]
    #[schemars(length(min = 2, max = 35), pattern(r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$"))]
    pub language: String,
}

impl Audio {
    fn default_bitrate() -> u32 {
        48
    }
    fn default_language() -> String {
        "en".into()
    }
}

impl Default for Audio {
    fn default() -> Self {
        Self {
            bitrate_kbps: Self::default_bitrate(),
            language: Self::default_language(),
        }
    }
}

fn default_fps() -> u32 {
    25
}

fn default_segment() -> u32 {
    2
}

fn default_dvr() -> GoDuration {
    GoDuration::from_secs(120)
}
