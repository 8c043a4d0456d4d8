//! Names and contents that encoders push: object names, initialisation segments, media segments, and what an origin keeps.
#![no_main]

use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use showrunner_crds::config::OriginChannel;
use showrunner_media::{
    bmff,
    object::ObjectName,
    origin::{
        playlist,
        store::{ChannelStore, Stored},
    },
};

/// A PUT in the input: a byte for the operation, a byte for the segment's number, two bytes for the length, the body.
const HEAD: usize = 4;
const NOW: Duration = Duration::from_secs(1_000_000);
const CURRENT: u64 = 500_000;

fuzz_target!(|data: &[u8]| {
    names(data);
    let config = OriginChannel {
        name: "main".into(),
        renditions: vec!["hi".into(), "audio".into()],
        segment_seconds: 2,
        dvr_seconds: 20,
    };
    let mut store = ChannelStore::new(&config);
    let mut rest = data;
    while rest.len() >= HEAD {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]])).min(rest.len() - HEAD);
        let (operation, near) = (rest[0], rest[1]);
        let body = Bytes::copy_from_slice(&rest[HEAD..HEAD + length]);
        rest = &rest[HEAD + length..];
        put(&mut store, operation, CURRENT + u64::from(near) - 128, body);
    }
    for rendition in ["hi", "audio"] {
        if let Some(listed) = store.listed(rendition) {
            assert!(listed.len() as u64 <= store.window(), "a playlist is a window");
            assert!(
                listed
                    .iter()
                    .all(|(number, there)| store.segment(rendition, *number).is_some() == *there)
            );
            let text = playlist::render(store.timeline(), &listed);
            let parsed = m3u8_rs::parse_media_playlist_res(text.as_bytes()).expect("a media playlist");
            assert_eq!(parsed.segments.len(), listed.len());
        }
    }
    assert!(store.bytes() <= data.len() as u64, "nothing is kept that did not come");
});

fn put(store: &mut ChannelStore, operation: u8, number: u64, body: Bytes) {
    let rendition = if operation & 1 == 0 { "hi" } else { "audio" };
    if operation & 2 == 0 {
        let stored = store.put_init(rendition, body.clone());
        assert_eq!(stored.is_ok(), bmff::inspect_init(&body).is_ok());
        if stored.is_ok() {
            assert_eq!(store.init(rendition).map(|object| object.body), Some(body));
        }
        return;
    }
    let before = store.segment(rendition, number);
    let stored = store.put_segment(rendition, number, body.clone(), NOW);
    let after = store.segment(rendition, number).map(|object| object.body);
    match stored {
        Ok(Stored::Published) => {
            assert!(number.abs_diff(CURRENT) <= 10);
            let init = store.init(rendition).expect("a segment needs its init");
            let init = bmff::inspect_init(&init.body).expect("it was looked at");
            let info = bmff::inspect_segment(&body, init).expect("so was the segment");
            assert_eq!(bmff::check_place(&info, init, store.timeline(), number), Ok(()));
            assert_eq!(after, Some(body));
        }
        // The first valid copy wins; what is refused changes nothing.
        Ok(_) | Err(_) => assert_eq!(after, before.map(|object| object.body)),
    }
}

fn names(data: &[u8]) {
    let Ok(name) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(object) = ObjectName::parse(name) {
        assert_eq!(object.to_string(), name, "an object has one name");
    }
}
