//! What the player makes of answers.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::{Player, Purpose, Stage, millis};
use crate::player::abr;
use crate::player::job::Job;
use crate::player::steering::{Pathways, SteeringManifest};
use crate::player::track::{Sync, Track, TrackKind};
use crate::player::{Failure, FetchId, Fetched, MediaPlaylist, Multivariant, memo, services};
use crate::telemetry::{ErrorKind, PathwaySwitchReason, RequestClass, SessionEvent};

impl Player {
    pub(super) fn on_fetched(&mut self, id: FetchId, answer: Fetched) {
        self.end.bytes += answer.bytes;
        let Some(purpose) = self.take_outstanding(id) else {
            return;
        };
        if !(200..300).contains(&answer.status) {
            return self.failed(&purpose, ErrorKind::Status, Some(answer.status));
        }
        let body = answer.body.as_deref().unwrap_or_default();
        match purpose {
            Purpose::Startup(Stage::Entitlement) => match services::token(body) {
                Some(token) => {
                    self.token = Some(token);
                    self.next_stage();
                }
                None => self.failed(&purpose, ErrorKind::Malformed, None),
            },
            Purpose::Startup(Stage::Licence) if services::has_keys(body) => self.next_stage(),
            Purpose::Startup(Stage::Licence) => self.failed(&purpose, ErrorKind::Malformed, None),
            Purpose::Startup(_) => match memo::multivariant(body, &answer.url) {
                Ok(playlist) => self.on_multivariant(playlist),
                Err(_) => self.failed(&purpose, ErrorKind::Malformed, None),
            },
            Purpose::Steering => match SteeringManifest::parse(body) {
                Ok(manifest) => self.on_steering(&manifest),
                Err(_) => self.failed(&purpose, ErrorKind::Malformed, None),
            },
            Purpose::Heartbeat => {
                self.heartbeat.succeeded();
                self.heartbeat_failures = 0;
                self.heartbeat.at = Some(self.now + self.heartbeat_interval());
            }
            Purpose::Playlist { kind, begun } => match memo::media(body) {
                Ok(playlist) => self.on_playlist(kind, playlist, answer.url, begun),
                Err(_) => self.failed(&purpose, ErrorKind::Malformed, None),
            },
            Purpose::Init(kind) => {
                if let Some(early) = self.track(kind).and_then(|track| track.early.take()) {
                    self.append(kind, early.0, early.1);
                }
            }
            Purpose::Segment {
                kind,
                sequence,
                duration,
                bandwidth,
            } => {
                if kind == TrackKind::Video {
                    self.bandwidth.sample(answer.bytes, answer.first_byte, answer.total);
                    self.bits += bandwidth as f64 * duration.as_secs_f64();
                    self.bits_seconds += duration.as_secs_f64();
                    self.fetched_any = true;
                    self.loaded_rung = self.rung;
                }
                self.append(kind, sequence, duration);
            }
        }
    }

    /// A segment is there: into the buffer, if its initialisation section is there too, without which no decoder can use it.
    fn append(&mut self, kind: TrackKind, sequence: u64, duration: Duration) {
        let waits = self.outstanding.iter().any(|(_, purpose)| purpose.is_init_of(kind));
        let Some(track) = self.track(kind) else { return };
        if waits {
            track.segment.inflight = None;
            track.early = Some(Box::new((sequence, duration)));
            return;
        }
        track.segment.succeeded();
        track.failing_since = None;
        track.append(sequence, duration);
        if kind == TrackKind::Video {
            self.forced = false;
            self.cycles = 0;
            if let Some(since) = self.switched_at.take() {
                let (pathway, ms) = (Arc::clone(&self.pathway), millis(self.now.saturating_sub(since)));
                self.report(SessionEvent::FirstSegmentOnPathway { pathway, ms });
            }
        }
        self.try_play();
    }

    pub(super) fn on_failed(&mut self, id: FetchId, failure: Failure) {
        self.end.bytes += failure.bytes;
        if let Some(purpose) = self.take_outstanding(id) {
            // What was too slow tells how fast the line is: hls.js's `onError`.
            if purpose.class() == RequestClass::Segment && failure.kind == ErrorKind::Timeout {
                self.bandwidth
                    .sample_part(failure.bytes, failure.first_byte, failure.total);
            }
            self.failed(&purpose, failure.kind, None);
        }
    }

    pub(super) fn take_outstanding(&mut self, id: FetchId) -> Option<Purpose> {
        self.watched = self.watched.filter(|watched| watched.id != id);
        let index = self.outstanding.iter().position(|(other, _)| *other == id)?;
        Some(self.outstanding.swap_remove(index).1)
    }

    pub(super) fn next_stage(&mut self) {
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

    pub(super) fn on_multivariant(&mut self, playlist: Arc<Multivariant>) {
        let wanted = playlist
            .steering
            .as_ref()
            .and_then(|steering| steering.pathway.as_deref());
        let start = playlist
            .pathways
            .iter()
            .find(|pathway| Some(&*pathway.id) == wanted)
            .or(playlist.pathways.first());
        if let Some(start) = start {
            self.pathway = Arc::clone(&start.id);
        }
        let ids: Vec<Arc<str>> = playlist
            .pathways
            .iter()
            .map(|pathway| Arc::clone(&pathway.id))
            .collect();
        let server = playlist.steering.as_ref().map(|steering| Arc::clone(&steering.server));
        self.pathways = Pathways::new(ids.into_iter(), server, self.settings.steering_ttl);
        self.ladder = Some(playlist);
        self.next_stage();
    }

    pub(super) fn start_media(&mut self) {
        let (now, open) = (self.now, self.now + self.settings.device.open);
        let listed = self.playing().map_or(0, |pathway| pathway.first_listed);
        self.bandwidth
            .expect(listed.min(self.settings.initial_bandwidth_max) as f64);
        self.rung = abr::first(self.rungs(), self.bandwidth.estimate());
        if let Some(rung) = self.rungs().get(self.rung).cloned() {
            self.video = Some(Track::new(rung.video, open));
            self.audio = rung.audio.map(|uri| Track::new(uri, open));
        }
        if self.pathways.server.is_some() {
            self.steering = Job::due_at(now);
        }
        if self.settings.services.heartbeat.is_some() {
            self.heartbeat = Job::due_at(now + self.heartbeat_interval());
        }
    }

    pub(super) fn on_steering(&mut self, manifest: &SteeringManifest) {
        self.steering.succeeded();
        self.pathways.apply(manifest);
        self.steering.at = Some(self.now + self.pathways.ttl);
        if let Some(preferred) = self
            .pathways
            .preferred(self.now)
            .filter(|id| **id != self.pathway)
            .cloned()
        {
            self.switch_pathway(preferred, PathwaySwitchReason::Steering, self.now);
        }
    }

    pub(super) fn on_playlist(
        &mut self,
        kind: TrackKind,
        playlist: Arc<MediaPlaylist>,
        base: Arc<Url>,
        begun: Duration,
    ) {
        let origin = match kind {
            TrackKind::Video => self.audio.as_ref(),
            TrackKind::Audio => self.video.as_ref(),
        }
        .and_then(|other| other.origin);
        let sync = Sync {
            durations: self.settings.live_sync_durations,
            origin,
        };
        let now = self.now;
        let Some(track) = self.track(kind) else { return };
        let news = track.on_playlist(playlist, base, begun, now, sync);
        let notable = track.notable_gap();
        if let Some(gap) = news.gap.filter(|gap| kind == TrackKind::Video && *gap > notable) {
            self.report(SessionEvent::StreamGap { ms: millis(gap) });
        }
        self.skip(kind, news.skipped);
        self.pass_gaps(kind);
    }

    pub(super) fn pass_gaps(&mut self, kind: TrackKind) {
        // What is on its way is the front of the queue: leave it there.
        if let Some(track) = self.track(kind).filter(|track| !track.is_held()) {
            let passed = track.pass_gaps();
            self.skip(kind, passed);
        }
    }

    /// One track jumped over media: the other one follows.
    pub(super) fn skip(&mut self, kind: TrackKind, media: Duration) {
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
}
