//! What goes into and comes out of the player.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::http::{Deadlines, Transferred};
use crate::telemetry::{ErrorKind, RequestClass, SessionEvent};

/// Names a fetch within one player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FetchId(pub u32);

/// What the player is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// The viewer pressed play.
    Start,
    /// A time asked for by [`super::Player::next_wake`] has come.
    Wake,
    /// A fetch was answered, with any status.
    Fetched(FetchId, Fetched),
    /// A fetch failed.
    Failed(FetchId, Failure),
    /// A time asked for by [`super::Player::next_wake`] has come, and the fetch that [`super::Player::curious`] names is so far.
    Progress(FetchId, Transferred),
    /// The viewer leaves.
    Stop,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Status code.
    pub status: u16,
    /// The body of fetches that asked for it.
    pub body: Option<Vec<u8>>,
    /// Body bytes.
    pub bytes: u64,
    /// From sending the request to its first byte.
    pub first_byte: Duration,
    /// From sending the request to the last byte.
    pub total: Duration,
    /// The URL that answered, after redirects.
    pub url: Arc<Url>,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How it failed.
    pub kind: ErrorKind,
    /// Body bytes that had come.
    pub bytes: u64,
    /// From sending the request to its first byte, if one came.
    pub first_byte: Option<Duration>,
    /// From sending the request to the failure.
    pub total: Duration,
}

/// What the player wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a request. Exactly one `Fetched` or `Failed` is expected, unless it is cancelled.
    Fetch(Fetch),
    /// Drop a request: nobody waits for it any more.
    Cancel(FetchId),
    /// Tell the world.
    Report(SessionEvent),
    /// The session is over: nothing follows.
    End,
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// Its name.
    pub id: FetchId,
    /// What it is for.
    pub class: RequestClass,
    /// Where.
    pub url: Arc<Url>,
    /// JSON to `POST`; `GET` without.
    pub post: Option<Vec<u8>>,
    /// Bearer token.
    pub bearer: Option<Arc<str>>,
    /// Keep up to this many bytes of the body; 0 drains it.
    pub capture: usize,
    /// When it was meant to be sent, in the player's time.
    pub due: Duration,
    /// Limits.
    pub deadlines: Deadlines,
    /// Pathway it belongs to; empty for what has none.
    pub pathway: Arc<str>,
    /// Whether the player may ask how far it is.
    pub watched: bool,
}
