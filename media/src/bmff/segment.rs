//! Media segments: optional `styp`, `sidx`, `prft`, `emsg`, then pairs of `moof` and `mdat`, and nothing else.

use super::{
    BmffError, InitInfo,
    boxes::{be32, be64, child, split},
};

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Decode time of the first sample, in ticks of the track.
    pub decode_time: u64,
    /// Sum of the sample durations, in ticks.
    pub duration: u64,
    /// Number of samples, at least 1.
    pub samples: u64,
}

/// Validates a whole segment: every box fits, the boxes cover the bytes exactly, and each `moof` is followed by the `mdat`
/// that holds its samples.
pub fn inspect_segment(bytes: &[u8], init: InitInfo) -> Result<SegmentInfo, BmffError> {
    let mut info: Option<SegmentInfo> = None;
    let mut announced: Option<u64> = None;
    for part in split(bytes)? {
        match &part.kind {
            b"styp" | b"sidx" | b"prft" | b"emsg" | b"free" if announced.is_none() => {}
            b"moof" if announced.is_none() => {
                let fragment = inspect_moof(part.body, init)?;
                announced = Some(fragment.bytes);
                info = Some(match info {
                    None => SegmentInfo {
                        decode_time: fragment.decode_time,
                        duration: fragment.duration,
                        samples: fragment.samples,
                    },
                    Some(sum) => SegmentInfo {
                        decode_time: sum.decode_time,
                        duration: sum.duration.saturating_add(fragment.duration),
                        samples: sum.samples.saturating_add(fragment.samples),
                    },
                });
            }
            b"mdat" => match announced.take() {
                Some(bytes) if bytes <= part.body.len() as u64 => {}
                Some(_) => return Err(BmffError::Malformed("mdat")),
                None => return Err(BmffError::Unexpected("mdat".into())),
            },
            other => return Err(BmffError::Unexpected(String::from_utf8_lossy(other).into_owned())),
        }
    }
    match (info, announced) {
        (Some(info), None) if info.samples > 0 => Ok(info),
        (Some(_), Some(_)) => Err(BmffError::Missing("mdat")),
        (Some(_), None) => Err(BmffError::Malformed("trun")),
        (None, _) => Err(BmffError::Missing("moof")),
    }
}

struct Fragment {
    decode_time: u64,
    duration: u64,
    samples: u64,
    bytes: u64,
}

fn inspect_moof(moof: &[u8], init: InitInfo) -> Result<Fragment, BmffError> {
    child(moof, "mfhd")?;
    let traf = child(moof, "traf")?;
    let defaults = TrackDefaults::read(child(traf, "tfhd")?, init)?;
    let tfdt = child(traf, "tfdt")?;
    let decode_time = if tfdt.first() == Some(&1) {
        be64(tfdt, 4)
    } else {
        be32(tfdt, 4).map(u64::from)
    };
    let mut fragment = Fragment {
        decode_time: decode_time.ok_or(BmffError::Malformed("tfdt"))?,
        duration: 0,
        samples: 0,
        bytes: 0,
    };
    for run in split(traf)?.iter().filter(|candidate| &candidate.kind == b"trun") {
        add_run(&mut fragment, run.body, &defaults).ok_or(BmffError::Malformed("trun"))?;
    }
    Ok(fragment)
}

struct TrackDefaults {
    duration: u32,
    size: u32,
}

impl TrackDefaults {
    fn read(tfhd: &[u8], init: InitInfo) -> Result<Self, BmffError> {
        let malformed = BmffError::Malformed("tfhd");
        let Some(flags) = be32(tfhd, 0) else {
            return Err(malformed);
        };
        let mut at = 8;
        let mut field = |flag: u32, width: usize| {
            let here = (flags & flag != 0).then_some(at);
            at += here.map_or(0, |_| width);
            here
        };
        field(0x1, 8);
        field(0x2, 4);
        let (duration, size) = (field(0x8, 4), field(0x10, 4));
        let read = |at: Option<usize>, otherwise: u32| at.map_or(Some(otherwise), |at| be32(tfhd, at));
        match (read(duration, init.default_duration), read(size, 0)) {
            (Some(duration), Some(size)) => Ok(Self { duration, size }),
            _ => Err(malformed),
        }
    }
}

fn add_run(fragment: &mut Fragment, trun: &[u8], defaults: &TrackDefaults) -> Option<()> {
    let flags = be32(trun, 0)?;
    let count = be32(trun, 4)?;
    let mut at: usize = 8;
    at += if flags & 0x1 != 0 { 4 } else { 0 };
    at += if flags & 0x4 != 0 { 4 } else { 0 };
    let present = [0x100, 0x200, 0x400, 0x800].map(|flag| flags & flag != 0);
    let stride = 4 * present.iter().filter(|&&there| there).count();
    // The table must be there in full before anything is counted from it.
    trun.get(..at.checked_add(stride.checked_mul(count as usize)?)?)?;
    fragment.samples = fragment.samples.saturating_add(u64::from(count));
    if stride == 0 {
        fragment.duration = fragment
            .duration
            .saturating_add(u64::from(defaults.duration) * u64::from(count));
        fragment.bytes = fragment
            .bytes
            .saturating_add(u64::from(defaults.size) * u64::from(count));
        return Some(());
    }
    for _ in 0..count {
        let duration = if present[0] { be32(trun, at)? } else { defaults.duration };
        let size = if present[1] {
            be32(trun, at + if present[0] { 4 } else { 0 })?
        } else {
            defaults.size
        };
        fragment.duration = fragment.duration.saturating_add(u64::from(duration));
        fragment.bytes = fragment.bytes.saturating_add(u64::from(size));
        at += stride;
    }
    Some(())
}
