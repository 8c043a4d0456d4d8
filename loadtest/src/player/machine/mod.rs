//! The player itself: events in, actions out. What it asks for is in [`requests`], what it makes of answers in [`answers`], what
//! it does about failures in [`failures`].

mod abandon;
mod answers;
mod failures;
mod requests;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use url::Url;

use super::job::Job;
use super::playlist::{Multivariant, Pathway, Rung};
use super::steering::Pathways;
use super::track::{Track, TrackKind};
use super::{Action, BandwidthEstimator, Event, FetchId, PlaybackClock, PlaybackState, PlayerSettings};
use crate::telemetry::{RequestClass, SessionEnd, SessionEvent};

/// Who plays what.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Number of the viewer, unique in the run.
    pub viewer: u32,
    /// Channel, as services know it.
    pub channel: Arc<str>,
    /// The multivariant playlist.
    pub url: Arc<Url>,
    /// Seed of this viewer's jitter.
    pub seed: u64,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Entitlement,
    Multivariant,
    Licence,
    Media,
    Ended,
}

/// What an outstanding fetch is for.
#[derive(Clone, Debug)]
enum Purpose {
    Startup(Stage),
    Steering,
    Heartbeat,
    Playlist {
        kind: TrackKind,
        begun: Duration,
    },
    /// Of what the track plays: at most one, the last that was asked for.
    Init(TrackKind),
    Segment {
        kind: TrackKind,
        sequence: u64,
        duration: Duration,
        bandwidth: u64,
    },
}

impl Purpose {
    fn is_init_of(&self, kind: TrackKind) -> bool {
        matches!(self, Self::Init(of) if *of == kind)
    }

    fn class(&self) -> RequestClass {
        match self {
            Self::Startup(Stage::Entitlement) => RequestClass::Entitlement,
            Self::Startup(Stage::Licence) => RequestClass::Licence,
            Self::Startup(_) => RequestClass::Multivariant,
            Self::Steering => RequestClass::Steering,
            Self::Heartbeat => RequestClass::Heartbeat,
            Self::Playlist { .. } => RequestClass::Playlist,
            Self::Init(_) => RequestClass::Init,
            Self::Segment {
                kind: TrackKind::Video, ..
            } => RequestClass::Segment,
            Self::Segment {
                kind: TrackKind::Audio, ..
            } => RequestClass::Audio,
        }
    }
}

/// One viewer's player. All times are since any one origin.
#[derive(Clone, Debug)]
pub struct Player {
    settings: Arc<PlayerSettings>,
    identity: Identity,
    rng: SmallRng,
    stage: Stage,
    now: Duration,
    /// When what is being done was due; `now` unless a wake-up came late.
    due: Duration,
    promised: Option<Duration>,
    clock: PlaybackClock,
    bandwidth: BandwidthEstimator,
    startup: Job,
    attempts: u8,
    multivariant_failing: Option<Duration>,
    steering: Job,
    heartbeat: Job,
    heartbeat_failures: u32,
    token: Option<Arc<str>>,
    /// What can be played, shared by all viewers that were told the same.
    ladder: Option<Arc<Multivariant>>,
    pathways: Pathways,
    pathway: Arc<str>,
    rung: usize,
    fetched_any: bool,
    /// Rung of the last segment that came.
    loaded_rung: usize,
    /// The segment on its way that may be given up.
    watched: Option<abandon::Watched>,
    /// Whether the rung was fallen back to, and stays until a segment of it has come.
    forced: bool,
    cycles: u8,
    switched_at: Option<Duration>,
    /// When the first picture will show.
    first_frame: Option<Duration>,
    video: Option<Track>,
    audio: Option<Track>,
    outstanding: Vec<(FetchId, Purpose)>,
    next_id: u32,
    end: SessionEnd,
    bits: f64,
    bits_seconds: f64,
    actions: Vec<Action>,
}

impl Player {
    /// A player that has not started.
    #[must_use]
    pub fn new(identity: Identity, settings: Arc<PlayerSettings>) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(identity.seed),
            stage: Stage::New,
            now: Duration::ZERO,
            due: Duration::ZERO,
            promised: None,
            clock: PlaybackClock::new(Duration::ZERO),
            bandwidth: BandwidthEstimator::new(settings.initial_bandwidth),
            startup: Job::default(),
            attempts: 0,
            multivariant_failing: None,
            steering: Job::default(),
            heartbeat: Job::default(),
            heartbeat_failures: 0,
            token: None,
            ladder: None,
            pathways: Pathways::default(),
            pathway: "".into(),
            rung: 0,
            fetched_any: false,
            loaded_rung: 0,
            watched: None,
            forced: false,
            cycles: 0,
            switched_at: None,
            first_frame: None,
            video: None,
            audio: None,
            outstanding: Vec::new(),
            next_id: 0,
            end: SessionEnd::default(),
            bits: 0.0,
            bits_seconds: 0.0,
            actions: Vec::new(),
            settings,
            identity,
        }
    }

    /// Takes an event at `now` and says what to do. Time never runs backwards: an earlier `now` counts as the latest one.
    pub fn on(&mut self, event: Event, now: Duration) -> Vec<Action> {
        if self.stage == Stage::Ended {
            return Vec::new();
        }
        let promised = self.promised.take();
        self.now = self.now.max(now);
        self.due = match event {
            Event::Wake | Event::Progress(..) => promised.unwrap_or(self.now).min(self.now),
            _ => self.now,
        };
        if self.stage != Stage::New {
            self.advance();
        }
        match event {
            Event::Start if self.stage == Stage::New => self.begin(),
            Event::Start | Event::Wake => self.looked(),
            Event::Progress(id, seen) => {
                self.looked();
                self.on_progress(id, seen);
            }
            Event::Fetched(id, answer) => self.on_fetched(id, answer),
            Event::Failed(id, failure) => self.on_failed(id, failure),
            Event::Stop => self.finish(false),
        }
        self.pump();
        self.promised = self.compute_wake();
        std::mem::take(&mut self.actions)
    }

    /// When to send [`Event::Wake`], unless another event comes first.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        self.promised
    }

    /// What the viewer sees.
    #[must_use]
    pub fn state(&self) -> PlaybackState {
        self.clock.state()
    }

    /// The session's accounts.
    #[must_use]
    pub fn clock(&self) -> &PlaybackClock {
        &self.clock
    }

    /// Where it plays from; empty before the multivariant playlist.
    #[must_use]
    pub fn pathway(&self) -> &Arc<str> {
        &self.pathway
    }

    /// Media ahead of the playhead.
    #[must_use]
    pub fn buffered(&self) -> Duration {
        let video = self.video.as_ref().map_or(Duration::ZERO, Track::buffered);
        self.audio.as_ref().map_or(video, |audio| video.min(audio.buffered()))
    }

    /// What the line is held to carry, in bit/s.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        self.bandwidth.estimate() as u64
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    fn begin(&mut self) {
        self.clock = PlaybackClock::new(self.now);
        self.stage = if self.settings.services.entitlement.is_some() {
            Stage::Entitlement
        } else {
            Stage::Multivariant
        };
        self.startup = Job::due_at(self.now);
    }

    fn advance(&mut self) {
        let step = self.clock.advance(self.now, self.buffered());
        for track in [&mut self.video, &mut self.audio].into_iter().flatten() {
            track.consume(step.consumed);
        }
        if step.stalled_at.is_some() {
            if [&self.video, &self.audio].into_iter().flatten().all(Track::is_finished) {
                self.clock.forget_stall();
                self.finish(false);
            } else {
                self.report(SessionEvent::StallStarted {
                    pathway: Arc::clone(&self.pathway),
                });
            }
        }
    }

    fn try_play(&mut self) {
        let ready = self.video.as_ref().is_some_and(Track::is_ready) && self.audio.as_ref().is_none_or(Track::is_ready);
        if !ready {
            return;
        }
        let first = self.clock.state() == PlaybackState::Starting;
        let (now, wait) = (self.now, self.settings.device.first_frame);
        if first && *self.first_frame.get_or_insert(now + wait) > now {
            return;
        }
        if let Some(waited) = self.clock.play() {
            let (ms, pathway) = (millis(waited), Arc::clone(&self.pathway));
            self.report(if first {
                SessionEvent::Startup { ms, pathway }
            } else {
                SessionEvent::StallEnded { ms, pathway }
            });
        }
    }

    fn compute_wake(&self) -> Option<Duration> {
        let mut wakes = [None; 10];
        match self.stage {
            Stage::New | Stage::Ended => return None,
            Stage::Entitlement | Stage::Multivariant | Stage::Licence => wakes[0] = self.startup.wake(),
            Stage::Media => {
                wakes[1] = self.steering.wake();
                wakes[2] = self.heartbeat.wake();
                if let Some(video) = &self.video {
                    wakes[3] = video.playlist.wake();
                    wakes[4] = self.segment_due(TrackKind::Video);
                }
                if let Some(audio) = &self.audio {
                    wakes[5] = audio.playlist.wake();
                    wakes[6] = self.segment_due(TrackKind::Audio);
                }
                wakes[8] = self.watched.map(|watched| watched.look);
                match self.clock.state() {
                    PlaybackState::Playing => {
                        wakes[7] = Some(self.now + self.buffered());
                        wakes[9] = self.doubt_due();
                    }
                    PlaybackState::Starting => wakes[7] = self.first_frame.filter(|at| *at > self.now),
                    PlaybackState::Stalled | PlaybackState::Ended => {}
                }
            }
        }
        wakes.into_iter().flatten().min()
    }

    fn fatal(&mut self, reason: String) {
        self.report(SessionEvent::Fatal { reason });
        self.finish(true);
    }

    fn finish(&mut self, fatal: bool) {
        if self.stage == Stage::Ended {
            return;
        }
        self.stage = Stage::Ended;
        let clock = &self.clock;
        let mut end = std::mem::take(&mut self.end);
        end.started = !clock.played().is_zero() || clock.state() == PlaybackState::Playing;
        end.fatal = fatal;
        // Rounded so that the three still add up to the length of the session in milliseconds.
        end.startup_ms = millis(clock.startup());
        end.played_ms = millis(clock.startup() + clock.played()) - end.startup_ms;
        end.stalled_ms = millis(clock.length()) - end.startup_ms - end.played_ms;
        end.stalls = clock.stalls();
        let mut open = None;
        if let Some(video) = &self.video {
            end.gap_max_ms = millis(video.gap_max(self.now));
            end.gaps_told_above_ms = Some(millis(video.notable_gap()));
            open = video.gap_open(self.now).filter(|gap| *gap > video.notable_gap());
        }
        end.live_latency_ms = self
            .video
            .as_ref()
            .map_or(0, |video| millis(video.live_latency(self.now)));
        end.mean_bitrate = if self.bits_seconds > 0.0 {
            (self.bits / self.bits_seconds) as u64
        } else {
            0
        };
        end.pathway = Arc::clone(&self.pathway);
        self.clock.end();
        self.outstanding.clear();
        if let Some(gap) = open {
            self.report(SessionEvent::StreamGap { ms: millis(gap) });
        }
        self.report(SessionEvent::Ended(end));
        self.actions.push(Action::End);
    }

    fn report(&mut self, event: SessionEvent) {
        self.actions.push(Action::Report(event));
    }

    fn track(&mut self, kind: TrackKind) -> Option<&mut Track> {
        match kind {
            TrackKind::Video => self.video.as_mut(),
            TrackKind::Audio => self.audio.as_mut(),
        }
    }

    fn playing(&self) -> Option<&Pathway> {
        let mut pathways = self.ladder.iter().flat_map(|ladder| &ladder.pathways);
        pathways.find(|pathway| pathway.id == self.pathway)
    }

    fn rungs(&self) -> &[Rung] {
        self.playing().map_or(&[], |pathway| &pathway.rungs)
    }

    fn heartbeat_interval(&self) -> Duration {
        self.settings
            .services
            .heartbeat_interval
            .unwrap_or(Duration::from_secs(30))
    }

    /// How long the circuit breaker keeps the heartbeat silent.
    fn breaker_wait(&self, failures: u32) -> Duration {
        match &self.settings.services.heartbeat {
            Some(service) if failures >= service.breaker_failures => service.breaker_open,
            _ => Duration::ZERO,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
