//! The audience of a benchmark: one region, one network that does not limit anything.

use std::net::SocketAddr;
use std::time::Duration;

use showrunner_loadtest::audience::{Arrivals, AudiencePlan, Network, PhaseTarget, RegionSlice};
use showrunner_loadtest::player::PlayerSettings;
use url::Url;

/// `viewers` that arrive within `ramp` and stay until `length`, on a stream of the benchmark's server.
pub(crate) fn plan(
    (server, stream): (SocketAddr, &str),
    viewers: u32,
    (ramp, length): (Duration, Duration),
    player: PlayerSettings,
) -> AudiencePlan {
    let phase = |duration| PhaseTarget { duration, viewers };
    AudiencePlan {
        playback_url: Url::parse(&format!("http://{server}/play/{stream}/multivariant.m3u8")).unwrap(),
        channel: "one".into(),
        phases: vec![phase(ramp), phase(length.saturating_sub(ramp))],
        regions: vec![RegionSlice {
            region: "east".into(),
            share: 1,
        }],
        networks: vec![Network {
            name: "lan".into(),
            share: 1,
            down_kbps: None,
            rtt: Duration::ZERO,
        }],
        arrivals: Arrivals::Even,
        seed: 1,
        player,
    }
}
