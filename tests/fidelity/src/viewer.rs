//! Our viewer over a line.

use std::sync::Arc;
use std::time::Duration;

use showrunner_loadtest::audience::{SoloSession, watch_alone};
use showrunner_loadtest::http::Access;
use showrunner_loadtest::player::{Identity, PlayerSettings};
use showrunner_loadtest::telemetry::SessionEvent;

use crate::line::Line;
use crate::timeline::{Sample, Timeline};

/// How often the player is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// Watches for `length`.
pub(crate) async fn watch(line: &Line, length: Duration) -> Timeline {
    let identity = Identity {
        viewer: 0,
        channel: "main".into(),
        url: Arc::new(line.url.clone()),
        seed: 1,
    };
    // The line does all the shaping.
    let access = Access::unlimited();
    let session = watch_alone(identity, Arc::new(PlayerSettings::default()), access, length, EVERY).await;
    timeline(&session, length)
}

fn timeline(session: &SoloSession, length: Duration) -> Timeline {
    let mut timeline = Timeline::default();
    let mut stalled_at = None;
    for (at, event) in &session.events {
        let at = at.as_secs_f64();
        match event {
            SessionEvent::Startup { ms, .. } => timeline.startup = Some(*ms as f64 / 1000.0),
            SessionEvent::StallStarted { .. } => stalled_at = Some(at),
            SessionEvent::StallEnded { ms, .. } => {
                let length = *ms as f64 / 1000.0;
                timeline.stalls.push((at - length, length));
                stalled_at = None;
            }
            SessionEvent::Fatal { reason } => timeline.fatal = Some(reason.clone()),
            _ => {}
        }
    }
    if let Some(at) = stalled_at {
        timeline.stalls.push((at, length.as_secs_f64() - at));
    }
    timeline.samples = session
        .glimpses
        .iter()
        .map(|glimpse| Sample {
            at: glimpse.at.as_secs_f64(),
            buffered: glimpse.buffered.as_secs_f64(),
            played: glimpse.played.as_secs_f64(),
        })
        .collect();
    let mut last = None;
    for glimpse in &session.glimpses {
        if last.replace(glimpse.estimate) != Some(glimpse.estimate) {
            timeline
                .estimates
                .push((glimpse.at.as_secs_f64(), glimpse.estimate as f64));
        }
    }
    timeline
}

#[cfg(test)]
mod tests {
    use showrunner_loadtest::audience::Glimpse;
    use showrunner_loadtest::player::PlaybackState;

    use super::*;

    #[test]
    fn stalls_are_placed_where_they_began_and_the_last_one_lasts() {
        let seconds = Duration::from_secs;
        let pathway = || "line".into();
        let session = SoloSession {
            glimpses: vec![Glimpse {
                at: seconds(1),
                state: PlaybackState::Playing,
                buffered: seconds(4),
                played: Duration::ZERO,
                estimate: 500_000,
            }],
            events: vec![
                (
                    seconds(1),
                    SessionEvent::Startup {
                        ms: 1000,
                        pathway: pathway(),
                    },
                ),
                (seconds(5), SessionEvent::StallStarted { pathway: pathway() }),
                (
                    seconds(7),
                    SessionEvent::StallEnded {
                        ms: 2000,
                        pathway: pathway(),
                    },
                ),
                (seconds(9), SessionEvent::StallStarted { pathway: pathway() }),
            ],
        };
        let timeline = timeline(&session, seconds(10));
        assert_eq!(
            (timeline.startup, timeline.stalls),
            (Some(1.0), vec![(5.0, 2.0), (9.0, 1.0)])
        );
    }
}
