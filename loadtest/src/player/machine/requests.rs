//! What the player asks for, and when.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::{Player, Purpose, Stage};
use crate::http::Deadlines;
use crate::player::abr::{self, Situation};
use crate::player::playlist::MAX_PLAYLIST;
use crate::player::steering::MAX_MANIFEST;
use crate::player::track::TrackKind;
use crate::player::{Action, Fetch, FetchId, services};
use crate::telemetry::SessionEvent;

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

    pub(super) fn pump_startup(&mut self) {
        let Some(due) = self.startup.ready(self.now) else {
            return;
        };
        let services = &self.settings.services;
        let (url, limits, post) = match (self.stage, &services.entitlement, &services.licence) {
            (Stage::Entitlement, Some(service), _) => (
                service.url.clone(),
                Deadlines::all(service.deadline),
                Some(services::who(&self.identity)),
            ),
            (Stage::Licence, _, Some(service)) => (
                service.url.clone(),
                Deadlines::all(service.deadline),
                Some(services::licence_request(&self.identity)),
            ),
            _ => (self.identity.url.clone(), self.settings.control, None),
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
        let id = self.fetch(Purpose::Heartbeat, service.url, due, limits, 0, Some(body));
        self.heartbeat.send(id);
    }

    pub(super) fn pump_track(&mut self, kind: TrackKind) {
        let now = self.now;
        let Some(track) = self.track(kind) else { return };
        if let Some(due) = track.playlist.ready(now) {
            let url = track.uri.clone();
            let limits = self.settings.media;
            let id = self.fetch(
                Purpose::Playlist { kind, begun: now },
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
        let goal = self.settings.buffer_goal;
        let Some(due) = self
            .track(kind)
            .and_then(|track| track.segment_due(now, goal))
            .filter(|due| *due <= now)
        else {
            return;
        };
        if kind == TrackKind::Video && self.switch_rung() {
            return;
        }
        let bandwidth = self.rungs().get(self.rung).map_or(0, |rung| rung.bandwidth);
        let Some(track) = self.track(kind) else { return };
        let due = track.segment.at.unwrap_or(due);
        let Some((segment, url, map)) = track.next_segment() else {
            return;
        };
        let (sequence, duration) = (segment.sequence, segment.duration);
        let (purpose, url) = match (map.filter(|map| track.init.as_ref() != Some(map)), url) {
            (Some(map), _) => (Purpose::Init { kind, url: map.clone() }, map),
            (None, Ok(url)) => (
                Purpose::Segment {
                    kind,
                    sequence,
                    duration,
                    bandwidth,
                },
                url,
            ),
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

    pub(super) fn fetch(
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
        };
        self.actions.push(Action::Fetch(fetch));
        id
    }

    /// Chooses the rung of the next segment; `true` if it changed and its playlist must come first.
    pub(super) fn switch_rung(&mut self) -> bool {
        let Some(video) = &self.video else { return false };
        let current = self.fetched_any.then_some(self.rung);
        let situation = Situation {
            current,
            buffered: self.buffered(),
            segment: video.segment_length(),
        };
        let rungs = self.rungs();
        if rungs.is_empty() || current.is_none() {
            return false;
        }
        let choice = abr::choose(rungs, &self.bandwidth, &self.settings, situation);
        if choice == self.rung {
            return false;
        }
        let (from, to) = (
            rungs.get(self.rung).map_or(0, |rung| rung.bandwidth),
            rungs[choice].bandwidth,
        );
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
}
