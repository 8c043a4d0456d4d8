//! One viewer by itself, watched closely: what a comparison with another player needs.
//!
//! It is the player and the connections that a drill's viewers have, without their meters.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::lanes::Lanes;
use super::viewer::{event_of, wake_of};
use crate::http::Access;
use crate::player::{Action, Event, Identity, PlaybackState, Player, PlayerSettings};
use crate::telemetry::SessionEvent;

/// What the viewer saw at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// Since it pressed play.
    pub at: Duration,
    /// Starting, playing or stalled.
    pub state: PlaybackState,
    /// Media ahead of the playhead.
    pub buffered: Duration,
    /// Media shown so far.
    pub played: Duration,
    /// What the line is held to carry, in bit/s.
    pub estimate: u64,
}

/// A session from pressing play to leaving.
#[derive(Clone, Debug, Default)]
pub struct SoloSession {
    /// One glimpse every so often.
    pub glimpses: Vec<Glimpse>,
    /// What was reported, with the time since pressing play.
    pub events: Vec<(Duration, SessionEvent)>,
}

/// Watches for `length` and looks at the player every `every`. Ends earlier if the player gives up.
pub async fn watch_alone(
    identity: Identity,
    settings: Arc<PlayerSettings>,
    access: Access,
    length: Duration,
    every: Duration,
) -> SoloSession {
    let start = Instant::now();
    let mut lanes = Lanes::new(Arc::new(access), start, settings.connections_per_host);
    let mut player = Player::new(identity, settings);
    let mut session = SoloSession::default();
    session.tell(&mut player, &mut lanes, Event::Start, start);
    let mut look = start + every;
    while !player.is_ended() && start.elapsed() < length {
        let wake = player.next_wake().map(|wake| start + wake);
        let idle = lanes.is_idle();
        tokio::select! {
            biased;
            (fetch, answer) = lanes.next(), if !idle => {
                session.tell(&mut player, &mut lanes, event_of(&fetch, answer), start);
            }
            () = sleep_until(wake.map_or(look, |wake| wake.min(look))) => {
                let wake = wake_of(&player, &lanes, start.elapsed());
                session.tell(&mut player, &mut lanes, wake, start);
            }
        }
        if Instant::now() >= look {
            session.glimpses.push(Glimpse {
                at: start.elapsed(),
                state: player.state(),
                buffered: player.buffered(),
                played: player.clock().played(),
                estimate: player.estimate(),
            });
            look += every;
        }
    }
    session.tell(&mut player, &mut lanes, Event::Stop, start);
    session
}

impl SoloSession {
    fn tell(&mut self, player: &mut Player, lanes: &mut Lanes, event: Event, start: Instant) {
        let now = start.elapsed();
        for action in player.on(event, now) {
            match action {
                Action::Fetch(fetch) => lanes.send(fetch),
                Action::Cancel(id) => drop(lanes.cancel(id)),
                Action::Report(event) => self.events.push((now, event)),
                Action::End => {}
            }
        }
    }
}
