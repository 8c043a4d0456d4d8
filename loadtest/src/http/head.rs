//! The head of a response: status, framing, and the few headers a viewer acts on.

use std::mem::MaybeUninit;

use serde::{Deserialize, Serialize};

use super::Framing;

/// Longest response head accepted, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;
/// Most header lines accepted.
const MAX_HEADERS: usize = 64;

/// What a cache said about itself in `X-Cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheStatus {
    /// Answered from the cache.
    Hit,
    /// Fetched from further up.
    Miss,
}

/// A parsed head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code, three digits.
    pub status: u16,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection may be used again.
    pub keep_alive: bool,
    /// `X-Cache`, where present and understood.
    pub cache: Option<CacheStatus>,
    /// `Location`, of redirects only.
    pub location: Option<String>,
}

/// Why a head was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not HTTP/1.
    #[error("malformed response: {0}")]
    Malformed(String),
    /// Longer than [`MAX_HEAD`] or more lines than we take.
    #[error("response head too large")]
    TooLarge,
}

/// Parses a head and says how long it was; `None` while it is incomplete.
pub fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let length = match parser.parse_response_with_uninit_headers(&mut response, bytes, &mut headers) {
        // However it comes, in one piece or in many.
        Ok(httparse::Status::Complete(length)) if length > MAX_HEAD => return Err(HeadError::TooLarge),
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_HEAD => return Err(HeadError::TooLarge),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(error) => return Err(HeadError::Malformed(error.to_string())),
    };
    // The parser takes any three digits.
    let status = response.code.filter(|code| *code >= 100);
    let status = status.ok_or_else(|| HeadError::Malformed("status code below 100".into()))?;
    let mut keep_alive = response.version == Some(1);
    let mut content_length: Option<u64> = None;
    let mut chunked = None;
    let mut cache = None;
    let mut location = None;
    for header in response.headers.iter() {
        let name = header.name;
        if name.eq_ignore_ascii_case("content-length") {
            let length = content_length_of(header.value)?;
            if content_length.is_some_and(|other| other != length) {
                return Err(HeadError::Malformed("two different Content-Length".into()));
            }
            content_length = Some(length);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            // Only the last coding delimits; anything but chunked there means "until close".
            chunked = Some(last_token(header.value).eq_ignore_ascii_case(b"chunked"));
        } else if name.eq_ignore_ascii_case("connection") {
            for token in header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                if token.eq_ignore_ascii_case(b"close") {
                    keep_alive = false;
                } else if token.eq_ignore_ascii_case(b"keep-alive") {
                    keep_alive = true;
                }
            }
        } else if name.eq_ignore_ascii_case("x-cache") {
            cache = cache_status(header.value);
        } else if (300..400).contains(&status) && name.eq_ignore_ascii_case("location") {
            location = String::from_utf8(header.value.to_vec()).ok();
        }
    }
    let framing = match (status, chunked, content_length) {
        (100..=199 | 204 | 304, _, _) => Framing::None,
        (_, Some(true), _) => Framing::Chunked,
        (_, Some(false), _) | (_, None, None) => Framing::UntilClose,
        (_, None, Some(length)) => Framing::Length(length),
    };
    // A message with both is suspect (request smuggling): read it, then drop the connection.
    let suspect = chunked.is_some() && content_length.is_some();
    keep_alive &= framing != Framing::UntilClose && !suspect;
    Ok(Some((
        Head {
            status,
            framing,
            keep_alive,
            cache,
            location,
        },
        length,
    )))
}

fn content_length_of(value: &[u8]) -> Result<u64, HeadError> {
    let digits = value.trim_ascii();
    std::str::from_utf8(digits)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| HeadError::Malformed("Content-Length is not a number".into()))
}

fn last_token(value: &[u8]) -> &[u8] {
    value.rsplit(|byte| *byte == b',').next().unwrap_or(value).trim_ascii()
}

fn cache_status(value: &[u8]) -> Option<CacheStatus> {
    let has = |word: &[u8]| {
        value
            .windows(word.len())
            .any(|window| window.eq_ignore_ascii_case(word))
    };
    if has(b"hit") {
        Some(CacheStatus::Hit)
    } else if has(b"miss") {
        Some(CacheStatus::Miss)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn head(text: &str) -> Head {
        parse_head(text.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn reads_what_a_viewer_needs() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-Cache: HIT\r\n\r\nhello";
        let (head, length) = parse_head(text.as_bytes()).unwrap().unwrap();
        assert_eq!(
            (head.status, head.framing, head.keep_alive),
            (200, Framing::Length(12), true)
        );
        assert_eq!(head.cache, Some(CacheStatus::Hit));
        assert_eq!(length, text.len() - 5);
    }

    #[test]
    fn framing_rules() {
        assert_eq!(
            head("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n").framing,
            Framing::Chunked
        );
        assert_eq!(
            head("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n").framing,
            Framing::None
        );
        let until_close = head("HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(
            (until_close.framing, until_close.keep_alive),
            (Framing::UntilClose, false)
        );
        assert!(!head("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").keep_alive);
        assert!(!head("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keep_alive);
        let both = head("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!((both.framing, both.keep_alive), (Framing::Chunked, false));
    }

    #[test]
    fn refuses_what_is_not_http() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 013 Early Hints\r\n\r\n",
            "\u{0}\u{1}\u{2}\r\n\r\n",
        ] {
            assert!(
                matches!(parse_head(text.as_bytes()), Err(HeadError::Malformed(_))),
                "{text:?}"
            );
        }
        let two = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
        assert!(parse_head(two.as_bytes()).is_err());
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(MAX_HEAD));
        assert_eq!(parse_head(endless.as_bytes()), Err(HeadError::TooLarge));
        let whole = format!("{endless}\r\n\r\n");
        assert_eq!(parse_head(whole.as_bytes()), Err(HeadError::TooLarge));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse_head(&bytes);
            let mut prefixed = b"HTTP/1.1 200 OK\r\n".to_vec();
            prefixed.extend_from_slice(&bytes);
            let _ = parse_head(&prefixed);
        }
    }
}
