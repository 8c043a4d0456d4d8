//! One rendition being played: its playlist, what comes next, and what lies in its buffer.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::freshness::Freshness;
use super::init::Init;
use super::job::Job;
use super::reload::Reload;
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
    pub uri: Arc<Url>,
    pub playlist: Job,
    pub segment: Job,
    /// Base of segment URIs: where the playlist came from. `None` until it did.
    base: Option<Arc<Url>>,
    /// What the playlist said, shared by all that loaded the same. `None` until it came.
    list: Option<Arc<MediaPlaylist>>,
    /// Where in it the known segments from `next` on begin.
    from: usize,
    target: Duration,
    ended: bool,
    edges: Option<(u64, u64)>,
    /// The schedules of playlists that were played before.
    reload: Reload,
    /// Sequence number to append next; `None` before the start is chosen.
    pub next: Option<u64>,
    /// The first one ever.
    pub origin: Option<u64>,
    /// Media ahead of the playhead.
    buffered: Duration,
    /// Media that the other track jumped over and this one must, too.
    debt: Duration,
    last_duration: Duration,
    /// Whether the newest segment of the buffer is to be fetched again, from the playlist that comes next.
    pub again: Option<Again>,
    /// Initialisation section that is loaded, or on its way.
    pub init: Option<Init>,
    /// The next segment, if it came before its initialisation section: number and length. Boxed, as it is rare and viewers are many.
    pub early: Option<Box<(u64, Duration)>>,
    /// Failing since; cleared by a segment.
    pub failing_since: Option<Duration>,
    freshness: Freshness,
}

impl Track {
    pub(super) fn new(uri: Arc<Url>, at: Duration) -> Self {
        Self {
            uri,
            playlist: Job::due_at(at),
            segment: Job::default(),
            base: None,
            list: None,
            from: 0,
            target: Duration::from_secs(2),
            ended: false,
            edges: None,
            reload: Reload::default(),
            next: None,
            origin: None,
            buffered: Duration::ZERO,
            debt: Duration::ZERO,
            last_duration: Duration::ZERO,
            again: None,
            init: None,
            early: None,
            failing_since: None,
            freshness: Freshness::default(),
        }
    }

    /// Plays on from another playlist: another rung or pathway. Position and buffer stay.
    pub(super) fn load(&mut self, uri: Arc<Url>, now: Duration) {
        let left = std::mem::replace(&mut self.uri, uri);
        self.base = None;
        self.list = None;
        self.early = None;
        // One that is on its way was due just now.
        let due = self.playlist.at.unwrap_or(now);
        self.edges = self.reload.turn(left, self.edges, due, &self.uri);
    }

    /// A playlist arrived that was asked for at `begun`.
    pub(super) fn on_playlist(
        &mut self,
        playlist: Arc<MediaPlaylist>,
        base: Arc<Url>,
        begun: Duration,
        now: Duration,
        sync: Sync,
    ) -> News {
        self.playlist.succeeded();
        let Some(last) = playlist.last() else {
            // Nothing published yet.
            self.playlist.at = Some(self.reload.next(playlist.target, false, begun, now));
            return News::default();
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
        let gap = self.freshness.note(last, now, restarted);
        let reload = self.reload.next(playlist.target, changed, begun, now);
        self.playlist.at = (!playlist.ended).then_some(reload);

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
        let mut next = self.next.unwrap_or(0);
        next -= match self.again.take() {
            Some(Again::IfNewest) if next == last.saturating_add(1) => 1,
            Some(Again::InAnyCase) if next > playlist.first && next - 1 <= last => 1,
            _ => 0,
        };
        self.from = playlist.segments.partition_point(|segment| segment.sequence < next);
        self.list = Some(playlist);
        News { skipped, gap }
    }

    /// Known segments from `next` on.
    fn upcoming(&self) -> &[Segment] {
        self.list
            .as_ref()
            .and_then(|list| list.segments.get(self.from..))
            .unwrap_or_default()
    }

    /// Passes over segments marked as missing; returns how much media that is.
    pub(super) fn pass_gaps(&mut self) -> Duration {
        let mut passed = Duration::ZERO;
        while let Some((sequence, duration)) = self
            .upcoming()
            .first()
            .filter(|segment| segment.gap)
            .map(|segment| (segment.sequence, segment.duration))
        {
            if self.next.is_some_and(|next| sequence < next) {
                self.from += 1;
                continue;
            }
            passed += duration;
            self.next = Some(sequence.saturating_add(1));
            self.from += 1;
        }
        passed
    }

    /// The initialisation section to fetch, if the next segment needs one that is not there.
    pub(super) fn next_init(&self) -> Option<(Init, Arc<Url>)> {
        let (base, segment) = (self.base.as_ref()?, self.upcoming().first()?);
        let init = Init {
            base: Arc::clone(base),
            map: Arc::clone(segment.map.as_ref()?),
        };
        // One that is loaded already, or that cannot be had, is not to be fetched.
        if self.init.as_ref().is_some_and(|loaded| loaded.is(&init)) {
            return None;
        }
        let url = init.url()?;
        Some((init, Arc::new(url)))
    }

    /// The segment to fetch next, and its URL if it has one.
    pub(super) fn next_segment(&self) -> Option<(&Segment, Option<Arc<Url>>)> {
        let (base, segment) = (self.base.as_ref()?, self.upcoming().first()?);
        Some((segment, base.join(&segment.uri).ok().map(Arc::new)))
    }

    /// A segment is in the buffer. `false` if it is not the one that comes next: it must not be appended.
    pub(super) fn append(&mut self, sequence: u64, duration: Duration) -> bool {
        if self.next != Some(sequence) {
            // Another rung of what is in the buffer already replaces it there.
            let same = |segment: &Segment| segment.sequence == sequence;
            if self.next == Some(sequence.saturating_add(1)) && self.upcoming().first().is_some_and(same) {
                self.from += 1;
            }
            return false;
        }
        self.next = Some(sequence.saturating_add(1));
        while self
            .upcoming()
            .first()
            .is_some_and(|segment| segment.sequence <= sequence)
        {
            self.from += 1;
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

    /// Whether a segment was ever appended.
    pub(super) fn has_begun(&self) -> bool {
        !self.last_duration.is_zero()
    }

    /// Whether the segment at the front of the queue is on its way, or waits for its initialisation section.
    pub(super) fn is_held(&self) -> bool {
        self.segment.inflight.is_some() || self.early.is_some()
    }

    /// Whether its playlist is there and lists nothing that is not in the buffer or on its way.
    pub(super) fn is_at_the_edge(&self) -> bool {
        !self.is_held() && self.list.is_some() && self.upcoming().is_empty() && !self.ended
    }

    /// No more segments will come.
    pub(super) fn is_over(&self) -> bool {
        self.ended
    }

    /// Everything there will ever be is in the buffer.
    pub(super) fn is_finished(&self) -> bool {
        self.ended && self.upcoming().is_empty() && self.next.is_some() && self.base.is_some()
    }

    /// When a segment may be fetched: a retry's time, or as soon as the buffer has room. `None`: nothing to fetch.
    pub(super) fn segment_due(&self, now: Duration, goal: Duration) -> Option<Duration> {
        if self.is_held() || self.upcoming().is_empty() {
            return None;
        }
        let room = now + self.buffered.saturating_sub(goal);
        Some(self.segment.at.map_or(room, |retry| retry.max(room)))
    }

    /// The wait for a new segment that goes on at `now`.
    pub(super) fn gap_open(&self, now: Duration) -> Option<Duration> {
        let (_, at) = self.freshness.newest().filter(|_| !self.ended)?;
        Some(now.saturating_sub(at))
    }

    /// Waits longer than this are told one by one; any stream has shorter ones all the time.
    pub(super) fn notable_gap(&self) -> Duration {
        self.target * 2
    }

    /// Longest wait for a new segment, up to `now`.
    pub(super) fn gap_max(&self, now: Duration) -> Duration {
        self.freshness.longest().max(self.gap_open(now).unwrap_or_default())
    }

    /// Distance from the playhead to the live edge.
    pub(super) fn live_latency(&self, now: Duration) -> Duration {
        let (Some((newest, at)), Some(next)) = (self.freshness.newest(), self.next) else {
            return Duration::ZERO;
        };
        let missing = u32::try_from(newest.saturating_add(1).saturating_sub(next)).unwrap_or(u32::MAX);
        self.target.saturating_mul(missing) + self.buffered + now.saturating_sub(at)
    }
}

/// What a playlist brought to light.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Media that was skipped because it left the window.
    pub skipped: Duration,
    /// For how long nothing had been new, if something is.
    pub gap: Option<Duration>,
}

/// When a segment that is in the buffer is fetched once more, in another rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Unless there is a newer one.
    IfNewest,
    /// Even if there is.
    InAnyCase,
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

    fn playlist(first: u64, count: u64, gaps: &[u64]) -> Arc<MediaPlaylist> {
        let segments = (first..first + count)
            .map(|sequence| Segment {
                sequence,
                duration: s(2),
                uri: format!("seg_{sequence}.m4s").into(),
                map: None,
                gap: gaps.contains(&sequence),
            })
            .collect();
        Arc::new(MediaPlaylist {
            target: s(2),
            first,
            segments,
            ended: false,
        })
    }

    const SYNC: Sync = Sync {
        durations: 3,
        origin: None,
    };

    fn track() -> Track {
        Track::new(base(), s(0))
    }

    fn base() -> Arc<Url> {
        Arc::new(Url::parse("http://h/live/v/index.m3u8").unwrap())
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
    fn an_answer_that_took_longer_than_the_interval_is_followed_by_one_reload() {
        let mut track = track();
        track.on_playlist(playlist(10, 6, &[]), base(), s(1), s(9), SYNC);
        assert_eq!(track.playlist.at, Some(s(9)));
    }

    #[test]
    fn falling_out_of_the_window_jumps_to_the_live_edge() {
        let mut track = track();
        track.on_playlist(playlist(10, 6, &[]), base(), s(0), s(0), SYNC);
        let news = track.on_playlist(playlist(100, 6, &[]), base(), s(0), s(0), SYNC);
        assert_eq!((track.next, news.skipped), (Some(103), s(180)));
    }

    #[test]
    fn restarted_numbering_starts_over_at_the_edge() {
        let mut track = track();
        track.on_playlist(playlist(1000, 6, &[]), base(), s(0), s(0), SYNC);
        track.on_playlist(playlist(5, 6, &[]), base(), s(0), s(0), SYNC);
        assert_eq!(track.next, Some(8));
    }

    #[test]
    fn numbering_that_cannot_go_on_is_no_panic() {
        let mut track = track();
        let mut end = Arc::unwrap_or_clone(playlist(10, 1, &[]));
        (end.first, end.segments[0].sequence) = (u64::MAX, u64::MAX);
        let end = Arc::new(end);
        track.on_playlist(Arc::clone(&end), base(), s(0), s(0), SYNC);
        assert!(track.append(u64::MAX, s(2)));
        track.again = Some(Again::InAnyCase);
        track.on_playlist(Arc::clone(&end), base(), s(1), s(1), SYNC);
        track.again = Some(Again::IfNewest);
        track.on_playlist(end, base(), s(2), s(2), SYNC);
        assert!(track.live_latency(s(2)) >= s(2));
    }

    #[test]
    fn a_gap_is_told_when_it_ends() {
        let mut track = track();
        let mut at = |now, first| {
            track
                .on_playlist(playlist(first, 6, &[]), base(), s(now), s(now), SYNC)
                .gap
        };
        let told = [at(1, 10), at(3, 11), at(4, 11), at(12, 12)];
        assert_eq!(told, [None, Some(s(2)), None, Some(s(9))]);
        assert_eq!(track.gap_open(s(15)), Some(s(3)));
    }

    #[test]
    fn appends_only_in_order() {
        let mut track = track();
        track.on_playlist(playlist(10, 6, &[]), base(), s(0), s(0), SYNC);
        assert!(!track.append(14, s(2)));
        assert!(track.append(13, s(2)));
        assert!(!track.append(13, s(2)));
        assert_eq!(track.buffered(), s(2));
        assert!(matches!(track.next_segment(), Some((segment, Some(_))) if segment.sequence == 14));
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
