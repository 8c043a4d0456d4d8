//! Answers to GET and HEAD: entity tags, one byte range, and a body that knows when it has been sent.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};

/// Bytes handed to a connection at a time.
const CHUNK: usize = 64 * 1024;

/// What is sent, and how it may be cached.
pub(super) struct Entity {
    pub(super) body: Bytes,
    pub(super) etag: String,
    pub(super) content_type: &'static str,
    pub(super) cache_control: String,
}

/// Answers a GET or HEAD for `entity`; `sent` runs with the number of bytes once the last of them has been taken over by
/// the connection.
pub(super) fn answer(request: &HeaderMap, entity: Entity, sent: impl FnOnce(u64) + Send + 'static) -> Response {
    let builder = Response::builder()
        .header(header::ETAG, &entity.etag)
        .header(header::CACHE_CONTROL, &entity.cache_control)
        .header(header::CONTENT_TYPE, entity.content_type)
        .header(header::ACCEPT_RANGES, "bytes");
    let total = entity.body.len() as u64;
    let built = if has_tag(request, &entity.etag) {
        builder.status(StatusCode::NOT_MODIFIED).body(Body::empty())
    } else {
        match range(request, &entity.etag, total) {
            Range::Whole => builder.body(counted(entity.body, sent)),
            Range::Part(first, last) => builder
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, format!("bytes {first}-{last}/{total}"))
                .body(counted(entity.body.slice(first as usize..=last as usize), sent)),
            Range::Unsatisfiable => builder
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_RANGE, format!("bytes */{total}"))
                .body(Body::empty()),
        }
    };
    built.unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

fn has_tag(request: &HeaderMap, etag: &str) -> bool {
    let condition = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    condition.is_some_and(|tags| {
        tags.split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == etag || tag == "*")
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    Part(u64, u64),
    Unsatisfiable,
}

/// RFC 9110 §14: a single range is honoured; several, or what does not parse, give the whole.
fn range(request: &HeaderMap, etag: &str, total: u64) -> Range {
    let Some(ranges) = request
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("bytes="))
    else {
        return Range::Whole;
    };
    if request
        .get(header::IF_RANGE)
        .is_some_and(|condition| condition.as_bytes() != etag.as_bytes())
    {
        return Range::Whole;
    }
    let Some((from, to)) = ranges.split_once('-') else {
        return Range::Whole;
    };
    match (number(from), number(to), from.is_empty(), to.is_empty()) {
        (Some(first), Some(last), ..) if first <= last => part(first, last, total),
        (Some(first), None, _, true) => part(first, u64::MAX, total),
        (None, Some(0), true, _) => Range::Unsatisfiable,
        (None, Some(suffix), true, _) => part(total.saturating_sub(suffix), u64::MAX, total),
        _ => Range::Whole,
    }
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

fn part(first: u64, last: u64, total: u64) -> Range {
    if first >= total {
        Range::Unsatisfiable
    } else {
        Range::Part(first, last.min(total - 1))
    }
}

fn counted(body: Bytes, sent: impl FnOnce(u64) + Send + 'static) -> Body {
    let length = body.len() as u64;
    Body::new(Counted {
        rest: body,
        length,
        sent: Some(Box::new(sent)),
    })
}

struct Counted {
    rest: Bytes,
    length: u64,
    sent: Option<Box<dyn FnOnce(u64) + Send>>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let take = self.rest.len().min(CHUNK);
        let chunk = self.rest.split_to(take);
        if self.rest.is_empty() {
            let length = self.length;
            if let Some(sent) = self.sent.take() {
                sent(length);
            }
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str, total: u64) -> Range {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(header::RANGE, value);
        }
        range(&headers, "\"tag\"", total)
    }

    #[test]
    fn ranges() {
        assert_eq!(of("bytes=0-9", 100), Range::Part(0, 9));
        assert_eq!(of("bytes=90-", 100), Range::Part(90, 99));
        assert_eq!(of("bytes=-10", 100), Range::Part(90, 99));
        assert_eq!(of("bytes=-1000", 100), Range::Part(0, 99));
        assert_eq!(of("bytes=100-", 100), Range::Unsatisfiable);
        assert_eq!(of("bytes=-0", 100), Range::Unsatisfiable);
        for whole in [
            "bytes=9-0",
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=",
            "bytes=+1-2",
            "bytes=a-b",
        ] {
            assert_eq!(of(whole, 100), Range::Whole, "{whole}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_inside(text in "bytes=[0-9]{0,20}-[0-9]{0,20}", total in 0u64..10_000) {
            if let Range::Part(first, last) = of(&text, total) {
                prop_assert!(first <= last && last < total);
            }
        }
    }
}
