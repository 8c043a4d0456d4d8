//! The event types. Names and units are part of the evidence schema: add fields, never change them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::LatencySummary;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TelemetryEvent {
    /// Milliseconds since the run started.
    pub at_ms: u64,
    /// What.
    pub body: EventBody,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum EventBody {
    /// Something in one viewer's session.
    Viewer {
        /// Number of the viewer, unique in the run.
        viewer: u32,
        /// What.
        event: SessionEvent,
    },
    /// One second of one region's viewers on one pathway.
    Second(SecondSample),
    /// One second of the generator itself.
    Generator(GeneratorHealth),
    /// The audience, once a second.
    Population(PopulationSample),
}

/// What happens in a viewer's session, by the definitions of CTA-2066.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SessionEvent {
    /// The viewer pressed play.
    Started {
        /// Where it is.
        region: Arc<str>,
        /// Its access network.
        network: Arc<str>,
    },
    /// The first frame shows.
    Startup {
        /// Since the viewer pressed play.
        ms: u64,
        /// Pathway it plays from.
        pathway: Arc<str>,
    },
    /// The buffer ran empty.
    StallStarted {
        /// Pathway at that time.
        pathway: Arc<str>,
    },
    /// Playing again.
    StallEnded {
        /// How long it stood.
        ms: u64,
        /// Pathway at that time.
        pathway: Arc<str>,
    },
    /// The viewer left one pathway for another.
    PathwaySwitched {
        /// Old pathway.
        from: Arc<str>,
        /// New pathway.
        to: Arc<str>,
        /// Who wanted it.
        reason: PathwaySwitchReason,
    },
    /// The first video segment came from a pathway it had switched to.
    FirstSegmentOnPathway {
        /// New pathway.
        pathway: Arc<str>,
        /// Since the switch.
        ms: u64,
    },
    /// Another rung of the ladder.
    RungSwitched {
        /// Old bitrate in bit/s.
        from: u64,
        /// New bitrate in bit/s.
        to: u64,
    },
    /// Media that was never shown: it fell out of the live window, or the packager marked it as missing.
    Skipped {
        /// How much of it.
        ms: u64,
    },
    /// New segments came again, or the session ended, after a time in which none had. Told if it was longer than
    /// [`SessionEnd::gaps_told_above_ms`].
    StreamGap {
        /// From the moment of the newest segment so far.
        ms: u64,
    },
    /// A request failed.
    Error {
        /// What was asked for.
        class: RequestClass,
        /// How it failed.
        kind: ErrorKind,
        /// Status code, where there was one.
        status: Option<u16>,
        /// Pathway of the request; empty for what has none.
        pathway: Arc<str>,
    },
    /// Playback was given up.
    Fatal {
        /// Why, for people.
        reason: String,
    },
    /// The session is over, for whatever reason.
    Ended(SessionEnd),
}

/// What a session came to. `startupMs + playedMs + stalledMs` is its length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionEnd {
    /// Whether it ever played.
    pub started: bool,
    /// Whether it ended in a fatal error.
    pub fatal: bool,
    /// From pressing play to the first frame, or to the end where there was none.
    pub startup_ms: u64,
    /// Time playing.
    pub played_ms: u64,
    /// Time with an empty buffer after the first frame.
    pub stalled_ms: u64,
    /// How often the buffer ran empty.
    pub stalls: u32,
    /// Body bytes received.
    pub bytes: u64,
    /// Longest time between two moments at which new segments became known, in the session.
    pub gap_max_ms: u64,
    /// Gaps longer than this were told one by one; absent where none were, and of sessions that had no playlist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gaps_told_above_ms: Option<u64>,
    /// Media never shown.
    pub skipped_ms: u64,
    /// Pathway switches.
    pub pathway_switches: u32,
    /// Rung switches.
    pub rung_switches: u32,
    /// Time-weighted mean of the played bitrate in bit/s; 0 if nothing played.
    pub mean_bitrate: u64,
    /// Distance to the live edge at the end.
    pub live_latency_ms: u64,
    /// Pathway at the end.
    pub pathway: Arc<str>,
}

/// Why a viewer switched pathway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathwaySwitchReason {
    /// The steering manifest puts another one first.
    Steering,
    /// Requests on the old one failed.
    Errors,
}

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RequestClass {
    /// Multivariant playlist.
    Multivariant,
    /// Media playlist, video or audio.
    Playlist,
    /// Initialisation section.
    Init,
    /// Video segment.
    Segment,
    /// Audio segment.
    Audio,
    /// Steering manifest.
    Steering,
    /// Entitlement call.
    Entitlement,
    /// Licence call.
    Licence,
    /// Session heartbeat.
    Heartbeat,
}

impl RequestClass {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 9] = [
        Self::Multivariant,
        Self::Playlist,
        Self::Init,
        Self::Segment,
        Self::Audio,
        Self::Steering,
        Self::Entitlement,
        Self::Licence,
        Self::Heartbeat,
    ];

    /// The name used in events and in goose's reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Multivariant => "multivariant",
            Self::Playlist => "playlist",
            Self::Init => "init",
            Self::Segment => "segment",
            Self::Audio => "audio",
            Self::Steering => "steering",
            Self::Entitlement => "entitlement",
            Self::Licence => "licence",
            Self::Heartbeat => "heartbeat",
        }
    }

    /// Whether it is a call to a service, not a part of the stream.
    #[must_use]
    pub fn is_service(self) -> bool {
        matches!(self, Self::Entitlement | Self::Licence | Self::Heartbeat)
    }

    /// Whether its bytes are media segments: what cache hit ratios are about.
    #[must_use]
    pub fn is_media(self) -> bool {
        matches!(self, Self::Segment | Self::Audio)
    }
}

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorKind {
    /// No connection: refused, unreachable, unknown name.
    Connect,
    /// Silence past a deadline.
    Timeout,
    /// The connection ended before an answer.
    Closed,
    /// The body ended early.
    Truncated,
    /// The answer makes no sense: not HTTP, not a playlist, too large.
    Malformed,
    /// A status that is not success.
    Status,
    /// Asked for something this client cannot do.
    Unsupported,
}

/// One second of one region's viewers on one pathway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecondSample {
    /// Where the viewers are.
    pub region: Arc<str>,
    /// Where they play from; empty while they have not loaded the multivariant playlist.
    pub pathway: Arc<str>,
    /// Viewers playing at the end of the second.
    pub playing: u32,
    /// Viewers with an empty buffer then.
    pub stalled: u32,
    /// Viewers that have not shown a first frame then.
    pub starting: u32,
    /// Media segment bytes answered from the edge's cache.
    pub hit_bytes: u64,
    /// Media segment bytes the edge fetched.
    pub miss_bytes: u64,
    /// By class of request; classes without a request are absent.
    pub classes: BTreeMap<RequestClass, ClassSample>,
}

/// Requests of one class in one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassSample {
    /// Requests ended, failed ones included.
    pub requests: u64,
    /// Failed ones.
    pub errors: u64,
    /// Body bytes, of failed ones too.
    pub bytes: u64,
    /// From due to the last byte, of successful ones.
    pub latency: LatencySummary,
}

/// One second of the generator itself: whether its measurements can be believed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GeneratorHealth {
    /// Cores this process used, as a share of all (0–1).
    pub cpu_share: f64,
    /// Cores in use on the machine by anything, as a share of all (0–1); absent where `/proc/stat` is.
    pub machine_cpu_share: Option<f64>,
    /// Wake-ups in the second.
    pub wakeups: u64,
    /// Difference between when viewers were due to act and when they did, 99th percentile in microseconds.
    pub lateness_p99_us: u64,
    /// Largest such difference in microseconds.
    pub lateness_max_us: u64,
    /// Requests goose could not be told of, because its queue was full.
    pub unreported: u64,
}

/// The audience at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PopulationSample {
    /// Region.
    pub region: Arc<str>,
    /// Viewers the plan has there now.
    pub target: u32,
    /// Viewers in a session now.
    pub active: u32,
}
