//! Playlists are read once, however many viewers load them: all viewers of a rendition get the same bytes within the same
//! second. What was read is shared, which is also what makes thousands of viewers fit into memory.
//!
//! A memory of pure functions, one a thread, so that nobody waits for it. It changes what a player costs, never what it does.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use url::Url;

use super::{MediaPlaylist, Multivariant, PlaylistError};

/// Playlists remembered of each kind. A thread's viewers see one per rendition and region, two around a new segment.
const PLACES: usize = 64;
/// A longer playlist is read each time: it must not crowd out the others.
const LONGEST: usize = 32 * 1024;

thread_local! {
    static MEDIA: RefCell<Memo<MediaPlaylist>> = RefCell::default();
    static MULTIVARIANT: RefCell<Memo<Multivariant>> = RefCell::default();
}

/// [`MediaPlaylist::parse`], remembered.
pub(super) fn media(bytes: &[u8]) -> Result<Arc<MediaPlaylist>, PlaylistError> {
    MEDIA.with_borrow_mut(|memo| memo.get("", bytes, || MediaPlaylist::parse(bytes)))
}

/// [`Multivariant::parse`], remembered.
pub(super) fn multivariant(bytes: &[u8], base: &Url) -> Result<Arc<Multivariant>, PlaylistError> {
    MULTIVARIANT.with_borrow_mut(|memo| memo.get(base.as_str(), bytes, || Multivariant::parse(bytes, base)))
}

/// What was read from which bytes, the oldest forgotten first.
struct Memo<T> {
    entries: Vec<Entry<T>>,
    oldest: usize,
}

struct Entry<T> {
    hash: u64,
    context: Box<str>,
    bytes: Box<[u8]>,
    value: Arc<T>,
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            oldest: 0,
        }
    }
}

impl<T> Memo<T> {
    fn get<E>(&mut self, context: &str, bytes: &[u8], read: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        if bytes.len() > LONGEST {
            return read().map(Arc::new);
        }
        let mut hasher = DefaultHasher::new();
        (context, bytes).hash(&mut hasher);
        let hash = hasher.finish();
        let same = |entry: &&Entry<T>| entry.hash == hash && *entry.bytes == *bytes && *entry.context == *context;
        if let Some(entry) = self.entries.iter().find(same) {
            return Ok(Arc::clone(&entry.value));
        }
        let value = Arc::new(read()?);
        let entry = Entry {
            hash,
            context: context.into(),
            bytes: bytes.into(),
            value: Arc::clone(&value),
        };
        if self.entries.len() < PLACES {
            self.entries.push(entry);
        } else {
            self.entries[self.oldest] = entry;
            self.oldest = (self.oldest + 1) % PLACES;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn number(bytes: &[u8]) -> Result<u32, std::num::ParseIntError> {
        std::str::from_utf8(bytes).unwrap_or_default().parse()
    }

    #[test]
    fn the_same_bytes_are_read_once() {
        let (mut memo, mut reads) = (Memo::default(), 0);
        let mut get = |context: &str, text: &str| {
            memo.get(context, text.as_bytes(), || {
                reads += 1;
                number(text.as_bytes())
            })
        };
        assert_eq!((*get("a", "1").unwrap(), *get("a", "1").unwrap()), (1, 1));
        get("b", "1").unwrap();
        get("a", "x").unwrap_err();
        get("a", "x").unwrap_err();
        assert_eq!(reads, 4, "once a context, and refusals each time");
    }

    #[test]
    fn the_oldest_goes_first_and_long_ones_are_not_kept() {
        let mut memo = Memo::default();
        for value in 0..=PLACES as u32 {
            let text = value.to_string();
            memo.get("", text.as_bytes(), || number(text.as_bytes())).unwrap();
        }
        assert_eq!(memo.entries.len(), PLACES);
        let known = |memo: &mut Memo<u32>, text: &str| memo.get("", text.as_bytes(), || Err(())).is_ok();
        assert!(!known(&mut memo, "0") && known(&mut memo, "1"));
        let long = "0".repeat(LONGEST + 1);
        memo.get("", long.as_bytes(), || number(long.as_bytes())).unwrap();
        assert!(!known(&mut memo, &long));
    }

    #[test]
    fn urls_depend_on_where_the_playlist_was() {
        let text = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
        let url = |text| Url::parse(text).unwrap();
        let one = multivariant(text, &url("http://h/play/one/m.m3u8?region=eu")).unwrap();
        let same = multivariant(text, &url("http://h/play/one/m.m3u8?region=eu")).unwrap();
        let other = multivariant(text, &url("http://h/play/two/m.m3u8?region=eu")).unwrap();
        assert!(Arc::ptr_eq(&one, &same));
        assert_eq!(other.pathways[0].rungs[0].video.as_str(), "http://h/play/two/v.m3u8");
    }
}
