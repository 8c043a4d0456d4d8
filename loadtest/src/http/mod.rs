//! A lean HTTP/1.1 client: what a viewer needs, and nothing it would pay for idle.
//!
//! One request at a time on one keep-alive connection. Bodies are drained through one buffer per thread and never copied,
//! unless the caller asks for them (playlists, tokens) under a bound. An idle connection holds no buffer, so a viewer costs
//! little more than its socket.
//!
//! Latency counts from the instant a request was *due*, not from when the generator got round to sending it.

mod body;
mod deadline;
mod fetch;
mod head;
mod hosts;
mod incoming;
mod progress;
mod shape;
mod stream;

pub use body::{BodyError, BodyReader, Framing};
pub use deadline::Deadlines;
pub use fetch::{Connection, FetchFailure, HttpError, Method, Request, Response, fetch};
pub use head::{CacheStatus, Head, HeadError, MAX_HEAD, parse_head};
pub use hosts::{HostError, HostList, HostPattern};
pub use progress::{Progress, Transferred};
pub use shape::{Access, TokenBucket};
