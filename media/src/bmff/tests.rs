#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn info() -> InitInfo {
    inspect_init(&synth::init()).unwrap()
}

#[test]
fn a_whole_segment_says_its_time() {
    let segment = inspect_segment(&synth::segment(1000, 2, b"picture"), info()).unwrap();
    let ticks = u64::from(synth::TIMESCALE);
    assert_eq!(
        segment,
        SegmentInfo {
            decode_time: 1000 * ticks,
            duration: 2 * ticks,
            samples: 1
        }
    );
    assert_eq!(check_place(&segment, info(), Timeline::new(2), 500), Ok(()));
}

#[test]
fn every_cut_is_refused() {
    let whole = synth::segment(1000, 2, b"picture");
    for length in 0..whole.len() {
        // The one cut that leaves whole boxes leaves no picture.
        assert!(
            inspect_segment(&whole.slice(..length), info()).is_err(),
            "cut at {length}"
        );
    }
    let init = synth::init();
    for length in 0..init.len() {
        assert!(inspect_init(&init.slice(..length)).is_err(), "cut at {length}");
    }
}

#[test]
fn samples_must_be_in_the_segment() {
    let mut lying = synth::segment(1000, 2, b"picture").to_vec();
    lying.truncate(lying.len() - 15);
    lying.extend(synth::boxed(*b"mdat", b"short"));
    assert_eq!(inspect_segment(&lying, info()), Err(BmffError::Malformed("mdat")));
}

#[test]
fn strangers_are_refused() {
    let with = |extra: &[u8; 4]| [synth::segment(1000, 2, b"x").to_vec(), synth::boxed(*extra, b"")].concat();
    assert_eq!(
        inspect_segment(&with(b"moov"), info()),
        Err(BmffError::Unexpected("moov".into()))
    );
    assert_eq!(
        inspect_segment(&with(b"mdat"), info()),
        Err(BmffError::Unexpected("mdat".into()))
    );
    assert!(inspect_segment(&with(b"free"), info()).is_ok());
    assert_eq!(
        inspect_segment(b"<html>not found</html>", info()),
        Err(BmffError::BadBox(0))
    );
}

#[test]
fn a_slip_of_one_segment_shows() {
    let segment = inspect_segment(&synth::segment(1002, 2, b"x"), info()).unwrap();
    let slipped = check_place(&segment, info(), Timeline::new(2), 500);
    assert_eq!(
        slipped,
        Err(BmffError::Misplaced {
            number: 500,
            found_ms: 1_002_000,
            drift_ms: 2000
        })
    );
    assert_eq!(Timeline::new(2).start(500), Duration::from_secs(1000));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = inspect_init(&bytes);
        let _ = inspect_segment(&bytes, InitInfo { timescale: 1, default_duration: 1 });
    }

    #[test]
    fn one_flipped_byte_never_panics(at in 0usize..200, to in any::<u8>()) {
        let mut bytes = synth::segment(1000, 2, b"picture").to_vec();
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(segment) = inspect_segment(&bytes, info()) {
            let _ = check_place(&segment, info(), Timeline::new(2), 500);
        }
    }

    #[test]
    fn any_payload_at_any_time_is_read_back(start in 0u64..4_000_000_000, seconds in 1u32..20, payload in prop::collection::vec(any::<u8>(), 1..64)) {
        let segment = inspect_segment(&synth::segment(start, seconds, &payload), info()).unwrap();
        prop_assert_eq!(segment.decode_time, start * u64::from(synth::TIMESCALE));
        prop_assert_eq!(segment.duration, u64::from(seconds * synth::TIMESCALE));
    }
}
