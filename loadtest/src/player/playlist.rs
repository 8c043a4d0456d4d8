//! Playlists, reduced to what a player acts on. `m3u8-rs` reads the syntax; what it gives is checked here, as it comes from
//! the network.

use std::sync::Arc;
use std::time::Duration;

use m3u8_rs::{AlternativeMediaType, ExtTag, QuotedOrUnquoted};
use url::Url;

/// Largest playlist accepted, in bytes.
pub(super) const MAX_PLAYLIST: usize = 256 * 1024;
/// Longest segment believed.
const MAX_SEGMENT: Duration = Duration::from_mins(2);
/// Pathway of variants that name none (the value the specification gives).
const DEFAULT_PATHWAY: &str = ".";

/// Why a playlist cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaylistError {
    /// Not a playlist of the expected kind.
    #[error("not a playlist: {0}")]
    Syntax(&'static str),
    /// It lists nothing to play.
    #[error("the playlist is empty")]
    Empty,
    /// A reference that is not a URL.
    #[error("invalid URI `{0}`")]
    Uri(String),
}

/// A multivariant playlist.
#[derive(Clone, Debug, PartialEq)]
pub struct Multivariant {
    /// Pathways, in order of appearance.
    pub pathways: Vec<Pathway>,
    /// Steering server and the pathway to start on.
    pub steering: Option<SteeringTag>,
}

/// `EXT-X-CONTENT-STEERING`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SteeringTag {
    /// Where to poll.
    pub server: Arc<Url>,
    /// Where to start.
    pub pathway: Option<String>,
}

/// The variants of one pathway.
#[derive(Clone, Debug, PartialEq)]
pub struct Pathway {
    /// `PATHWAY-ID`.
    pub id: Arc<str>,
    /// Sorted by bandwidth.
    pub rungs: Vec<Rung>,
    /// Bandwidth of the one that is listed first: what the publisher takes players to be good for.
    pub first_listed: u64,
}

/// One variant with its audio.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// Peak bit/s.
    pub bandwidth: u64,
    /// Average bit/s.
    pub average: Option<u64>,
    /// Video media playlist.
    pub video: Arc<Url>,
    /// Audio media playlist, where audio is separate.
    pub audio: Option<Arc<Url>>,
}

impl Rung {
    #[cfg(test)]
    #[allow(clippy::expect_used)]
    pub(super) fn for_test(bandwidth: u64) -> Self {
        Self {
            bandwidth,
            average: None,
            video: Arc::new(Url::parse("http://h/v.m3u8").expect("valid")),
            audio: None,
        }
    }
}

impl Multivariant {
    /// Reads a multivariant playlist found at `base`.
    pub fn parse(bytes: &[u8], base: &Url) -> Result<Self, PlaylistError> {
        // The parser behind takes for granted that tags are UTF-8.
        std::str::from_utf8(bytes).map_err(|_| PlaylistError::Syntax("not UTF-8"))?;
        let parsed = m3u8_rs::parse_master_playlist_res(bytes)
            .map_err(|_| PlaylistError::Syntax("not a multivariant playlist"))?;
        let mut pathways: Vec<Pathway> = Vec::new();
        for variant in parsed.variants.iter().filter(|variant| !variant.is_i_frame) {
            let id = variant
                .other_attributes
                .as_ref()
                .and_then(|all| all.get("PATHWAY-ID"))
                .map_or(DEFAULT_PATHWAY, text);
            let audio = variant.audio.as_deref().and_then(|group| {
                parsed
                    .alternatives
                    .iter()
                    .filter(|media| media.media_type == AlternativeMediaType::Audio && media.group_id == group)
                    .max_by_key(|media| (media.default, media.autoselect))
                    .and_then(|media| media.uri.as_deref())
            });
            let rung = Rung {
                bandwidth: variant.bandwidth,
                average: variant.average_bandwidth,
                video: join(base, &variant.uri)?,
                audio: audio.map(|uri| join(base, uri)).transpose()?,
            };
            match pathways.iter_mut().find(|pathway| *pathway.id == *id) {
                Some(pathway) => pathway.rungs.push(rung),
                None => pathways.push(Pathway {
                    id: id.into(),
                    first_listed: rung.bandwidth,
                    rungs: vec![rung],
                }),
            }
        }
        for pathway in &mut pathways {
            pathway.rungs.sort_by_key(|rung| rung.bandwidth);
        }
        if pathways.is_empty() {
            return Err(PlaylistError::Empty);
        }
        let steering = parsed
            .unknown_tags
            .iter()
            .find(|tag| tag.tag == "X-CONTENT-STEERING")
            .and_then(|tag| tag.rest.as_deref())
            .map(|attributes| SteeringTag::parse(attributes, base))
            .transpose()?
            .flatten();
        Ok(Self { pathways, steering })
    }
}

impl SteeringTag {
    fn parse(attributes: &str, base: &Url) -> Result<Option<Self>, PlaylistError> {
        let Some(server) = attribute(attributes, "SERVER-URI") else {
            return Ok(None);
        };
        Ok(Some(Self {
            server: join(base, server)?,
            pathway: attribute(attributes, "PATHWAY-ID").map(str::to_owned),
        }))
    }
}

/// The value of a quoted attribute in an attribute list.
fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = list;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after
                .split_once(',')
                .map_or((after, ""), |(value, _)| (value, &after[value.len()..])),
        };
        if key.trim() == name {
            return Some(value);
        }
        rest = next.trim_start_matches(',');
    }
}

fn text(value: &QuotedOrUnquoted) -> &str {
    match value {
        QuotedOrUnquoted::Quoted(text) | QuotedOrUnquoted::Unquoted(text) => text,
    }
}

fn join(base: &Url, reference: &str) -> Result<Arc<Url>, PlaylistError> {
    base.join(reference)
        .map(Arc::new)
        .map_err(|_| PlaylistError::Uri(reference.chars().take(200).collect()))
}

/// A media playlist: a window of segments.
#[derive(Clone, Debug, PartialEq)]
pub struct MediaPlaylist {
    /// Target duration.
    pub target: Duration,
    /// Sequence number of the first segment.
    pub first: u64,
    /// Segments, in order.
    pub segments: Vec<Segment>,
    /// No more will come.
    pub ended: bool,
}

/// One segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Media sequence number.
    pub sequence: u64,
    /// How much it plays.
    pub duration: Duration,
    /// As written in the playlist, often relative.
    pub uri: Box<str>,
    /// Its initialisation section, as written.
    pub map: Option<Arc<str>>,
    /// Marked as missing (`EXT-X-GAP`).
    pub gap: bool,
}

impl MediaPlaylist {
    /// Reads a media playlist.
    pub fn parse(bytes: &[u8]) -> Result<Self, PlaylistError> {
        let source = std::str::from_utf8(bytes).map_err(|_| PlaylistError::Syntax("not UTF-8"))?;
        let parsed =
            m3u8_rs::parse_media_playlist_res(bytes).map_err(|_| PlaylistError::Syntax("not a media playlist"))?;
        if !source.contains("#EXT-X-TARGETDURATION") {
            return Err(PlaylistError::Syntax("no EXT-X-TARGETDURATION"));
        }
        let mut map: Option<Arc<str>> = None;
        let mut segments = Vec::with_capacity(parsed.segments.len());
        for (index, segment) in parsed.segments.into_iter().enumerate() {
            if let Some(new) = segment
                .map
                .as_ref()
                .filter(|new| map.as_deref() != Some(new.uri.as_str()))
            {
                map = Some(new.uri.as_str().into());
            }
            let duration = Duration::try_from_secs_f64(f64::from(segment.duration))
                .ok()
                // The parser leaves 0 where it could not read the number.
                .filter(|duration| !duration.is_zero() && *duration <= MAX_SEGMENT)
                .ok_or(PlaylistError::Syntax("EXTINF out of range"))?;
            // The parser takes what is left of a line for one: a comment without an end of line, or what follows a second
            // comma. A line that begins with # is none (RFC 8216, section 4.1), and none has control characters (RFC 3986).
            let uri = &segment.uri;
            if uri.is_empty() || uri.starts_with(['#', ',']) || uri.contains(char::is_control) {
                return Err(PlaylistError::Syntax("EXTINF without a URI"));
            }
            segments.push(Segment {
                sequence: parsed.media_sequence.saturating_add(index as u64),
                duration,
                gap: segment.unknown_tags.iter().any(is_gap),
                uri: segment.uri.into(),
                map: map.clone(),
            });
        }
        Ok(Self {
            target: Duration::from_secs(parsed.target_duration.clamp(1, MAX_SEGMENT.as_secs())),
            first: parsed.media_sequence,
            segments,
            ended: parsed.end_list,
        })
    }

    /// Sequence number of the newest segment.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.segments.last().map(|segment| segment.sequence)
    }

    /// Where to start: the first segment that begins no more than `distance` before the live edge. From the beginning if no
    /// more will come.
    #[must_use]
    pub fn live_start(&self, distance: Duration) -> Option<u64> {
        if self.ended {
            return self.segments.first().map(|segment| segment.sequence);
        }
        let mut ahead = Duration::ZERO;
        let mut start = self.last()?;
        for segment in self.segments.iter().rev() {
            ahead += segment.duration;
            // Durations are rounded in playlists; a hundredth too much is still three segments.
            if ahead > distance.mul_f64(1.01) {
                break;
            }
            start = segment.sequence;
        }
        Some(start)
    }
}

fn is_gap(tag: &ExtTag) -> bool {
    tag.tag == "X-GAP"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    const MULTIVARIANT: &str = r#"#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-CONTENT-STEERING:SERVER-URI="/steer/one?x=1,2",PATHWAY-ID="west"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aud-east",NAME="main",DEFAULT=YES,AUTOSELECT=YES,URI="http://east:8080/live/one/audio/index.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aud-west",NAME="main",DEFAULT=YES,AUTOSELECT=YES,URI="http://west:8080/live/one/audio/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=900000,AVERAGE-BANDWIDTH=800000,CODECS="avc1.4d401f,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=25.000,AUDIO="aud-east",PATHWAY-ID="east"
http://east:8080/live/one/360p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=300000,CODECS="avc1.4d401f,mp4a.40.2",RESOLUTION=256x144,AUDIO="aud-east",PATHWAY-ID="east"
http://east:8080/live/one/144p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS="avc1.4d401f,mp4a.40.2",RESOLUTION=640x360,AUDIO="aud-west",PATHWAY-ID="west"
http://west:8080/live/one/360p/index.m3u8
"#;

    const MEDIA: &str = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:100\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z\n#EXTINF:2.000,\nseg_100.m4s\n#EXTINF:2.000,\nseg_101.m4s\n#EXT-X-GAP\n#EXTINF:2.000,\nseg_102.m4s\n#EXTINF:2.000,\nseg_103.m4s\n#EXTINF:2.000,\nseg_104.m4s\n";

    #[test]
    fn pathways_audio_and_steering() {
        let base = Url::parse("http://steer:8080/play/one/multivariant.m3u8").unwrap();
        let playlist = Multivariant::parse(MULTIVARIANT.as_bytes(), &base).unwrap();
        let ids: Vec<&str> = playlist.pathways.iter().map(|pathway| &*pathway.id).collect();
        assert_eq!(ids, ["east", "west"]);
        let east = &playlist.pathways[0].rungs;
        assert_eq!((east[0].bandwidth, east[1].bandwidth), (300_000, 900_000));
        assert_eq!(
            east[1].audio.as_ref().unwrap().as_str(),
            "http://east:8080/live/one/audio/index.m3u8"
        );
        let steering = playlist.steering.unwrap();
        assert_eq!(steering.server.as_str(), "http://steer:8080/steer/one?x=1,2");
        assert_eq!(steering.pathway.as_deref(), Some("west"));
    }

    #[test]
    fn a_comment_is_no_uri() {
        let media = |lines: &str| format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{lines}");
        let refused = Err(PlaylistError::Syntax("EXTINF without a URI"));
        assert_eq!(MediaPlaylist::parse(media("#cut sh").as_bytes()), refused);
        assert_eq!(MediaPlaylist::parse(media("seg\u{18}_1.m4s\n").as_bytes()), refused);
        let found = include_str!("../../fuzz/seeds/playlist/comma-before-uri").replace('\u{18}', "");
        assert_eq!(MediaPlaylist::parse(found.as_bytes()), refused);
        assert!(MediaPlaylist::parse(media("#whole\nseg_1.m4s\n").as_bytes()).is_ok());
    }

    #[test]
    fn media_window_gaps_and_start() {
        let playlist = MediaPlaylist::parse(MEDIA.as_bytes()).unwrap();
        assert_eq!(
            (playlist.first, playlist.last(), playlist.segments.len()),
            (100, Some(104), 5)
        );
        assert_eq!(playlist.target, Duration::from_secs(2));
        let gaps: Vec<bool> = playlist.segments.iter().map(|segment| segment.gap).collect();
        assert_eq!(gaps, [false, false, true, false, false]);
        assert_eq!(playlist.segments[4].map.as_deref(), Some("init.mp4"));
        assert_eq!(playlist.live_start(Duration::from_secs(6)), Some(102));
        assert_eq!(playlist.live_start(Duration::from_mins(10)), Some(100));
        assert_eq!(playlist.live_start(Duration::ZERO), Some(104));
    }

    #[test]
    fn refuses_what_is_not_playable() {
        let base = Url::parse("http://h/").unwrap();
        assert!(Multivariant::parse(b"#EXTM3U\n", &base).is_err());
        assert!(Multivariant::parse(b"<html>", &base).is_err());
        assert!(MediaPlaylist::parse(b"<html>").is_err());
        assert!(MediaPlaylist::parse(b"#EXTM3U\n").is_err());
        assert!(MediaPlaylist::parse(b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:-2,\na\n").is_err());
        assert!(MediaPlaylist::parse(b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1000000000000,\na\n").is_err());
    }

    proptest! {
        #[test]
        fn mutated_playlists_never_panic(position in 0usize..900, byte: u8, cut in 0usize..1200, media: bool) {
            let mut bytes = if media { MEDIA } else { MULTIVARIANT }.as_bytes().to_vec();
            let position = position % bytes.len();
            bytes[position] = byte;
            bytes.truncate(cut.max(1));
            let base = Url::parse("http://h/").unwrap();
            let _ = Multivariant::parse(&bytes, &base);
            let _ = MediaPlaylist::parse(&bytes);
        }

        #[test]
        fn garbage_never_panics(text in "(#EXTM3U\n)?(#EXT[-A-Z:=\",0-9.]{0,30}\n|[ -~]{0,20}\n|\\PC{0,10}\n){0,12}") {
            let base = Url::parse("http://h/").unwrap();
            let _ = Multivariant::parse(text.as_bytes(), &base);
            let _ = MediaPlaylist::parse(text.as_bytes());
        }
    }
}
