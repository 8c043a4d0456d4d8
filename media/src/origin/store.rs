//! What one channel holds in memory. Pure: time is an argument, nothing is read or written elsewhere.
//!
//! Memory is bounded by construction: a rendition keeps the segments of two DVR windows (a segment that leaves the playlist
//! stays fetchable for as long as a playlist that lists it may be in use, RFC 8216 §6.2.2), each at most the configured
//! object size.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use showrunner_crds::config::OriginChannel;

use crate::{
    bmff::{self, BmffError, InitInfo},
    epoch::Timeline,
};

/// How far ahead of the clock a segment may begin, in segment lengths: encoders and origins have clocks of their own.
const AHEAD_SEGMENTS: u64 = 3;
/// The same in seconds, for short segments.
const AHEAD_LEAST: Duration = Duration::from_secs(10);

/// A stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its bytes.
    pub body: Bytes,
    /// Strong entity tag, quotes included.
    pub etag: String,
}

impl Object {
    /// Tags `body`.
    pub(super) fn new(body: Bytes) -> Self {
        let digest = Sha256::digest(&body);
        let etag = digest[..8]
            .iter()
            .fold(String::from("\""), |text, byte| format!("{text}{byte:02x}"))
            + "\"";
        Self { body, etag }
    }
}

/// What became of a PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// First valid copy: now served.
    Published,
    /// An earlier copy is served; this one was dropped.
    Duplicate,
    /// An initialisation segment took the place of a different one.
    Replaced,
}

/// Why a PUT was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Reject {
    /// No such rendition.
    #[error("no such rendition")]
    Rendition,
    /// The initialisation segment has to come first: without it a segment cannot be judged.
    #[error("send init.mp4 first")]
    NeedInit,
    /// Far from now.
    #[error("segment {number} is not within the window around now, {oldest} to {newest}")]
    Implausible {
        /// Number in the name.
        number: u64,
        /// Lowest accepted.
        oldest: u64,
        /// Highest accepted.
        newest: u64,
    },
    /// Not a segment, or not this one.
    #[error(transparent)]
    Malformed(#[from] BmffError),
}

/// The newest segment that every rendition has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Its number.
    pub number: u64,
    /// When its last rendition was published, since the epoch.
    pub published: Duration,
}

#[derive(Debug, Default)]
struct Rendition {
    init: Option<(Object, InitInfo)>,
    segments: BTreeMap<u64, (Object, Duration)>,
}

/// One channel.
#[derive(Debug)]
pub struct ChannelStore {
    timeline: Timeline,
    window: u64,
    renditions: BTreeMap<String, Rendition>,
    newest: Option<Newest>,
}

impl ChannelStore {
    /// An empty store for the renditions that the configuration names.
    pub fn new(config: &OriginChannel) -> Self {
        let seconds = u64::from(config.segment_seconds.max(1));
        let renditions = config
            .renditions
            .iter()
            .map(|name| (name.clone(), Rendition::default()))
            .collect();
        let window = (u64::from(config.dvr_seconds) / seconds).max(3);
        Self {
            timeline: Timeline::new(config.segment_seconds),
            window,
            renditions,
            newest: None,
        }
    }

    /// The numbering.
    pub fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Segments that a playlist lists.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// Stores an initialisation segment. A different one replaces the old: it belongs to an encoder with a newer ladder.
    pub fn put_init(&mut self, rendition: &str, body: Bytes) -> Result<Stored, Reject> {
        let rendition = self.renditions.get_mut(rendition).ok_or(Reject::Rendition)?;
        let info = bmff::inspect_init(&body)?;
        let stored = match &rendition.init {
            Some((object, _)) if object.body == body => return Ok(Stored::Duplicate),
            Some(_) => Stored::Replaced,
            None => Stored::Published,
        };
        rendition.init = Some((Object::new(body), info));
        Ok(stored)
    }

    /// Stores a segment if it is the first valid copy.
    pub fn put_segment(&mut self, rendition: &str, number: u64, body: Bytes, now: Duration) -> Result<Stored, Reject> {
        let timeline = self.timeline;
        let (oldest, newest) = self.plausible(now);
        let held = self.renditions.get_mut(rendition).ok_or(Reject::Rendition)?;
        let Some((_, init)) = &held.init else {
            return Err(Reject::NeedInit);
        };
        if number < oldest || number > newest {
            return Err(Reject::Implausible { number, oldest, newest });
        }
        let Entry::Vacant(place) = held.segments.entry(number) else {
            return Ok(Stored::Duplicate);
        };
        let info = bmff::inspect_segment(&body, *init)?;
        bmff::check_place(&info, *init, timeline, number)?;
        place.insert((Object::new(body), now));
        self.evict(rendition);
        self.note_newest(number, now);
        Ok(Stored::Published)
    }

    /// Forgets a segment; whether there was one.
    pub fn delete(&mut self, rendition: &str, number: u64) -> bool {
        self.renditions
            .get_mut(rendition)
            .is_some_and(|held| held.segments.remove(&number).is_some())
    }

    /// The initialisation segment.
    pub fn init(&self, rendition: &str) -> Option<Object> {
        self.renditions
            .get(rendition)?
            .init
            .as_ref()
            .map(|(object, _)| object.clone())
    }

    /// A segment.
    pub fn segment(&self, rendition: &str, number: u64) -> Option<Object> {
        self.renditions
            .get(rendition)?
            .segments
            .get(&number)
            .map(|(object, _)| object.clone())
    }

    /// Whether the rendition is configured.
    pub fn knows(&self, rendition: &str) -> bool {
        self.renditions.contains_key(rendition)
    }

    /// The newest segment that every rendition has.
    pub fn newest(&self) -> Option<Newest> {
        self.newest
    }

    /// The numbers that a rendition's playlist lists, each with whether it is there. Holes inside are listed as gaps so that
    /// a number means the same place in every region; nothing is listed before the oldest segment held.
    pub fn listed(&self, rendition: &str) -> Option<Vec<(u64, bool)>> {
        let held = self.renditions.get(rendition)?;
        let (&oldest, _) = held.segments.first_key_value()?;
        let (&last, _) = held.segments.last_key_value()?;
        let first = oldest.max((last + 1).saturating_sub(self.window));
        Some(
            (first..=last)
                .map(|number| (number, held.segments.contains_key(&number)))
                .collect(),
        )
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.renditions
            .values()
            .flat_map(|held| held.segments.values())
            .map(|(object, _)| object.body.len() as u64)
            .sum()
    }

    /// The lowest number that is kept: listings and counts may forget what is below.
    pub fn horizon(&self) -> u64 {
        self.renditions
            .values()
            .filter_map(|held| held.segments.first_key_value())
            .map(|(&number, _)| number)
            .min()
            .unwrap_or(0)
    }

    fn plausible(&self, now: Duration) -> (u64, u64) {
        let current = self.timeline.number_at(now);
        let ahead = (self.timeline.length() * AHEAD_SEGMENTS as u32).max(AHEAD_LEAST);
        (
            current.saturating_sub(self.window),
            self.timeline.number_at(now + ahead),
        )
    }

    fn evict(&mut self, rendition: &str) {
        let Some(held) = self.renditions.get_mut(rendition) else {
            return;
        };
        let Some((&last, _)) = held.segments.last_key_value() else {
            return;
        };
        let keep_from = (last + 1).saturating_sub(2 * self.window + 1);
        held.segments = held.segments.split_off(&keep_from);
    }

    fn note_newest(&mut self, number: u64, now: Duration) {
        let complete = self.renditions.values().all(|held| held.segments.contains_key(&number));
        if complete && self.newest.is_none_or(|newest| number > newest.number) {
            self.newest = Some(Newest { number, published: now });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::bmff::synth;

    const NOW: Duration = Duration::from_secs(1_000_000);

    fn store() -> ChannelStore {
        let config = OriginChannel {
            name: "one".into(),
            renditions: vec!["hi".into(), "audio".into()],
            segment_seconds: 2,
            dvr_seconds: 20,
        };
        let mut store = ChannelStore::new(&config);
        for rendition in ["hi", "audio"] {
            assert_eq!(store.put_init(rendition, synth::init()), Ok(Stored::Published));
        }
        store
    }

    fn put(store: &mut ChannelStore, rendition: &str, number: u64, payload: &[u8]) -> Result<Stored, Reject> {
        store.put_segment(rendition, number, synth::segment(number * 2, 2, payload), NOW)
    }

    #[test]
    fn the_first_valid_copy_wins() {
        let mut store = store();
        let broken = synth::segment(1_000_000, 2, b"first").slice(..60);
        assert!(matches!(
            store.put_segment("hi", 500_000, broken, NOW),
            Err(Reject::Malformed(_))
        ));
        assert_eq!(put(&mut store, "hi", 500_000, b"first"), Ok(Stored::Published));
        assert_eq!(put(&mut store, "hi", 500_000, b"later"), Ok(Stored::Duplicate));
        assert!(store.segment("hi", 500_000).unwrap().body.ends_with(b"first"));
    }

    #[test]
    fn a_segment_needs_its_init_and_a_plausible_number() {
        let mut store = store();
        assert!(matches!(
            put(&mut store, "hi", 499_989, b"old"),
            Err(Reject::Implausible { .. })
        ));
        assert!(matches!(
            put(&mut store, "hi", 500_006, b"new"),
            Err(Reject::Implausible { .. })
        ));
        assert_eq!(put(&mut store, "lo", 500_000, b"x"), Err(Reject::Rendition));
        store.renditions.get_mut("hi").unwrap().init = None;
        assert_eq!(put(&mut store, "hi", 500_000, b"x"), Err(Reject::NeedInit));
    }

    #[test]
    fn a_segment_in_the_wrong_place_or_cut_short_is_refused() {
        let mut store = store();
        let elsewhere = store.put_segment("hi", 500_000, synth::segment(1_000_002, 2, b"x"), NOW);
        assert!(matches!(elsewhere, Err(Reject::Malformed(BmffError::Misplaced { .. }))));
        let short = store.put_segment("hi", 500_000, synth::segment(1_000_000, 1, b"x"), NOW);
        assert!(matches!(short, Err(Reject::Malformed(BmffError::WrongDuration { .. }))));
    }

    #[test]
    fn complete_means_every_rendition() {
        let mut store = store();
        put(&mut store, "hi", 500_000, b"x").unwrap();
        assert_eq!(store.newest(), None);
        put(&mut store, "audio", 500_000, b"x").unwrap();
        assert_eq!(
            store.newest(),
            Some(Newest {
                number: 500_000,
                published: NOW
            })
        );
        put(&mut store, "hi", 500_001, b"x").unwrap();
        assert_eq!(store.newest().unwrap().number, 500_000);
    }

    #[test]
    fn holes_are_gaps_and_old_segments_go_after_two_windows() {
        let mut store = store();
        for number in (500_000..500_030).filter(|number| *number != 500_025) {
            let now = Duration::from_secs(number * 2);
            store
                .put_segment("hi", number, synth::segment(number * 2, 2, b"x"), now)
                .unwrap();
        }
        let listed = store.listed("hi").unwrap();
        assert_eq!(listed.len(), 10);
        assert_eq!(listed.first(), Some(&(500_020, true)));
        assert!(listed.contains(&(500_025, false)));
        assert_eq!(store.horizon(), 500_009);
    }
}
