//! Just enough of the ISO base media file format (ISO/IEC 14496-12) to tell a whole segment from a broken one, and to read
//! the time that it claims.

mod boxes;
mod init;
mod segment;
#[cfg(test)]
pub(crate) mod synth;
#[cfg(test)]
mod tests;

pub use init::{InitInfo, inspect_init};
pub use segment::{SegmentInfo, inspect_segment};

use crate::epoch::Timeline;

/// Why bytes are not what they should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BmffError {
    /// A box is shorter than its header, or longer than what holds it.
    #[error("box at byte {0} does not fit")]
    BadBox(usize),
    /// A box that must be there is not.
    #[error("no `{0}` box")]
    Missing(&'static str),
    /// A box that must not be there is.
    #[error("unexpected `{0}` box")]
    Unexpected(String),
    /// A field is cut off or makes no sense.
    #[error("malformed `{0}` box")]
    Malformed(&'static str),
    /// The segment's time is not the one that its number says.
    #[error("segment {number} decodes at {found_ms} ms, {drift_ms} ms off its place")]
    Misplaced {
        /// Number in the name.
        number: u64,
        /// Decode time of its first sample, in milliseconds since the epoch.
        found_ms: u64,
        /// Distance from where it belongs, in milliseconds.
        drift_ms: i64,
    },
    /// The segment is longer or shorter than it has to be: ffmpeg writes such a one when it is stopped.
    #[error("segment lasts {found_ms} ms instead of {wanted_ms} ms")]
    WrongDuration {
        /// Sum of its sample durations in milliseconds.
        found_ms: u64,
        /// Segment length in milliseconds.
        wanted_ms: u64,
    },
}

/// Checks that `segment` stands where `number` says and lasts one segment length. Audio frames do not divide a segment, so
/// either may be off by a twentieth of the length, at least 50 ms.
pub fn check_place(segment: &SegmentInfo, init: InitInfo, timeline: Timeline, number: u64) -> Result<(), BmffError> {
    let to_ms = |ticks: u64| (u128::from(ticks) * 1000 / u128::from(init.timescale)).min(u128::from(u64::MAX)) as u64;
    let wanted_ms = timeline.length().as_millis() as u64;
    let slack = (wanted_ms / 20).max(50);
    let found_ms = to_ms(segment.decode_time);
    let place = timeline.start(number).as_millis() as u64;
    if found_ms.abs_diff(place) > slack {
        let drift_ms = i128::from(found_ms) - i128::from(place);
        return Err(BmffError::Misplaced {
            number,
            found_ms,
            drift_ms: drift_ms as i64,
        });
    }
    let duration = to_ms(segment.duration);
    if duration.abs_diff(wanted_ms) > slack {
        return Err(BmffError::WrongDuration {
            found_ms: duration,
            wanted_ms,
        });
    }
    Ok(())
}
