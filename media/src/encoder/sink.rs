//! Where ffmpeg PUTs: a loopback listener of the agent's own. ffmpeg stops when its server refuses it, so this one never
//! does; what is not a whole, well-placed segment goes no further.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing::put,
};
use bytes::Bytes;
use http::StatusCode;
use tokio::sync::mpsc;
use tracing::warn;

use crate::{
    bmff::{self, BmffError, InitInfo},
    epoch::Timeline,
    object::ObjectName,
    server::reply,
};

/// Largest segment taken from ffmpeg.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// ffmpeg opens the connection of an initialisation segment a whole segment before it sends one.
const BODY_DEADLINE: Duration = Duration::from_mins(1);

/// A valid object of a rendition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Which start of ffmpeg made it.
    pub generation: u64,
    /// Rendition.
    pub rendition: String,
    /// `init.mp4` or a segment.
    pub name: ObjectName,
    /// Its bytes.
    pub body: Bytes,
}

/// What the sink tells the agent.
#[derive(Debug)]
pub enum Event {
    /// Something to publish.
    Made(Made),
    /// A segment that must not be published.
    Broken {
        /// Which start of ffmpeg made it.
        generation: u64,
        /// Rendition.
        rendition: String,
        /// Why.
        error: BmffError,
    },
}

/// Shared by the sink's handlers.
#[derive(Debug)]
pub struct Sink {
    timeline: Timeline,
    renditions: Vec<String>,
    inits: Mutex<HashMap<(u64, String), InitInfo>>,
    events: mpsc::Sender<Event>,
}

impl Sink {
    /// A sink that reports to `events`.
    pub fn new(timeline: Timeline, renditions: Vec<String>, events: mpsc::Sender<Event>) -> Self {
        Self {
            timeline,
            renditions,
            inits: Mutex::default(),
            events,
        }
    }

    fn judge(&self, generation: u64, rendition: &str, name: ObjectName, body: &Bytes) -> Result<(), BmffError> {
        let mut inits = self.inits.lock().unwrap_or_else(PoisonError::into_inner);
        let ObjectName::Segment(number) = name else {
            let info = bmff::inspect_init(body)?;
            inits.retain(|(known, _), _| *known == generation);
            inits.insert((generation, rendition.to_owned()), info);
            return Ok(());
        };
        let init = *inits
            .get(&(generation, rendition.to_owned()))
            .ok_or(BmffError::Missing("moov"))?;
        let info = bmff::inspect_segment(body, init)?;
        bmff::check_place(&info, init, self.timeline, number)
    }
}

/// Routes of the sink: `/{generation}/{rendition}/{file}`.
pub fn router(sink: Arc<Sink>) -> Router {
    let ignored = async || StatusCode::OK;
    Router::new()
        .route("/{generation}/{rendition}/{file}", put(take).post(take).delete(ignored))
        .with_state(sink)
}

async fn take(
    State(sink): State<Arc<Sink>>,
    Path((generation, rendition, file)): Path<(u64, String, String)>,
    request: Request,
) -> Response {
    // A body whose chunked coding does not end properly is an error here, so a segment cut off by a crash is not taken.
    let body = match reply::read_body(request.into_body(), MOST_BYTES, BODY_DEADLINE).await {
        Ok(body) => body,
        Err((status, message)) => {
            warn!(rendition, file, message, "ffmpeg broke off");
            return status.into_response();
        }
    };
    let Some(name) = local_name(&rendition, &file).filter(|_| sink.renditions.contains(&rendition)) else {
        return StatusCode::OK.into_response();
    };
    let event = match sink.judge(generation, &rendition, name, &body) {
        Ok(()) => Event::Made(Made {
            generation,
            rendition,
            name,
            body,
        }),
        Err(error) => Event::Broken {
            generation,
            rendition,
            error,
        },
    };
    // The agent drains the channel all the time; a closed one means that it is shutting down.
    let _ = sink.events.send(event).await;
    StatusCode::OK.into_response()
}

/// ffmpeg's names: the initialisation segment carries the rendition's; playlists are ours to render.
fn local_name(rendition: &str, file: &str) -> Option<ObjectName> {
    if file.strip_prefix("init_").and_then(|rest| rest.strip_suffix(".mp4")) == Some(rendition) {
        return Some(ObjectName::Init);
    }
    ObjectName::parse(file).filter(|name| matches!(name, ObjectName::Segment(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(local_name("360p", "init_360p.mp4"), Some(ObjectName::Init));
        assert_eq!(local_name("360p", "init_240p.mp4"), None);
        assert_eq!(local_name("360p", "index.m3u8"), None);
        assert_eq!(local_name("360p", "seg_7.m4s"), Some(ObjectName::Segment(7)));
    }
}
