//! The requests a second that a scenario plans for.

use std::time::Duration;

use showrunner_crds::platform::{Channel, ServiceKind, StreamingPlatformSpec};

use crate::plan::Timeline;

/// Segments that a player fetches at once when it starts, of each rendition: its distance from the live edge.
const FIRST_SEGMENTS: f64 = 3.0;
/// Renditions that a viewer plays at a time: video and audio.
const RENDITIONS: f64 = 2.0;

/// Requests a second at the busiest moment that the timeline plans for, all regions together. Failures, and the switches and
/// repeats that follow them, come on top.
#[must_use]
pub fn planned(timeline: &Timeline, platform: &StreamingPlatformSpec, channel: &str, heartbeat: Duration) -> f64 {
    let Some(channel) = platform.channels.iter().find(|known| known.name == channel) else {
        return 0.0;
    };
    let (steady, start) = (watching(platform, channel, heartbeat), starting(platform));
    let phases = timeline.phases.iter().map(|phase| {
        let (from, to) = (f64::from(phase.from_viewers), f64::from(phase.to_viewers));
        let seconds = ((phase.end_ms - phase.start_ms) as f64 / 1000.0).max(1.0);
        from.max(to) * steady + (to - from).max(0.0) / seconds * start
    });
    phases.fold(0.0, f64::max)
}

/// Requests a second of a viewer who watches: of each rendition a playlist and a segment every segment's length, the steering
/// manifest, heartbeats.
fn watching(platform: &StreamingPlatformSpec, channel: &Channel, heartbeat: Duration) -> f64 {
    let segment = f64::from(channel.segment_seconds).max(0.1);
    let beats = platform
        .services
        .iter()
        .any(|service| service.kind == ServiceKind::Session);
    let beats = if beats {
        1.0 / heartbeat.as_secs_f64().max(0.1)
    } else {
        0.0
    };
    2.0 * RENDITIONS / segment + 1.0 / f64::from(platform.steering.ttl_seconds).max(0.1) + beats
}

/// Requests of a viewer who starts: the multivariant playlist and the steering manifest, of each rendition a playlist, an
/// initialisation section and the first segments, and the services that are asked once.
fn starting(platform: &StreamingPlatformSpec) -> f64 {
    let once = |kind: ServiceKind| matches!(kind, ServiceKind::Entitlement | ServiceKind::Licence);
    let services = platform.services.iter().filter(|service| once(service.kind)).count();
    2.0 + RENDITIONS * (2.0 + FIRST_SEGMENTS) + services as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        plan::plan,
        testing::{platform, scenario},
    };

    fn peak(change: impl Fn(&mut StreamingPlatformSpec, &mut showrunner_crds::scenario::ScenarioSpec)) -> f64 {
        let (mut platform, mut scenario) = (platform(), scenario());
        change(&mut platform, &mut scenario);
        let timeline = plan(&scenario, &platform, None).unwrap();
        planned(
            &timeline,
            &platform,
            &scenario.audience.channel,
            Duration::from_secs(10),
        )
    }

    #[test]
    fn the_busiest_phase_counts_and_so_do_those_who_start_in_it() {
        let base = peak(|_, _| ());
        // 40 viewers of audio and video in segments of `segmentSeconds`, and 3 a second that start in the surge.
        let platform = platform();
        let channel = &platform.channels[0];
        let steady = watching(&platform, channel, Duration::from_secs(10));
        let expected = 40.0 * steady + 3.0 * starting(&platform);
        assert!((base - expected).abs() < 1e-9, "{base} {expected}");
        let slower = peak(|_, s| s.audience.phases[1].duration = "20s".parse().unwrap());
        assert!(slower < base, "half as many start at a time");
    }

    #[test]
    fn more_of_anything_is_more() {
        let base = peak(|_, _| ());
        assert!(peak(|_, s| s.audience.phases[2].viewers = 400) > 5.0 * base);
        assert!(peak(|p, _| p.channels[0].segment_seconds *= 2) < base);
        assert!(peak(|p, _| p.steering.ttl_seconds = 1) > base);
        assert!(peak(|p, _| p.services.clear()) < base);
    }
}
