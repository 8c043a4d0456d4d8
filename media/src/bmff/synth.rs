//! Segments made by hand, for tests.

use bytes::Bytes;

/// Ticks per second of every synthetic track.
pub(crate) const TIMESCALE: u32 = 12_800;

pub(crate) fn boxed(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32 + 8).to_be_bytes().to_vec();
    out.extend_from_slice(&kind);
    out.extend_from_slice(body);
    out
}

/// A minimal initialisation segment with one track.
pub(crate) fn init() -> Bytes {
    let mut mdhd = vec![0; 24];
    mdhd[12..16].copy_from_slice(&TIMESCALE.to_be_bytes());
    let trak = boxed(*b"trak", &boxed(*b"mdia", &boxed(*b"mdhd", &mdhd)));
    let mvex = boxed(*b"mvex", &boxed(*b"trex", &[0; 24]));
    let mut out = boxed(*b"ftyp", b"iso5\0\0\0\0");
    out.extend(boxed(*b"moov", &[trak, mvex].concat()));
    out.into()
}

/// A segment that starts at `start` seconds, lasts `seconds`, one sample of `payload`.
pub(crate) fn segment(start: u64, seconds: u32, payload: &[u8]) -> Bytes {
    let tfhd = [
        &0x18u32.to_be_bytes()[..],
        &1u32.to_be_bytes(),
        &(seconds * TIMESCALE).to_be_bytes(),
        &(payload.len() as u32).to_be_bytes(),
    ]
    .concat();
    let tfdt = [&[1, 0, 0, 0][..], &(start * u64::from(TIMESCALE)).to_be_bytes()].concat();
    let trun = [&0u32.to_be_bytes()[..], &1u32.to_be_bytes()].concat();
    let traf = [boxed(*b"tfhd", &tfhd), boxed(*b"tfdt", &tfdt), boxed(*b"trun", &trun)].concat();
    let moof = [boxed(*b"mfhd", &[0; 8]), boxed(*b"traf", &traf)].concat();
    [
        boxed(*b"styp", b"msdh\0\0\0\0"),
        boxed(*b"moof", &moof),
        boxed(*b"mdat", payload),
    ]
    .concat()
    .into()
}
