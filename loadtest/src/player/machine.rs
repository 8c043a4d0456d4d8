//! The player itself: events in, actions out.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use url::Url;

use super::abr::{self, Situation};
use super::job::{AfterFailure, Job, backoff};
use super::playlist::{MAX_PLAYLIST, Pathway, Rung};
use super::steering::{MAX_MANIFEST, Pathways, SteeringManifest};
use super::track::{Sync, Track, TrackKind};
use super::{
    Action, BandwidthEstimator, Event, Failure, Fetch, FetchId, Fetched, MediaPlaylist, Multivariant, PlaybackClock,
    PlaybackState, PlayerSettings, ServiceEndpoint, services,
};
use crate::http::Deadlines;
use crate::telemetry::{ErrorKind, PathwaySwitchReason, RequestClass, SessionEnd, SessionEvent};

/// Who plays what.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Number of the viewer, unique in the run.
    pub viewer: u32,
    /// Channel, as services know it.
    pub channel: Arc<str>,
    /// The multivariant playlist.
    pub url: Url,
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
    Playlist { kind: TrackKind, begun: Duration },
    Init { kind: TrackKind, url: Url },
    Segment { kind: TrackKind, sequence: u64, duration: Duration, bandwidth: u64 },
}

impl Purpose {
    fn class(&self) -> RequestClass {
        match self {
            Self::Startup(Stage::Entitlement) => RequestClass::Entitlement,
            Self::Startup(Stage::Licence) => RequestClass::Licence,
            Self::Startup(_) => RequestClass::Multivariant,
            Self::Steering => RequestClass::Steering,
            Self::Heartbeat => RequestClass::Heartbeat,
            Self::Playlist { .. } => RequestClass::Playlist,
            Self::Init { .. } => RequestClass::Init,
            Self::Segment { kind: TrackKind::Video, .. } => RequestClass::Segment,
            Self::Segment { kind: TrackKind::Audio, .. } => RequestClass::Audio,
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
    ladder: Vec<Pathway>,
    pathways: Pathways,
    pathway: Arc<str>,
    rung: usize,
    fetched_any: bool,
    cycles: u8,
    switched_at: Option<Duration>,
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
            ladder: Vec::new(),
            pathways: Pathways::default(),
            pathway: "".into(),
            rung: 0,
            fetched_any: false,
            cycles: 0,
            switched_at: None,
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
            Event::Wake => promised.unwrap_or(self.now).min(self.now),
            _ => self.now,
        };
        if self.stage != Stage::New {
            self.advance();
        }
        match event {
            Event::Start if self.stage == Stage::New => self.begin(),
            Event::Start | Event::Wake => {}
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

    /// Whether the session is over.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    fn begin(&mut self) {
        self.clock = PlaybackClock::new(self.now);
        self.stage = if self.settings.services.entitlement.is_some() { Stage::Entitlement } else { Stage::Multivariant };
        self.startup = Job::due_at(self.now);
    }

    // ---- time ----

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
                self.report(SessionEvent::StallStarted { pathway: Arc::clone(&self.pathway) });
            }
        }
    }

    fn try_play(&mut self) {
        let ready = self.video.as_ref().is_some_and(Track::is_ready) && self.audio.as_ref().is_none_or(Track::is_ready);
        if !ready {
            return;
        }
        let first = self.clock.state() == PlaybackState::Starting;
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
        let mut wakes = [None; 8];
        match self.stage {
            Stage::New | Stage::Ended => return None,
            Stage::Entitlement | Stage::Multivariant | Stage::Licence => wakes[0] = self.startup.wake(),
            Stage::Media => {
                wakes[1] = self.steering.wake();
                wakes[2] = self.heartbeat.wake();
                if let Some(video) = &self.video {
                    wakes[3] = video.playlist.wake();
                    wakes[4] = video.segment_due(self.now, self.settings.buffer_goal);
                }
                if let Some(audio) = &self.audio {
                    wakes[5] = audio.playlist.wake();
                    wakes[6] = audio.segment_due(self.now, self.settings.buffer_goal);
                }
                if self.clock.state() == PlaybackState::Playing {
                    wakes[7] = Some(self.now + self.buffered());
                }
            }
        }
        wakes.into_iter().flatten().min()
    }

    // ---- what to fetch ----

    fn pump(&mut self) {
        match self.stage {
            Stage::New | Stage::Ended => {}
            Stage::Entitlement | Stage::Multivariant | Stage::Licence => self.pump_startup(),
            Stage::Media => {
                self.pump_track(TrackKind::Video);
                self.pump_track(TrackKind::Audio);
                self.try_play();
                if let Some(due) = self.steering.ready(self.now) {
                    match self.pathways.poll(&self.pathway, self.bandwidth.estimate()) {
                        Some(url) => {
                            let id = self.fetch(Purpose::Steering, url, due, self.settings.control, MAX_MANIFEST, None);
                            self.steering.send(id);
                        }
                        None => self.steering.at = None,
                    }
                }
                self.pump_heartbeat();
            }
        }
    }

    fn pump_startup(&mut self) {
        let Some(due) = self.startup.ready(self.now) else { return };
        let services = &self.settings.services;
        let (url, limits, post) = match (self.stage, &services.entitlement, &services.licence) {
            (Stage::Entitlement, Some(service), _) => {
                (service.url.clone(), Deadlines::all(service.deadline), Some(services::who(&self.identity)))
            }
            (Stage::Licence, _, Some(service)) => {
                (service.url.clone(), Deadlines::all(service.deadline), Some(services::licence_request(&self.identity)))
            }
            _ => (self.identity.url.clone(), self.settings.control, None),
        };
        let capture = if post.is_some() { services::MAX_ANSWER } else { MAX_PLAYLIST };
        let id = self.fetch(Purpose::Startup(self.stage), url, due, limits, capture, post);
        self.startup.send(id);
    }

    fn pump_heartbeat(&mut self) {
        let Some(due) = self.heartbeat.ready(self.now) else { return };
        let Some(service) = self.settings.services.heartbeat.clone() else {
            self.heartbeat.at = None;
            return;
        };
        let body = services::who(&self.identity);
        let limits = Deadlines::all(service.deadline);
        let id = self.fetch(Purpose::Heartbeat, service.url, due, limits, 0, Some(body));
        self.heartbeat.send(id);
    }

    fn pump_track(&mut self, kind: TrackKind) {
        let now = self.now;
        let Some(track) = self.track(kind) else { return };
        if let Some(due) = track.playlist.ready(now) {
            let url = track.uri.clone();
            let limits = self.settings.media;
            let id = self.fetch(Purpose::Playlist { kind, begun: now }, url, due, limits, MAX_PLAYLIST, None);
            if let Some(track) = self.track(kind) {
                track.playlist.send(id);
            }
        }
        self.pass_gaps(kind);
        let goal = self.settings.buffer_goal;
        let Some(due) = self.track(kind).and_then(|track| track.segment_due(now, goal)).filter(|due| *due <= now) else {
            return;
        };
        if kind == TrackKind::Video && self.switch_rung() {
            return;
        }
        let bandwidth = self.rungs().get(self.rung).map_or(0, |rung| rung.bandwidth);
        let Some(track) = self.track(kind) else { return };
        let due = track.segment.at.unwrap_or(due);
        let Some((segment, url, map)) = track.next_segment() else { return };
        let (sequence, duration) = (segment.sequence, segment.duration);
        let (purpose, url) = match (map.filter(|map| track.init.as_ref() != Some(map)), url) {
            (Some(map), _) => (Purpose::Init { kind, url: map.clone() }, map),
            (None, Ok(url)) => (Purpose::Segment { kind, sequence, duration, bandwidth }, url),
            // A URI that cannot be resolved is a segment that cannot be had.
            (None, Err(())) => {
                track.append(sequence, Duration::ZERO);
                return;
            }
        };
        let due = due.max(self.due).min(now);
        let limits = self.settings.media;
        let id = self.fetch(purpose, url, due, limits, 0, None);
        if let Some(track) = self.track(kind) {
            track.segment.send(id);
        }
    }

    fn fetch(
        &mut self,
        purpose: Purpose,
        url: Url,
        due: Duration,
        deadlines: Deadlines,
        capture: usize,
        post: Option<Vec<u8>>,
    ) -> FetchId {
        self.next_id = self.next_id.wrapping_add(1);
        let id = FetchId(self.next_id);
        let class = purpose.class();
        let media = !matches!(purpose, Purpose::Startup(_) | Purpose::Steering | Purpose::Heartbeat);
        let bearer = match purpose {
            Purpose::Startup(Stage::Licence) | Purpose::Heartbeat => self.token.clone(),
            _ => None,
        };
        let pathway = if media { Arc::clone(&self.pathway) } else { "".into() };
        self.outstanding.push((id, purpose));
        let fetch = Fetch { id, class, url, post, bearer, capture, due, deadlines, pathway };
        self.actions.push(Action::Fetch(fetch));
        id
    }

    // ---- answers ----

    fn on_fetched(&mut self, id: FetchId, answer: Fetched) {
        self.end.bytes += answer.bytes;
        let Some(purpose) = self.take_outstanding(id) else { return };
        if !(200..300).contains(&answer.status) {
            return self.failed(purpose, ErrorKind::Status, Some(answer.status));
        }
        let body = answer.body.as_deref().unwrap_or_default();
        match purpose {
            Purpose::Startup(Stage::Entitlement) => match services::token(body) {
                Some(token) => {
                    self.token = Some(token);
                    self.next_stage();
                }
                None => self.failed(purpose, ErrorKind::Malformed, None),
            },
            Purpose::Startup(Stage::Licence) if services::has_keys(body) => self.next_stage(),
            Purpose::Startup(Stage::Licence) => self.failed(purpose, ErrorKind::Malformed, None),
            Purpose::Startup(_) => match Multivariant::parse(body, &answer.url) {
                Ok(playlist) => self.on_multivariant(playlist),
                Err(_) => self.failed(purpose, ErrorKind::Malformed, None),
            },
            Purpose::Steering => match SteeringManifest::parse(body) {
                Ok(manifest) => self.on_steering(&manifest),
                Err(_) => self.failed(purpose, ErrorKind::Malformed, None),
            },
            Purpose::Heartbeat => {
                self.heartbeat.succeeded();
                self.heartbeat_failures = 0;
                self.heartbeat.at = Some(self.now + self.heartbeat_interval());
            }
            Purpose::Playlist { kind, begun } => match MediaPlaylist::parse(body) {
                Ok(playlist) => self.on_playlist(kind, playlist, answer.url, begun),
                Err(_) => self.failed(purpose, ErrorKind::Malformed, None),
            },
            Purpose::Init { kind, url } => {
                if let Some(track) = self.track(kind) {
                    track.segment.succeeded();
                    track.init = Some(url);
                }
            }
            Purpose::Segment { kind, sequence, duration, bandwidth } => {
                if kind == TrackKind::Video {
                    self.bandwidth.sample(answer.bytes, answer.first_byte, answer.total);
                    self.bits += bandwidth as f64 * duration.as_secs_f64();
                    self.bits_seconds += duration.as_secs_f64();
                    self.fetched_any = true;
                    self.cycles = 0;
                    if let Some(since) = self.switched_at.take() {
                        let (pathway, ms) = (Arc::clone(&self.pathway), millis(self.now.saturating_sub(since)));
                        self.report(SessionEvent::FirstSegmentOnPathway { pathway, ms });
                    }
                }
                if let Some(track) = self.track(kind) {
                    track.segment.succeeded();
                    track.failing_since = None;
                    track.append(sequence, duration);
                }
                self.try_play();
            }
        }
    }

    fn on_failed(&mut self, id: FetchId, failure: Failure) {
        self.end.bytes += failure.bytes;
        if let Some(purpose) = self.take_outstanding(id) {
            self.failed(purpose, failure.kind, None);
        }
    }

    fn take_outstanding(&mut self, id: FetchId) -> Option<Purpose> {
        let index = self.outstanding.iter().position(|(other, _)| *other == id)?;
        Some(self.outstanding.swap_remove(index).1)
    }

    fn next_stage(&mut self) {
        self.attempts = 0;
        self.multivariant_failing = None;
        self.startup = Job::due_at(self.now);
        self.stage = match self.stage {
            Stage::New | Stage::Entitlement => Stage::Multivariant,
            Stage::Multivariant if self.settings.services.licence.is_some() => Stage::Licence,
            _ => Stage::Media,
        };
        if self.stage == Stage::Media {
            self.start_media();
        }
    }

    fn on_multivariant(&mut self, playlist: Multivariant) {
        let wanted = playlist.steering.as_ref().and_then(|steering| steering.pathway.as_deref());
        let start = playlist.pathways.iter().find(|pathway| Some(&*pathway.id) == wanted).or(playlist.pathways.first());
        if let Some(start) = start {
            self.pathway = Arc::clone(&start.id);
        }
        let ids: Vec<Arc<str>> = playlist.pathways.iter().map(|pathway| Arc::clone(&pathway.id)).collect();
        let server = playlist.steering.map(|steering| steering.server);
        self.pathways = Pathways::new(ids.into_iter(), server, self.settings.steering_ttl);
        self.ladder = playlist.pathways;
        self.next_stage();
    }

    fn start_media(&mut self) {
        let now = self.now;
        let segment = Duration::from_secs(2);
        let situation = Situation { current: None, buffered: Duration::ZERO, segment };
        self.rung = abr::choose(self.rungs(), &self.bandwidth, &self.settings, situation);
        if let Some(rung) = self.rungs().get(self.rung).cloned() {
            self.video = Some(Track::new(rung.video, now));
            self.audio = rung.audio.map(|uri| Track::new(uri, now));
        }
        if self.pathways.server.is_some() {
            self.steering = Job::due_at(now);
        }
        if self.settings.services.heartbeat.is_some() {
            self.heartbeat = Job::due_at(now + self.heartbeat_interval());
        }
    }

    fn on_steering(&mut self, manifest: &SteeringManifest) {
        self.steering.succeeded();
        self.pathways.apply(manifest);
        self.steering.at = Some(self.now + self.pathways.ttl);
        if let Some(preferred) = self.pathways.preferred(self.now).filter(|id| **id != self.pathway).cloned() {
            self.switch_pathway(preferred, PathwaySwitchReason::Steering, self.now);
        }
    }

    fn on_playlist(&mut self, kind: TrackKind, playlist: MediaPlaylist, base: Url, begun: Duration) {
        let origin = match kind {
            TrackKind::Video => self.audio.as_ref(),
            TrackKind::Audio => self.video.as_ref(),
        }
        .and_then(|other| other.origin);
        let sync = Sync { durations: self.settings.live_sync_durations, origin };
        let now = self.now;
        let Some(track) = self.track(kind) else { return };
        let skipped = track.on_playlist(playlist, base, begun, now, sync);
        self.skip(kind, skipped);
        self.pass_gaps(kind);
    }

    fn pass_gaps(&mut self, kind: TrackKind) {
        // What is on its way is the front of the queue: leave it there.
        if let Some(track) = self.track(kind).filter(|track| track.segment.inflight.is_none()) {
            let passed = track.pass_gaps();
            self.skip(kind, passed);
        }
    }

    /// One track jumped over media: the other one follows.
    fn skip(&mut self, kind: TrackKind, media: Duration) {
        if media.is_zero() {
            return;
        }
        let owed = self.track(kind).map_or(Duration::ZERO, |track| track.jumped(media));
        let other = match kind {
            TrackKind::Video => &mut self.audio,
            TrackKind::Audio => &mut self.video,
        };
        if let Some(other) = other {
            other.owe(owed);
        }
        if !owed.is_zero() {
            self.end.skipped_ms += millis(owed);
            self.report(SessionEvent::Skipped { ms: millis(owed) });
        }
    }

    // ---- failures ----

    fn failed(&mut self, purpose: Purpose, kind: ErrorKind, status: Option<u16>) {
        let class = purpose.class();
        let media = !matches!(purpose, Purpose::Startup(_) | Purpose::Steering | Purpose::Heartbeat);
        let pathway = if media { Arc::clone(&self.pathway) } else { "".into() };
        self.report(SessionEvent::Error { class, kind, status, pathway });
        let policy = self.settings.retry;
        match purpose {
            Purpose::Startup(stage) => self.startup_failed(stage, class),
            Purpose::Steering => {
                // 410: the server wants to be left alone (specified); otherwise once more soon, then in its own time.
                let _ = self.steering.failed(kind, status, &policy, &mut self.rng);
                let soon = self.steering.failures() == 1;
                let wait = if soon { Duration::from_secs(1) } else { self.pathways.ttl };
                self.steering.at = (status != Some(410)).then(|| self.now + wait);
            }
            Purpose::Heartbeat => {
                let _ = self.heartbeat.failed(kind, status, &policy, &mut self.rng);
                self.heartbeat_failures += 1;
                let wait = self.heartbeat_interval().max(self.breaker_wait(self.heartbeat_failures));
                self.heartbeat.at = Some(self.now + wait);
            }
            Purpose::Playlist { kind: track, .. } => self.media_failed(track, true, kind, status),
            Purpose::Init { kind: track, .. } | Purpose::Segment { kind: track, .. } => {
                self.media_failed(track, false, kind, status);
            }
        }
    }

    fn startup_failed(&mut self, stage: Stage, class: RequestClass) {
        self.startup.inflight = None;
        let services = &self.settings.services;
        let service: Option<&ServiceEndpoint> = match stage {
            Stage::Entitlement => services.entitlement.as_ref(),
            Stage::Licence => services.licence.as_ref(),
            _ => None,
        };
        let failures = self.attempts;
        self.attempts = self.attempts.saturating_add(1);
        let since = *self.multivariant_failing.get_or_insert(self.now);
        let over = match service {
            Some(_) => self.attempts >= services::ATTEMPTS,
            None => self.now.saturating_sub(since) >= self.settings.fatal_after,
        };
        if service.is_some_and(|service| !service.critical) {
            // Playback must not depend on it.
            self.next_stage();
        } else if over {
            self.fatal(format!("{} failed {} times", class.name(), self.attempts));
        } else {
            self.startup.at = Some(self.now + backoff(&self.settings.retry, failures, &mut self.rng));
        }
    }

    fn media_failed(&mut self, kind: TrackKind, playlist: bool, error: ErrorKind, status: Option<u16>) {
        let (now, policy) = (self.now, self.settings.retry);
        let mut rng = self.rng.clone();
        let Some(track) = self.track(kind) else { return };
        let since = *track.failing_since.get_or_insert(now);
        let job = if playlist { &mut track.playlist } else { &mut track.segment };
        let after = job.failed(error, status, &policy, &mut rng);
        self.rng = rng;
        let wait = match after {
            AfterFailure::Retry(wait) => wait,
            AfterFailure::Leave(wait) => {
                let penalty = now + self.settings.pathway_penalty;
                if let Some(next) = self.pathways.alternative(&self.pathway, now).cloned() {
                    self.pathways.penalise(&self.pathway, penalty);
                    return self.switch_pathway(next, PathwaySwitchReason::Errors, now);
                }
                if now.saturating_sub(since) >= self.settings.fatal_after {
                    return self.fatal(format!("no pathway left after {} s", self.settings.fatal_after.as_secs()));
                }
                if let Some(next) = self.pathways.least_recent_failure(&self.pathway, now).cloned() {
                    // All have failed: round and round, slower each time.
                    self.pathways.penalise(&self.pathway, penalty);
                    let pause = backoff(&policy, self.cycles, &mut self.rng);
                    self.cycles = self.cycles.saturating_add(1);
                    return self.switch_pathway(next, PathwaySwitchReason::Errors, now + pause);
                }
                wait
            }
        };
        if let Some(track) = self.track(kind) {
            let job = if playlist { &mut track.playlist } else { &mut track.segment };
            job.at = Some(now + wait);
        }
    }

    fn switch_pathway(&mut self, to: Arc<str>, reason: PathwaySwitchReason, at: Duration) {
        let Some(pathway) = self.ladder.iter().find(|pathway| pathway.id == to) else { return };
        let from = std::mem::replace(&mut self.pathway, to);
        self.rung = self.rung.min(pathway.rungs.len().saturating_sub(1));
        let Some(rung) = pathway.rungs.get(self.rung).cloned() else { return };
        let uris = [(TrackKind::Video, Some(rung.video)), (TrackKind::Audio, rung.audio)];
        for (kind, uri) in uris {
            let Some(track) = self.track(kind) else { continue };
            if let Some(uri) = uri {
                track.load(uri);
            }
            track.init = None;
            let playlist = track.playlist.restart(at);
            let segment = track.segment.restart(at);
            track.segment.at = None;
            for id in [playlist, segment].into_iter().flatten() {
                self.cancel(id);
            }
        }
        self.switched_at = Some(self.now);
        self.end.pathway_switches += 1;
        let to = Arc::clone(&self.pathway);
        self.report(SessionEvent::PathwaySwitched { from, to, reason });
    }

    /// Chooses the rung of the next segment; `true` if it changed and its playlist must come first.
    fn switch_rung(&mut self) -> bool {
        let Some(video) = &self.video else { return false };
        let current = self.fetched_any.then_some(self.rung);
        let situation = Situation { current, buffered: self.buffered(), segment: video.segment_length() };
        let rungs = self.rungs();
        if rungs.is_empty() || current.is_none() {
            return false;
        }
        let choice = abr::choose(rungs, &self.bandwidth, &self.settings, situation);
        if choice == self.rung {
            return false;
        }
        let (from, to) = (rungs.get(self.rung).map_or(0, |rung| rung.bandwidth), rungs[choice].bandwidth);
        let uri = rungs[choice].video.clone();
        self.rung = choice;
        let now = self.now;
        let mut dropped = None;
        if let Some(video) = &mut self.video {
            video.load(uri);
            dropped = video.playlist.restart(now);
        }
        // An answer on its way is for the old rung. It may finish: closing the connection would cost more.
        if let Some(id) = dropped {
            self.take_outstanding(id);
        }
        self.end.rung_switches += 1;
        self.report(SessionEvent::RungSwitched { from, to });
        let due = self.due;
        let (limits, url) = (self.settings.media, self.video.as_ref().map(|video| video.uri.clone()));
        if let Some(url) = url {
            let purpose = Purpose::Playlist { kind: TrackKind::Video, begun: now };
            let id = self.fetch(purpose, url, due, limits, MAX_PLAYLIST, None);
            if let Some(video) = &mut self.video {
                video.playlist.send(id);
            }
        }
        true
    }

    fn cancel(&mut self, id: FetchId) {
        if self.take_outstanding(id).is_some() {
            self.actions.push(Action::Cancel(id));
        }
    }

    // ---- the end ----

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
        end.gap_max_ms = self.video.as_ref().map_or(0, |video| millis(video.gap_max(self.now)));
        end.live_latency_ms = self.video.as_ref().map_or(0, |video| millis(video.live_latency(self.now)));
        end.mean_bitrate = if self.bits_seconds > 0.0 { (self.bits / self.bits_seconds) as u64 } else { 0 };
        end.pathway = Arc::clone(&self.pathway);
        self.clock.end();
        self.outstanding.clear();
        self.report(SessionEvent::Ended(end));
        self.actions.push(Action::End);
    }

    // ---- small things ----

    fn report(&mut self, event: SessionEvent) {
        self.actions.push(Action::Report(event));
    }

    fn track(&mut self, kind: TrackKind) -> Option<&mut Track> {
        match kind {
            TrackKind::Video => self.video.as_mut(),
            TrackKind::Audio => self.audio.as_mut(),
        }
    }

    fn rungs(&self) -> &[Rung] {
        self.ladder.iter().find(|pathway| pathway.id == self.pathway).map_or(&[], |pathway| &pathway.rungs)
    }

    fn heartbeat_interval(&self) -> Duration {
        self.settings.services.heartbeat_interval.unwrap_or(Duration::from_secs(30))
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
