//! What the player asks for, and when.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::abandon::Watched;
use super::{Player, Purpose, Stage};
use crate::http::Deadlines;
use crate::player::abr::{self, Situation};
use crate::player::playlist::MAX_PLAYLIST;
use crate::player::steering::MAX_MANIFEST;
use crate::player::track::{Again, Track, TrackKind};
use crate::player::{Action, Fetch, FetchId, MediaPolicy, PlaybackState, services};
use crate::telemetry::SessionEvent;

/// So much past a threshold that it is certainly passed.
const MOMENT: Duration = Duration::from_millis(1);

impl Player {
    pub(super) fn pump(&mut self) {
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
                            let id = self.fetch(
                                Purpose::Steering,
                                Arc::new(url),
                                due,
                                self.settings.control.deadlines,
                                MAX_MANIFEST,
                                None,
                            );
                            self.steering.send(id);
                        }
                        None => self.steering.at = None,
                    }
                }
                self.pump_heartbeat();
            }
        }
    }

    pub(super) fn pump_startup(&mut self) {
        let Some(due) = self.startup.ready(self.now) else {
            return;
        };
        let services = &self.settings.services;
        let (url, limits, post) = match (self.stage, &services.entitlement, &services.licence) {
            (Stage::Entitlement, Some(service), _) => (
                Arc::new(service.url.clone()),
                Deadlines::all(service.deadline),
                Some(services::who(&self.identity)),
            ),
            (Stage::Licence, _, Some(service)) => (
                Arc::new(service.url.clone()),
                Deadlines::all(service.deadline),
                Some(services::licence_request(&self.identity)),
            ),
            _ => (self.identity.url.clone(), self.settings.control.deadlines, None),
        };
        let capture = if post.is_some() {
            services::MAX_ANSWER
        } else {
            MAX_PLAYLIST
        };
        let id = self.fetch(Purpose::Startup(self.stage), url, due, limits, capture, post);
        self.startup.send(id);
    }

    pub(super) fn pump_heartbeat(&mut self) {
        let Some(due) = self.heartbeat.ready(self.now) else {
            return;
        };
        let Some(service) = self.settings.services.heartbeat.clone() else {
            self.heartbeat.at = None;
            return;
        };
        let body = services::who(&self.identity);
        let limits = Deadlines::all(service.deadline);
        let id = self.fetch(Purpose::Heartbeat, Arc::new(service.url), due, limits, 0, Some(body));
        self.heartbeat.send(id);
    }

    pub(super) fn pump_track(&mut self, kind: TrackKind) {
        let now = self.now;
        let Some(track) = self.track(kind) else { return };
        if let Some(due) = track.playlist.ready(now) {
            let url = track.uri.clone();
            let limits = self.media_policy().playlist.deadlines;
            let id = self.fetch(
                // From when it was meant to be, not from when we got round to it: a generator that is late for a moment must not
                // gather its viewers into a crowd that stays together from then on.
                Purpose::Playlist { kind, begun: due },
                url,
                due,
                limits,
                MAX_PLAYLIST,
                None,
            );
            if let Some(track) = self.track(kind) {
                track.playlist.send(id);
            }
        }
        self.pass_gaps(kind);
        if kind == TrackKind::Video && self.video.as_ref().is_some_and(Track::is_at_the_edge) {
            // The choice is made all the time, not only when a segment is there to be fetched.
            self.switch_rung();
            return;
        }
        let Some(due) = self.segment_due(kind).filter(|due| *due <= now) else {
            return;
        };
        if kind == TrackKind::Video && self.switch_rung() {
            return;
        }
        let bandwidth = self.rungs().get(self.rung).map_or(0, |rung| rung.bandwidth);
        let limits = self.media_policy().segment.deadlines;
        let due = self.track(kind).and_then(|track| track.segment.at).unwrap_or(due);
        let due = due.max(self.due).min(now);
        if let Some((init, url)) = self.track(kind).and_then(|track| track.next_init()) {
            // Nobody waits for the one of another rung any more, which may finish.
            self.outstanding.retain(|(_, purpose)| !purpose.is_init_of(kind));
            // Beside its first segment, not before it.
            self.fetch(Purpose::Init(kind), url, due, limits, 0, None);
            if let Some(track) = self.track(kind) {
                track.init = Some(init);
            }
        }
        let Some(track) = self.track(kind) else { return };
        let (sequence, duration, url) = match track.next_segment() {
            None => return,
            Some((segment, Some(url))) => (segment.sequence, segment.duration, url),
            // A URI that cannot be resolved is a segment that cannot be had.
            Some((segment, None)) => {
                let sequence = segment.sequence;
                track.append(sequence, Duration::ZERO);
                return;
            }
        };
        let purpose = Purpose::Segment {
            kind,
            sequence,
            duration,
            bandwidth,
        };
        let id = self.fetch(purpose, url, due, limits, 0, None);
        if let Some(track) = self.track(kind) {
            track.segment.send(id);
        }
    }

    /// When the next segment may be fetched. Tracks keep together, as a media source appends them: video waits once for the first
    /// audio, and audio is never ahead of video.
    pub(super) fn segment_due(&self, kind: TrackKind) -> Option<Duration> {
        let (track, waits) = match (kind, &self.video, &self.audio) {
            (TrackKind::Video, Some(video), Some(audio)) => (video, video.has_begun() && !audio.has_begun()),
            (TrackKind::Video, Some(video), None) => (video, false),
            (TrackKind::Audio, Some(video), Some(audio)) => {
                let ahead = audio.buffered() > video.buffered() + audio.segment_length() / 4;
                (audio, !video.has_begun() || ahead)
            }
            _ => return None,
        };
        track
            .segment_due(self.now, self.settings.buffer_goal)
            .filter(|_| !waits)
    }

    /// When to think about the rung again although nothing happens: once the buffer is short of two segments, peaks count.
    pub(super) fn doubt_due(&self) -> Option<Duration> {
        let video = self.video.as_ref().filter(|video| video.is_at_the_edge())?;
        let margin = video.buffered().checked_sub(video.segment_length() * 2)?;
        (self.rung > 0 && self.fetched_any).then_some(self.now + margin + MOMENT)
    }

    /// How patient to be with media, as things are.
    pub(super) fn media_policy(&self) -> &MediaPolicy {
        if self.pathways.is_one() {
            &self.settings.alone
        } else {
            &self.settings.media
        }
    }

    /// The length of a video segment that a lower rung may replace while it is on its way.
    fn may_be_given_up(&self, purpose: &Purpose) -> Option<Duration> {
        match purpose {
            Purpose::Segment {
                kind: TrackKind::Video,
                duration,
                ..
            } if self.rung > 0 => Some(*duration),
            _ => None,
        }
    }

    pub(super) fn fetch(
        &mut self,
        purpose: Purpose,
        url: Arc<Url>,
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
        let watched = self.may_be_given_up(&purpose);
        if let Some(duration) = watched {
            self.watched = Some(Watched::new(id, self.now, duration));
        }
        self.outstanding.push((id, purpose));
        let fetch = Fetch {
            id,
            class,
            url,
            post,
            bearer,
            capture,
            due,
            deadlines,
            pathway,
            watched: watched.is_some(),
        };
        self.actions.push(Action::Fetch(fetch));
        id
    }

    /// Chooses the rung of the next segment; `true` if it changed and its playlist must come first.
    pub(super) fn switch_rung(&mut self) -> bool {
        let Some(video) = &self.video else { return false };
        let situation = Situation {
            current: self.loaded_rung,
            buffered: video.buffered(),
            segment: video.segment_length(),
            live: !video.is_over(),
        };
        let rungs = self.rungs();
        if rungs.is_empty() || !self.fetched_any || self.forced {
            return false;
        }
        let choice = abr::choose(rungs, &self.bandwidth, &self.settings, situation);
        if choice == self.rung {
            return false;
        }
        let starting = self.clock.state() == PlaybackState::Starting;
        if let Some(video) = &mut self.video {
            // What is being played is not replaced, what has not been played yet is: the newest segment, or the very first.
            video.again = match (starting, video.is_at_the_edge()) {
                (true, _) => Some(Again::InAnyCase),
                (false, true) => Some(Again::IfNewest),
                (false, false) => None,
            };
        }
        self.play_rung(choice);
        let (now, due) = (self.now, self.due);
        let limits = self.media_policy().playlist.deadlines;
        let url = self.video.as_ref().map(|video| video.uri.clone());
        if let Some(url) = url {
            let purpose = Purpose::Playlist {
                kind: TrackKind::Video,
                begun: now,
            };
            let id = self.fetch(purpose, url, due, limits, MAX_PLAYLIST, None);
            if let Some(video) = &mut self.video {
                video.playlist.send(id);
            }
        }
        true
    }

    /// Plays on in another rung, whose playlist is then due.
    pub(super) fn play_rung(&mut self, rung: usize) {
        let (now, rungs) = (self.now, self.rungs());
        let from = rungs.get(self.rung).map_or(0, |rung| rung.bandwidth);
        let Some((to, uri)) = rungs.get(rung).map(|rung| (rung.bandwidth, Arc::clone(&rung.video))) else {
            return;
        };
        self.rung = rung;
        let dropped = self.video.as_mut().and_then(|video| {
            video.load(uri, now);
            video.playlist.restart(now)
        });
        // An answer on its way is for the old rung. It may finish: closing the connection would cost more.
        if let Some(id) = dropped {
            self.take_outstanding(id);
        }
        self.end.rung_switches += 1;
        self.report(SessionEvent::RungSwitched { from, to });
    }
}
