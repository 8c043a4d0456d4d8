//! Multivariant and media playlists, as they come from the network.
#![no_main]

use std::{collections::BTreeSet, fmt::Write, time::Duration};

use libfuzzer_sys::fuzz_target;
use showrunner_loadtest::player::{MediaPlaylist, Multivariant};
use url::Url;

fuzz_target!(|data: &[u8]| {
    multivariant(data);
    media(data);
});

fn multivariant(data: &[u8]) {
    let base = Url::parse("http://steering.test:8080/play/main/multivariant.m3u8").expect("a URL");
    let playlist = match Multivariant::parse(data, &base) {
        Ok(playlist) => playlist,
        // What is printed about a playlist is shorter than a playlist.
        Err(error) => return assert!(error.to_string().len() < 1024),
    };
    assert!(!playlist.pathways.is_empty(), "a playlist without a variant is refused");
    let ids: BTreeSet<_> = playlist.pathways.iter().map(|pathway| &pathway.id).collect();
    assert_eq!(ids.len(), playlist.pathways.len(), "a pathway is there once");
    for pathway in &playlist.pathways {
        assert!(!pathway.rungs.is_empty());
        assert!(pathway.rungs.is_sorted_by_key(|rung| rung.bandwidth));
        for rung in &pathway.rungs {
            // Absolute, and the same when read again: what the fetcher is handed is what was meant.
            assert_eq!(Url::parse(rung.video.as_str()).as_ref(), Ok(&*rung.video));
        }
    }
    let lines = data.split(|byte| matches!(byte, b'\n' | b'\r')).count();
    assert!(
        playlist
            .pathways
            .iter()
            .map(|pathway| pathway.rungs.len())
            .sum::<usize>()
            <= lines
    );
}

fn media(data: &[u8]) {
    let Ok(playlist) = MediaPlaylist::parse(data) else {
        return;
    };
    assert!((Duration::from_secs(1)..=Duration::from_secs(120)).contains(&playlist.target));
    for (index, segment) in playlist.segments.iter().enumerate() {
        assert_eq!(segment.sequence, playlist.first.saturating_add(index as u64));
        assert!(segment.duration > Duration::ZERO && segment.duration <= Duration::from_secs(120));
        assert!(!segment.uri.contains('\n'), "a URI is one line");
    }
    for distance in [0, 6, 600] {
        let start = playlist.live_start(Duration::from_secs(distance));
        assert_eq!(start.is_some(), !playlist.segments.is_empty());
        assert!(start.is_none_or(|start| playlist.segments.iter().any(|segment| segment.sequence == start)));
    }
    reads_back(&playlist);
}

/// A playlist written from what was understood is understood in the same way.
fn reads_back(playlist: &MediaPlaylist) {
    let mut text = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{}\n",
        playlist.target.as_secs(),
        playlist.first
    );
    for segment in &playlist.segments {
        let gap = if segment.gap { "#EXT-X-GAP\n" } else { "" };
        let _ = writeln!(
            text,
            "{gap}#EXTINF:{},\n{}",
            segment.duration.as_secs_f32(),
            segment.uri
        );
    }
    if playlist.ended {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    let again = MediaPlaylist::parse(text.as_bytes()).expect("written from a playlist");
    assert_eq!(
        (again.target, again.first, again.ended, again.segments.len()),
        (playlist.target, playlist.first, playlist.ended, playlist.segments.len())
    );
    for (again, segment) in again.segments.iter().zip(&playlist.segments) {
        assert_eq!((&again.uri, again.gap), (&segment.uri, segment.gap));
        assert!(again.duration.abs_diff(segment.duration) < Duration::from_millis(1));
    }
}
