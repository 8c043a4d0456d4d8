//! One viewer: a player driven by time and by its connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::lanes::{LEAVE_GRACE, Lanes};
use super::schedule::Viewing;
use crate::http::{Access, BodyError, FetchFailure, HttpError, Response};
use crate::player::{Action, Event, Failure, Fetch, Fetched, Identity, PlaybackState, Player, PlayerSettings};
use crate::telemetry::{
    ErrorKind, EventBody, Meter, Outcome, SessionEnd, SessionEvent, TelemetryEvent, TelemetrySink, ViewerState,
};

/// What the viewers of one region share.
pub(super) struct Shared {
    /// Origin of all times.
    pub start: Instant,
    pub settings: Arc<PlayerSettings>,
    pub meter: Arc<Meter>,
    pub sink: Arc<dyn TelemetrySink>,
    pub channel: Arc<str>,
    /// With the region's hint.
    pub url: Arc<url::Url>,
}

/// A viewer's access network.
pub(super) struct Line {
    pub name: Arc<str>,
    pub bits_per_second: Option<u64>,
    pub rtt: Duration,
}

/// Watches from arrival until the plan, the stream, a fatal error or `stop` ends it.
///
/// Not an `async fn`: its arguments would lie in the task beside what is made of them, for every viewer.
pub(super) fn watch(
    viewing: &Viewing,
    line: Line,
    shared: Arc<Shared>,
    stop: CancellationToken,
) -> impl Future<Output = SessionEnd> + Send + use<> {
    let mut access = Access::new(line.bits_per_second, line.rtt);
    if let Some(hosts) = &shared.settings.hosts {
        access = access.allowing(Arc::clone(hosts));
    }
    let access = Arc::new(access);
    let identity = Identity {
        viewer: viewing.viewer,
        channel: Arc::clone(&shared.channel),
        url: Arc::clone(&shared.url),
        seed: viewing.seed,
    };
    let mut session = Session {
        viewer: viewing.viewer,
        player: Player::new(identity, Arc::clone(&shared.settings)),
        lanes: Lanes::new(access, shared.start, shared.settings.connections_per_host),
        seen: None,
        end: None,
        shared,
    };
    let region = Arc::clone(session.shared.meter.region());
    session.report(SessionEvent::Started {
        region,
        network: line.name,
    });
    session.tell(Event::Start);
    let leave = session.shared.start + viewing.leave;
    async move {
        let stopped = stop.cancelled();
        tokio::pin!(stopped);
        // One alarm for the whole session: setting it later is cheap.
        let alarm = sleep_until(leave);
        tokio::pin!(alarm);
        while session.end.is_none() {
            let wake = session.player.next_wake().map(|wake| session.shared.start + wake);
            let deadline = wake.map_or(leave, |wake| wake.min(leave));
            if alarm.deadline() != deadline {
                alarm.as_mut().reset(deadline);
            }
            let idle = session.lanes.is_idle();
            tokio::select! {
                biased;
                () = &mut stopped => session.tell(Event::Stop),
                (fetch, answer) = session.lanes.next(), if !idle => session.answered(&fetch, answer),
                () = &mut alarm => {
                    session.shared.meter.lateness(deadline.elapsed());
                    let wake = wake_of(&session.player, &session.lanes, session.shared.start.elapsed());
                    session.tell(if deadline >= leave { Event::Stop } else { wake });
                }
            }
        }
        // Not by value: the task would hold a second session for it.
        session.leave(stop.is_cancelled()).await
    }
}

struct Session {
    viewer: u32,
    player: Player,
    lanes: Lanes,
    shared: Arc<Shared>,
    /// What the meter knows of this viewer.
    seen: Option<(Arc<str>, ViewerState)>,
    end: Option<Box<SessionEnd>>,
}

impl Session {
    fn tell(&mut self, event: Event) {
        let now = self.shared.start.elapsed();
        for action in self.player.on(event, now) {
            match action {
                Action::Fetch(fetch) => self.lanes.send(fetch),
                Action::Cancel(id) => {
                    if let Some((fetch, bytes)) = self.lanes.cancel(id) {
                        let latency = now.saturating_sub(fetch.due);
                        self.meter(&fetch, failed(&fetch, latency, bytes));
                    }
                }
                Action::Report(event) => {
                    if let SessionEvent::Ended(end) = &event {
                        self.end = Some(Box::new(end.clone()));
                    }
                    self.report(event);
                }
                Action::End => {}
            }
        }
        self.show();
    }

    fn answered(&mut self, fetch: &Fetch, answer: Result<Response, FetchFailure>) {
        self.account(fetch, &answer);
        let event = event_of(fetch, answer);
        self.tell(event);
    }

    fn account(&self, fetch: &Fetch, answer: &Result<Response, FetchFailure>) {
        let outcome = match answer {
            Ok(response) => Outcome {
                class: fetch.class,
                success: (200..300).contains(&response.status),
                status: response.status,
                latency: response.total,
                bytes: response.bytes,
                cache: response.cache,
            },
            Err(failure) => failed(fetch, failure.elapsed, failure.bytes),
        };
        self.meter(fetch, outcome);
    }

    fn meter(&self, fetch: &Fetch, outcome: Outcome) {
        self.shared.meter.request(&fetch.pathway, &outcome);
    }

    /// Tells the meter what the viewer sees, if that changed.
    fn show(&mut self) {
        let state = match self.player.state() {
            PlaybackState::Starting => Some(ViewerState::Starting),
            PlaybackState::Playing => Some(ViewerState::Playing),
            PlaybackState::Stalled => Some(ViewerState::Stalled),
            PlaybackState::Ended => None,
        };
        let now = state.map(|state| (self.player.pathway(), state));
        let before = self.seen.as_ref().map(|(pathway, state)| (pathway, *state));
        if now != before {
            self.shared.meter.viewer(before, now);
            self.seen = now.map(|(pathway, state)| (Arc::clone(pathway), state));
        }
    }

    fn report(&self, event: SessionEvent) {
        let at_ms = u64::try_from(self.shared.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.sink.event(TelemetryEvent {
            at_ms,
            body: EventBody::Viewer {
                viewer: self.viewer,
                event,
            },
        });
    }

    /// Lets what is on its way arrive, so that both sides count the same, then closes everything.
    async fn leave(&mut self, hurry: bool) -> SessionEnd {
        self.lanes.clear_queues();
        let grace = if hurry { LEAVE_GRACE / 4 } else { LEAVE_GRACE };
        let deadline = Instant::now() + grace;
        while !self.lanes.is_idle() {
            let Ok((fetch, answer)) = timeout_at(deadline, self.lanes.next()).await else {
                break;
            };
            self.account(&fetch, &answer);
        }
        self.end.take().map_or_else(SessionEnd::default, |end| *end)
    }
}

/// A dropped task (aborted, or panicked) must not stay in the gauges.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some((pathway, state)) = self.seen.take() {
            self.shared.meter.viewer(Some((&pathway, state)), None);
        }
    }
}

/// A request without an answer.
fn failed(fetch: &Fetch, latency: Duration, bytes: u64) -> Outcome {
    Outcome {
        class: fetch.class,
        success: false,
        status: 0,
        latency,
        bytes,
        cache: None,
    }
}

/// What the player is told when a time it asked for has come.
pub(super) fn wake_of(player: &Player, lanes: &Lanes, now: Duration) -> Event {
    let curious = player.curious(now);
    let seen = curious.and_then(|id| lanes.progress(id).map(|seen| (id, seen)));
    seen.map_or(Event::Wake, |(id, seen)| Event::Progress(id, seen))
}

/// What the player is told of an answer.
pub(super) fn event_of(fetch: &Fetch, answer: Result<Response, FetchFailure>) -> Event {
    match answer {
        Ok(response) => Event::Fetched(
            fetch.id,
            Fetched {
                status: response.status,
                body: response.body,
                bytes: response.bytes,
                first_byte: response.network_first_byte,
                total: response.network_total,
                url: response.url,
            },
        ),
        Err(failure) => Event::Failed(
            fetch.id,
            Failure {
                kind: kind_of(&failure.error),
                bytes: failure.bytes,
                first_byte: failure.network_first_byte,
                total: failure.network_total,
            },
        ),
    }
}

fn kind_of(error: &HttpError) -> ErrorKind {
    match error {
        HttpError::UnsupportedScheme(_) | HttpError::HostNotAllowed(_) => ErrorKind::Unsupported,
        HttpError::Resolve(_) | HttpError::Connect(_) => ErrorKind::Connect,
        HttpError::ConnectTimeout | HttpError::FirstByteTimeout | HttpError::Stalled | HttpError::TotalTimeout => {
            ErrorKind::Timeout
        }
        HttpError::Closed(_) => ErrorKind::Closed,
        HttpError::Body(BodyError::Truncated) => ErrorKind::Truncated,
        HttpError::Head(_)
        | HttpError::Body(BodyError::Malformed(_))
        | HttpError::TooLarge(_)
        | HttpError::Redirects => ErrorKind::Malformed,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::telemetry::NullSink;

    /// Every viewer holds its task all the time.
    #[test]
    fn a_viewers_task_stays_small() {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            settings: Arc::default(),
            meter: Arc::new(Meter::new("east".into(), false)),
            sink: Arc::new(NullSink),
            channel: "one".into(),
            url: Arc::new("http://h/m.m3u8".parse().unwrap()),
        });
        let viewing = Viewing {
            viewer: 1,
            region: 0,
            network: 0,
            seed: 1,
            arrive: Duration::ZERO,
            leave: Duration::from_secs(1),
        };
        let line = Line {
            name: "lan".into(),
            bits_per_second: None,
            rtt: Duration::ZERO,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let task = size_of_val(&watch(&viewing, line, shared, CancellationToken::new()));
        let parts = (task, size_of::<Session>(), size_of::<Player>(), size_of::<Lanes>());
        assert!(task <= 2000, "task, session, player, lanes: {parts:?}");
    }
}
