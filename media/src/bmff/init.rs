//! Initialisation segments: `ftyp` and `moov` with exactly one track.

use super::{
    BmffError,
    boxes::{be32, child, split},
};

/// What later segments are read with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitInfo {
    /// Ticks per second of the track, never 0.
    pub timescale: u32,
    /// Duration of a sample that states none, in ticks.
    pub default_duration: u32,
}

/// Validates an initialisation segment.
pub fn inspect_init(bytes: &[u8]) -> Result<InitInfo, BmffError> {
    child(bytes, "ftyp")?;
    let moov = child(bytes, "moov")?;
    let tracks = split(moov)?
        .iter()
        .filter(|candidate| &candidate.kind == b"trak")
        .count();
    if tracks != 1 {
        return Err(BmffError::Malformed("moov"));
    }
    let mdhd = child(child(child(moov, "trak")?, "mdia")?, "mdhd")?;
    // Version 1 has 64-bit creation and modification times before the timescale.
    let at = if mdhd.first() == Some(&1) { 20 } else { 12 };
    let timescale = be32(mdhd, at)
        .filter(|&ticks| ticks > 0)
        .ok_or(BmffError::Malformed("mdhd"))?;
    let trex = child(child(moov, "mvex")?, "trex")?;
    let default_duration = be32(trex, 12).ok_or(BmffError::Malformed("trex"))?;
    Ok(InitInfo {
        timescale,
        default_duration,
    })
}
