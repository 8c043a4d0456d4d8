//! Media playlists (RFC 8216), rendered from segment numbers alone: two origins that hold the same segments render the same
//! bytes, whichever encoder they came from.

use std::fmt::Write as _;

use crate::epoch::Timeline;

/// Renders the playlist of one rendition. `listed` are consecutive numbers with whether the segment is there.
///
/// A missing number is an `EXT-X-GAP` entry, not a discontinuity: timestamps run on across it, and leaving the entry out
/// would renumber everything after it. Its date stays right because `EXT-X-PROGRAM-DATE-TIME` stands at the first segment
/// and again after each gap.
pub fn render(timeline: Timeline, listed: &[(u64, bool)]) -> String {
    let first = listed.first().map_or(0, |(number, _)| *number);
    let seconds = timeline.length().as_secs();
    let mut text = String::with_capacity(256 + listed.len() * 40);
    let _ = write!(
        text,
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{seconds}\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init.mp4\"\n"
    );
    let mut dated = false;
    for &(number, there) in listed {
        if !there {
            text.push_str("#EXT-X-GAP\n");
        } else if !dated {
            let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", date(timeline, number));
        }
        dated = there;
        let _ = write!(text, "#EXTINF:{seconds}.000,\nseg_{number}.m4s\n");
    }
    text
}

fn date(timeline: Timeline, number: u64) -> String {
    let seconds = i64::try_from(timeline.start(number).as_secs()).unwrap_or(i64::MAX);
    let timestamp = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    format!("{timestamp:.3}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_as_it_should() {
        insta::assert_snapshot!(render(
            Timeline::new(2),
            &[
                (897_662_224, true),
                (897_662_225, true),
                (897_662_226, false),
                (897_662_227, true)
            ]
        ));
    }

    proptest! {
        #[test]
        fn a_parser_reads_back_what_was_listed(first in 1u64..2_000_000_000, there in prop::collection::vec(any::<bool>(), 1..80), length in 1u32..=10) {
            let listed: Vec<_> = there.iter().enumerate().map(|(i, &there)| (first + i as u64, there)).collect();
            let text = render(Timeline::new(length), &listed);
            let playlist = m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap();
            prop_assert_eq!(playlist.media_sequence, first);
            prop_assert_eq!(playlist.target_duration, u64::from(length));
            prop_assert!(!playlist.end_list && playlist.independent_segments);
            prop_assert_eq!(playlist.segments.len(), listed.len());
            for (segment, (number, there)) in playlist.segments.iter().zip(&listed) {
                prop_assert_eq!(&segment.uri, &format!("seg_{number}.m4s"));
                prop_assert_eq!(segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP"), !there);
                if let Some(date) = segment.program_date_time {
                    prop_assert_eq!(date.timestamp(), (number * u64::from(length)) as i64);
                }
            }
        }
    }
}
