//! What the player does about failures: again, elsewhere, or not at all.

use std::sync::Arc;
use std::time::Duration;

use super::{Player, Purpose, Stage};
use crate::player::job::{AfterFailure, backoff};
use crate::player::track::TrackKind;
use crate::player::{Action, FetchId, ServiceEndpoint, services};
use crate::telemetry::{ErrorKind, PathwaySwitchReason, RequestClass, SessionEvent};

impl Player {
    pub(super) fn failed(&mut self, purpose: &Purpose, kind: ErrorKind, status: Option<u16>) {
        let class = purpose.class();
        let media = !matches!(purpose, Purpose::Startup(_) | Purpose::Steering | Purpose::Heartbeat);
        let pathway = if media { Arc::clone(&self.pathway) } else { "".into() };
        self.report(SessionEvent::Error {
            class,
            kind,
            status,
            pathway,
        });
        let policy = self.settings.control.retry;
        match purpose {
            Purpose::Startup(stage) => self.startup_failed(*stage, class),
            Purpose::Steering => {
                // 410: the server wants to be left alone (specified); otherwise once more soon, then in its own time.
                let _ = self.steering.failed(kind, status, &policy, &mut self.rng);
                let soon = self.steering.failures() == 1;
                let wait = if soon {
                    Duration::from_secs(1)
                } else {
                    self.pathways.ttl
                };
                self.steering.at = (status != Some(410)).then(|| self.now + wait);
            }
            Purpose::Heartbeat => {
                let _ = self.heartbeat.failed(kind, status, &policy, &mut self.rng);
                self.heartbeat_failures += 1;
                let wait = self
                    .heartbeat_interval()
                    .max(self.breaker_wait(self.heartbeat_failures));
                self.heartbeat.at = Some(self.now + wait);
            }
            Purpose::Playlist { kind: track, .. } => self.media_failed(*track, true, kind, status),
            Purpose::Init(track) => {
                let Some(wanted) = self.track(*track) else { return };
                (wanted.init, wanted.early) = (None, None);
                // Its segment is of no use without it.
                if let Some(useless) = wanted.segment.inflight {
                    self.cancel(useless);
                }
                self.media_failed(*track, false, kind, status);
            }
            Purpose::Segment { kind: track, .. } => self.media_failed(*track, false, kind, status),
        }
    }

    pub(super) fn startup_failed(&mut self, stage: Stage, class: RequestClass) {
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
            self.startup.at = Some(self.now + backoff(&self.settings.control.retry, failures, &mut self.rng));
        }
    }

    pub(super) fn media_failed(&mut self, kind: TrackKind, playlist: bool, error: ErrorKind, status: Option<u16>) {
        let (now, media) = (self.now, self.media_policy());
        let policy = if playlist { media.playlist } else { media.segment }.retry;
        let mut rng = self.rng.clone();
        let Some(track) = self.track(kind) else { return };
        let since = *track.failing_since.get_or_insert(now);
        let job = if playlist {
            &mut track.playlist
        } else {
            &mut track.segment
        };
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
                    return self.fatal(format!(
                        "no pathway left after {} s",
                        self.settings.fatal_after.as_secs()
                    ));
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
            let job = if playlist {
                &mut track.playlist
            } else {
                &mut track.segment
            };
            job.at = Some(now + wait);
        }
    }

    pub(super) fn switch_pathway(&mut self, to: Arc<str>, reason: PathwaySwitchReason, at: Duration) {
        let Some(ladder) = self.ladder.clone() else { return };
        let Some(pathway) = ladder.pathways.iter().find(|pathway| pathway.id == to) else {
            return;
        };
        let from = std::mem::replace(&mut self.pathway, to);
        self.rung = self.rung.min(pathway.rungs.len().saturating_sub(1));
        let Some(rung) = pathway.rungs.get(self.rung).cloned() else {
            return;
        };
        let (now, uris) = (
            self.now,
            [(TrackKind::Video, Some(rung.video)), (TrackKind::Audio, rung.audio)],
        );
        for (kind, uri) in uris {
            let Some(track) = self.track(kind) else { continue };
            if let Some(uri) = uri {
                track.load(uri, now);
            }
            (track.init, track.early) = (None, None);
            let playlist = track.playlist.restart(at);
            let segment = track.segment.restart(at);
            track.segment.at = None;
            let init = self.outstanding.iter().find(|(_, purpose)| purpose.is_init_of(kind));
            let init = init.map(|(id, _)| *id);
            for id in [playlist, segment, init].into_iter().flatten() {
                self.cancel(id);
            }
        }
        self.switched_at = Some(self.now);
        self.end.pathway_switches += 1;
        let to = Arc::clone(&self.pathway);
        self.report(SessionEvent::PathwaySwitched { from, to, reason });
    }

    pub(super) fn cancel(&mut self, id: FetchId) {
        if self.take_outstanding(id).is_some() {
            self.actions.push(Action::Cancel(id));
        }
    }
}
