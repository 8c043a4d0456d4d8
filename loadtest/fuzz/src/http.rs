//! The HTTP client's parsers.

#[path = "../../src/http/body.rs"]
mod body;
#[path = "../../src/http/head.rs"]
mod head;

pub use body::{BodyError, BodyReader, Framing};
pub use head::{CacheStatus, Head, HeadError, MAX_HEAD, parse_head};
