//! The player's knobs. Defaults are hls.js's, except where a comment says otherwise.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::{LoadPolicy, MediaPolicy, RetryPolicy};
use crate::http::{Deadlines, HostList};

/// How a player behaves.
#[derive(Clone, Debug)]
pub struct PlayerSettings {
    /// Where to start and where to jump back to, in target durations from the live edge.
    pub live_sync_durations: u32,
    /// Stop fetching ahead once this much is buffered.
    pub buffer_goal: Duration,
    /// Least estimate before the first measurement, in bit/s. The rung that is listed first raises it to its own bandwidth…
    pub initial_bandwidth: u64,
    /// …but not above this, in bit/s.
    pub initial_bandwidth_max: u64,
    /// Share of the estimate a rung may need if it is not above the current one.
    pub down_factor: f64,
    /// Share of the estimate a higher rung may need.
    pub up_factor: f64,
    /// Buffer starvation accepted when no rung loads in time, a segment's length at most.
    pub starvation: Duration,
    /// How long a failed pathway is avoided.
    pub pathway_penalty: Duration,
    /// Wait between steering polls before a manifest gave its TTL.
    pub steering_ttl: Duration,
    /// Patience with media while another pathway is known.
    pub media: MediaPolicy,
    /// Patience with media of a stream that has one pathway only.
    pub alone: MediaPolicy,
    /// Patience with the multivariant playlist and the steering manifest; services have deadlines of their own. hls.js gives the one
    /// 20 s, and the other 10 s to the first byte; for a live event somebody who sees nothing for 4 s tries again.
    pub control: LoadPolicy,
    /// Connections to one host at a time, as browsers have them over HTTP/1.1: video, audio and playlists share the line instead
    /// of waiting for each other, and what is measured of the line is a share of it.
    pub connections_per_host: usize,
    /// What the device adds to the network's time.
    pub device: Device,
    /// Give up once every pathway has failed for this long: looked at when the retries of a request are used up. In silence, with one
    /// pathway, that is after some 50 s.
    pub fatal_after: Duration,
    /// Services that playback calls.
    pub services: Services,
    /// Hosts that it may connect to; any if `None`.
    pub hosts: Option<Arc<HostList>>,
}

impl Default for PlayerSettings {
    fn default() -> Self {
        Self {
            live_sync_durations: 3,
            buffer_goal: Duration::from_secs(30),
            initial_bandwidth: 500_000,
            initial_bandwidth_max: 5_000_000,
            down_factor: 0.95,
            up_factor: 0.7,
            starvation: Duration::from_secs(4),
            pathway_penalty: Duration::from_mins(5),
            steering_ttl: Duration::from_mins(5),
            media: MediaPolicy::with_alternatives(),
            alone: MediaPolicy::alone(),
            control: LoadPolicy {
                deadlines: Deadlines {
                    total: Duration::from_secs(10),
                    ..Deadlines::default()
                },
                retry: RetryPolicy::default(),
            },
            connections_per_host: 6,
            device: Device::default(),
            fatal_after: Duration::from_secs(30),
            services: Services::default(),
            hosts: None,
        }
    }
}

/// What a viewer waits for that is not the network, at the start of a session. Later on it hides behind the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// From the multivariant playlist to asking for media playlists: the player reads it and opens a media source.
    pub open: Duration,
    /// From having enough media to a moving picture: the player takes segments apart, the decoders start.
    pub first_frame: Duration,
}

impl Default for Device {
    /// What hls.js in a desktop browser was seen to add (`docs/fidelity.md`).
    fn default() -> Self {
        Self {
            open: Duration::from_millis(30),
            first_frame: Duration::from_millis(100),
        }
    }
}

/// Services that playback calls; absent ones are not called.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Services {
    /// Asked first: may this viewer watch?
    pub entitlement: Option<ServiceEndpoint>,
    /// Asked for content keys after the multivariant playlist.
    pub licence: Option<ServiceEndpoint>,
    /// Told that the session goes on.
    pub heartbeat: Option<ServiceEndpoint>,
    /// Time between heartbeats; the default if `None` is 30 s.
    pub heartbeat_interval: Option<Duration>,
}

/// One service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceEndpoint {
    /// Where to `POST`.
    pub url: Url,
    /// How long to wait for an answer.
    pub deadline: Duration,
    /// Whether playback may not start without it.
    pub critical: bool,
    /// Consecutive failures after which it is left alone for a while.
    pub breaker_failures: u32,
    /// How long it is left alone.
    pub breaker_open: Duration,
}

impl ServiceEndpoint {
    /// A critical service with a second to answer.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self {
            url,
            deadline: Duration::from_secs(1),
            critical: true,
            breaker_failures: 5,
            breaker_open: Duration::from_secs(10),
        }
    }
}
