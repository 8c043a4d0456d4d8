//! One rendition being played: its playlist, what comes next, and what lies in its buffer.

use std::collections::VecDeque;
use std::time::Duration;

use url::Url;

use super::job::Job;
use super::{MediaPlaylist, Segment};

/// A playlist whose end went back by more than this many segments has started its numbering over.
const MAX_AHEAD: u64 = 10;

/// Video or audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrackKind {
    Video,
    Audio,
}

/// One rendition.
#[derive(Clone, Debug)]
pub(super) struct Track {
    /// Its media playlist.
    pub uri: Url,
    pub playlist: Job,
    pub segment: Job,
    /// Base of segment URIs: where the playlist came from. `None` until it did.
    base: Option<Url>,
    /// Known segments from `next` on.
    upcoming: VecDeque<Segment>,
    target: Duration,
    ended: bool,
    edges: Option<(u64, u64)>,
    /// Sequence number to append next; `None` before the start is chosen.
    pub next: Option<u64>,
    /// The first one ever.
    pub origin: Option<u64>,
    /// Media ahead of the playhead.
    buffered: Duration,
    /// Media that the other track jumped over and this one must, too.
    debt: Duration,
    last_duration: Duration,
    /// Initialisation section that is loaded.
    pub init: Option<Url>,
    /// Failing since; cleared by a segment.
    pub failing_since: Option<Duration>,
    newest: Option<(u64, Duration)>,
    gap_max: Duration,
}

impl Track {
    pub(super) fn new(uri: Url, at: Duration) -> Self {
        Self {
            uri,
            playlist: Job::due_at(at),
            segment: Job::default(),
            base: None,
            upcoming: VecDeque::new(),
            target: Duration::from_secs(2),
            ended: false,
            edges: None,
            next: None,
            origin: None,
            buffered: Duration::ZERO,
            debt: Duration::ZERO,
            last_duration: Duration::ZERO,
            init: None,
            failing_since: None,
            newest: None,
            gap_max: Duration::ZERO,
        }
    }

    /// Plays on from another playlist: another rung or pathway. Position and buffer stay.
    pub(super) fn load(&mut self, uri: Url) {
        self.uri = uri;
        self.base = None;
        self.upcoming.clear();
        self.edges = None;
    }

    /// A playlist arrived that was asked for at `begun`. Returns media that was skipped because it left the window.
    pub(super) fn on_playlist(
        &mut self,
        playlist: MediaPlaylist,
        base: Url,
        begun: Duration,
        now: Duration,
        sync: Sync,
    ) -> Duration {
        self.playlist.succeeded();
        let Some(last) = playlist.last() else {
            // Nothing published yet.
            self.playlist.at = Some(begun + playlist.target / 2);
            return Duration::ZERO;
        };
        let changed = self.edges != Some((playlist.first, last));
        // Only against the same playlist: one of another pathway may just lag behind, and playing that again is no progress.
        let restarted = self
            .edges
            .is_some_and(|(_, before)| last.saturating_add(MAX_AHEAD) < before);
        self.edges = Some((playlist.first, last));
        self.base = Some(base);
        self.target = playlist.target;
        self.ended = playlist.ended;
        self.note_newest(last, now, restarted);
        // RFC 8216, 6.3.4: a target duration after it changed, half of one if it did not.
        let wait = if changed { playlist.target } else { playlist.target / 2 };
        self.playlist.at = (!playlist.ended).then_some(begun + wait);

        let mut skipped = Duration::ZERO;
        let start = |playlist: &MediaPlaylist| playlist.live_start(playlist.target * sync.durations).unwrap_or(last);
        match self.next {
            None => {
                let aligned = sync.origin.filter(|origin| (playlist.first..=last).contains(origin));
                let first = aligned.unwrap_or_else(|| start(&playlist));
                (self.next, self.origin) = (Some(first), Some(first));
            }
            Some(next) if next < playlist.first => {
                let live = start(&playlist);
                let missed = u32::try_from(live.saturating_sub(next)).unwrap_or(u32::MAX);
                skipped = playlist.target.saturating_mul(missed);
                self.next = Some(live);
            }
            Some(_) if restarted => self.next = Some(start(&playlist)),
            Some(_) => {}
        }
        let next = self.next.unwrap_or(0);
        self.upcoming = playlist
            .segments
            .into_iter()
            .filter(|segment| segment.sequence >= next)
            .collect();
        skipped
    }

    fn note_newest(&mut self, last: u64, now: Duration, restarted: bool) {
        match self.newest {
            Some((newest, _)) if last <= newest && !restarted => {}
            Some((_, at)) => {
                self.gap_max = self.gap_max.max(now.saturating_sub(at));
                self.newest = Some((last, now));
            }
            None => self.newest = Some((last, now)),
        }
    }

    /// Passes over segments marked as missing; returns how much media that is.
    pub(super) fn pass_gaps(&mut self) -> Duration {
        let mut passed = Duration::ZERO;
        while let Some(segment) = self.upcoming.front().filter(|segment| segment.gap) {
            passed += segment.duration;
            self.next = Some(segment.sequence.saturating_add(1));
            self.upcoming.pop_front();
        }
        passed
    }

    /// What to fetch next: the segment, its URL, and its initialisation section.
    pub(super) fn next_segment(&self) -> Option<(&Segment, Result<Url, ()>, Option<Url>)> {
        let base = self.base.as_ref()?;
        let segment = self.upcoming.front()?;
        let map = segment.map.as_deref().and_then(|map| base.join(map).ok());
        Some((segment, base.join(&segment.uri).map_err(|_| ()), map))
    }

    /// A segment is in the buffer. `false` if it is not the one that comes next: it must not be appended.
    pub(super) fn append(&mut self, sequence: u64, duration: Duration) -> bool {
        if self.next != Some(sequence) {
            return false;
        }
        self.next = Some(sequence.saturating_add(1));
        while self
            .upcoming
            .front()
            .is_some_and(|segment| segment.sequence <= sequence)
        {
            self.upcoming.pop_front();
        }
        self.last_duration = duration;
        self.buffered += duration;
        self.settle();
        true
    }

    /// This track jumped over `media`; gives what the other one must jump over.
    pub(super) fn jumped(&mut self, media: Duration) -> Duration {
        let own = self.debt.min(media);
        self.debt -= own;
        media.saturating_sub(own)
    }

    pub(super) fn owe(&mut self, media: Duration) {
        self.debt += media;
        self.settle();
    }

    fn settle(&mut self) {
        let paid = self.debt.min(self.buffered);
        self.debt -= paid;
        self.buffered -= paid;
    }

    pub(super) fn consume(&mut self, media: Duration) {
        self.buffered = self.buffered.saturating_sub(media);
    }

    pub(super) fn buffered(&self) -> Duration {
        self.buffered
    }

    pub(super) fn segment_length(&self) -> Duration {
        if self.last_duration.is_zero() {
            self.target
        } else {
            self.last_duration
        }
    }

    /// Enough to (re)start: one segment, or all there will ever be.
    pub(super) fn is_ready(&self) -> bool {
        let enough = !self.last_duration.is_zero() && self.buffered >= self.last_duration.mul_f64(0.9);
        enough || (self.is_finished() && !self.buffered.is_zero())
    }

    /// Everything there will ever be is in the buffer.
    pub(super) fn is_finished(&self) -> bool {
        self.ended && self.upcoming.is_empty() && self.next.is_some() && self.base.is_some()
    }

    /// When a segment may be fetched: a retry's time, or as soon as the buffer has room. `None`: nothing to fetch.
    pub(super) fn segment_due(&self, now: Duration, goal: Duration) -> Option<Duration> {
        if self.segment.inflight.is_some() || self.upcoming.is_empty() {
            return None;
        }
        let room = now + self.buffered.saturating_sub(goal);
        Some(self.segment.at.map_or(room, |retry| retry.max(room)))
    }

    /// Longest wait for a new segment, up to `now`.
    pub(super) fn gap_max(&self, now: Duration) -> Duration {
        match self.newest {
            Some((_, at)) if !self.ended => self.gap_max.max(now.saturating_sub(at)),
            _ => self.gap_max,
        }
    }

    /// Distance from the playhead to the live edge.
    pub(super) fn live_latency(&self, now: Duration) -> Duration {
        let (Some((newest, at)), Some(next)) = (self.newest, self.next) else {
            return Duration::ZERO;
        };
        let missing = u32::try_from((newest + 1).saturating_sub(next)).unwrap_or(u32::MAX);
        self.target.saturating_mul(missing) + self.buffered + now.saturating_sub(at)
    }
}

/// Where to start in a live window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sync {
    /// Target durations from the live edge.
    pub durations: u32,
    /// Where the other track started.
    pub origin: Option<u64>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn playlist(first: u64, count: u64, gaps: &[u64]) -> MediaPlaylist {
        let segments = (first..first + count)
            .map(|sequence| Segment {
                sequence,
                duration: s(2),
                uri: format!("seg_{sequence}.m4s").into(),
                map: None,
                gap: gaps.contains(&sequence),
            })
            .collect();
        MediaPlaylist {
            target: s(2),
            first,
            segments,
            ended: false,
        }
    }

    const SYNC: Sync = Sync {
        durations: 3,
        origin: None,
    };

    fn track() -> Track {
        Track::new(base(), s(0))
    }

    fn base() -> Url {
        Url::parse("http://h/live/v/index.m3u8").unwrap()
    }

    #[test]
    fn reload_waits_a_target_duration_or_half() {
        let mut track = track();
        track.on_playlist(playlist(10, 6, &[]), base(), s(1), s(2), SYNC);
        assert_eq!(
            (track.next, track.playlist.at),
            (Some(13), Some(s(3))),
            "from when the last load began"
        );
        track.on_playlist(playlist(10, 6, &[]), base(), s(3), s(3), SYNC);
        assert_eq!(track.playlist.at, Some(s(4)));
        track.on_playlist(playlist(11, 6, &[]), base(), s(4), s(4), SYNC);
        assert_eq!(track.playlist.at, Some(s(6)));
        assert_eq!(track.gap_max(s(4)), s(2));
        assert_eq!(
            track.gap_max(s(14)),
            s(10),
            "a playlist that stands still counts to the end"
        );
    }

    #[test]
    fn falling_out_of_the_window_jumps_to_the_live_edge() {
        let mut track = track();
        track.on_playlist(playlist(10, 6, &[]), base(), s(0), s(0), SYNC);
        let skipped = track.on_playlist(playlist(100, 6, &[]), base(), s(0), s(0), SYNC);
        assert_eq!((track.next, skipped), (Some(103), s(180)));
    }

    #[test]
    fn restarted_numbering_starts_over_at_the_edge() {
        let mut track = track();
        track.on_playlist(playlist(1000, 6, &[]), base(), s(0), s(0), SYNC);
        track.on_playlist(playlist(5, 6, &[]), base(), s(0), s(0), SYNC);
        assert_eq!(track.next, Some(8));
    }

    #[test]
    fn appends_only_in_order() {
        let mut track = track();
        track.on_playlist(playlist(10, 6, &[]), base(), s(0), s(0), SYNC);
        assert!(!track.append(14, s(2)));
        assert!(track.append(13, s(2)));
        assert!(!track.append(13, s(2)));
        assert_eq!(track.buffered(), s(2));
        assert_eq!(track.next_segment().unwrap().0.sequence, 14);
    }

    #[test]
    fn gaps_and_debts_cancel() {
        let (mut video, mut audio) = (track(), track());
        video.on_playlist(playlist(10, 6, &[13]), base(), s(0), s(0), SYNC);
        audio.on_playlist(playlist(10, 6, &[13]), base(), s(0), s(0), SYNC);
        let passed = video.pass_gaps();
        assert_eq!(passed, s(2));
        let owed = video.jumped(passed);
        audio.owe(owed);
        let passed = audio.pass_gaps();
        assert_eq!(audio.jumped(passed), Duration::ZERO, "both jumped: nobody owes");
        audio.append(14, s(2));
        assert_eq!(audio.buffered(), s(2));
        video.owe(s(3));
        video.append(14, s(2));
        assert_eq!(video.buffered(), Duration::ZERO, "debts are paid from what comes");
    }
}
