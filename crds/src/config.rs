//! The configuration files that the operator renders into ConfigMaps and the data plane reads (JSON).

use serde::{Deserialize, Serialize};

use crate::platform::{Audio, Input, Rung, ServiceKind};

/// `encoder.json`: one channel in one region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EncoderConfig {
    /// Name of the channel.
    pub channel: String,
    /// Name of the region; also the source name that origins see.
    pub region: String,
    /// Where the pictures come from.
    pub input: Input,
    /// The rungs.
    pub ladder: Vec<Rung>,
    /// The audio rendition.
    pub audio: Audio,
    /// Frames per second.
    pub frame_rate: u32,
    /// Segment length in whole seconds.
    pub segment_seconds: u32,
    /// Base URLs of the origins to push to (`http://name.namespace.svc:8080`).
    pub origins: Vec<String>,
    /// How pushes are retried.
    pub push: PushConfig,
}

/// How the encoder agent pushes a segment to an origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PushConfig {
    /// Attempts per segment and origin.
    pub attempts: u32,
    /// Time one attempt may take, in milliseconds.
    pub timeout_ms: u32,
    /// Segments that may wait for one origin; the oldest is dropped beyond that.
    pub queue: usize,
}

impl Default for PushConfig {
    fn default() -> Self {
        Self {
            attempts: 4,
            timeout_ms: 2000,
            queue: 32,
        }
    }
}

/// `origin.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OriginConfig {
    /// Name of the region.
    pub region: String,
    /// What may be pushed.
    pub channels: Vec<OriginChannel>,
    /// Off, the origin is ready whenever it answers.
    pub freshness_enabled: bool,
    /// Age of the newest segment, in percent of its length, from which a stream counts as frozen.
    pub max_age_percent: u32,
    /// Largest object accepted, in bytes.
    pub max_object_bytes: u64,
}

/// One channel at an origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OriginChannel {
    /// Name of the channel.
    pub name: String,
    /// Renditions: every rung's name, and `audio`.
    pub renditions: Vec<String>,
    /// Segment length in whole seconds.
    pub segment_seconds: u32,
    /// Seconds of segments kept and listed.
    pub dvr_seconds: u32,
}

/// `steering.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SteeringConfig {
    /// Base URL that players reach the steering servers at.
    pub public_url: String,
    /// What is played.
    pub channels: Vec<SteeringChannel>,
    /// One pathway a region that has edges, by name.
    pub pathways: Vec<Pathway>,
    /// `TTL` of the steering manifest in seconds.
    pub ttl_seconds: u32,
    /// Off, a player is given one pathway and never another.
    pub failover: bool,
    /// How edges are probed.
    pub probe: crate::platform::Probe,
}

/// One channel as the multivariant playlist states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SteeringChannel {
    /// Name of the channel.
    pub name: String,
    /// The rungs.
    pub ladder: Vec<Rung>,
    /// The audio rendition.
    pub audio: Audio,
    /// Frames per second.
    pub frame_rate: u32,
}

/// One way to the media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pathway {
    /// `PATHWAY-ID`: the region's name.
    pub id: String,
    /// Base URL that players reach the region's edges at; empty while it has no address yet.
    pub public_url: String,
    /// URL that the steering server probes (`…/healthz`).
    pub probe_url: String,
    /// Relative share of the audience.
    pub weight: u32,
}

/// `services.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicesConfig {
    /// Name of the service.
    pub name: String,
    /// What it does.
    pub kind: ServiceKind,
    /// Channels it knows.
    pub channels: Vec<String>,
    /// How long a token is valid, in seconds.
    pub token_seconds: u32,
    /// File with the key that tokens are signed with (a mounted Secret).
    pub key_file: String,
}
