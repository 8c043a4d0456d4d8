//! When an origin is ready: its streams move.

use std::time::Duration;

use super::store::Newest;
use crate::epoch::Timeline;

/// A channel that has stood still for this many segment lengths is an outage of the channel, not of this origin. It stops
/// counting while another channel moves, or one dead input would take every other channel of the platform down with it.
const OUTAGE_SEGMENTS: u32 = 10;
/// How much later than its end a segment may be published, in segment lengths, beyond the allowed age. An origin that is
/// being filled with the past is not fresh yet.
const LATE_SEGMENTS: u32 = 2;

/// One channel as freshness sees it.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// The numbering.
    pub timeline: Timeline,
    /// The newest complete segment.
    pub newest: Option<Newest>,
}

/// Whether the streams are fresh at `now`; `max_age_percent` is the allowed age of the newest complete segment since its
/// publication, in percent of its length, and `started` when this origin began to listen.
pub fn is_fresh(streams: &[Stream], max_age_percent: u32, started: Duration, now: Duration) -> bool {
    let fresh = |stream: &Stream| is_stream_fresh(stream, max_age_percent, now);
    let given_up = |stream: &Stream| {
        let since = stream.newest.map_or(started, |newest| newest.published);
        now.saturating_sub(since) > stream.timeline.length() * OUTAGE_SEGMENTS
    };
    streams.iter().any(fresh) && streams.iter().all(|stream| fresh(stream) || given_up(stream))
}

/// Whether one stream is fresh.
pub fn is_stream_fresh(stream: &Stream, max_age_percent: u32, now: Duration) -> bool {
    let allowed = stream.timeline.length() * max_age_percent / 100;
    stream.newest.is_some_and(|newest| {
        let age = now.saturating_sub(newest.published);
        let late = now.saturating_sub(stream.timeline.end(newest.number));
        age <= allowed && late <= allowed + stream.timeline.length() * LATE_SEGMENTS
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    fn stream(number: u64, published: f64) -> Stream {
        let newest = Newest {
            number,
            published: Duration::from_secs_f64(published),
        };
        Stream {
            timeline: Timeline::new(2),
            newest: Some(newest),
        }
    }

    fn fresh(streams: &[Stream], now: f64) -> bool {
        is_fresh(streams, 175, START, Duration::from_secs_f64(now))
    }

    #[test]
    fn frozen_after_one_and_three_quarters_of_a_segment() {
        let moving = stream(500, 1002.2);
        assert!(fresh(&[moving], 1002.2));
        assert!(fresh(&[moving], 1005.6));
        assert!(!fresh(&[moving], 1005.8));
    }

    #[test]
    fn the_past_is_not_fresh() {
        assert!(!fresh(&[stream(480, 1002.2)], 1002.3));
        assert!(!fresh(
            &[Stream {
                timeline: Timeline::new(2),
                newest: None
            }],
            1000.1
        ));
    }

    #[test]
    fn a_dead_channel_counts_only_until_it_is_an_outage() {
        let (dead, moving) = (stream(500, 1002.2), stream(505, 1012.2));
        assert!(!fresh(&[dead, moving], 1012.3));
        assert!(fresh(&[dead, stream(511, 1024.1)], 1024.2));
        assert!(!fresh(&[dead], 1024.2));
    }
}
