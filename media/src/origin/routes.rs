//! The HTTP surface of an origin.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Query, Request, State},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, put},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use tracing::{debug, info, warn};

use super::{
    Channel, Origin,
    deliver::{self, Entity},
    metrics::IngestLabels,
    playlist,
    store::{Object, Reject, Stored},
};
use crate::{epoch, object::ObjectName, server::reply};

/// Names the fetching shield.
const SHIELD_HEADER: &str = "x-showrunner-shield";
/// Numbers the tries of one fetch, from 0.
const TRY_HEADER: &str = "x-showrunner-try";

type Names = Path<(String, String, String)>;

/// Routes of an origin.
pub fn router(origin: Arc<Origin>) -> Router {
    let live = Router::new()
        .route("/live/{channel}/{rendition}/{file}", get(fetch))
        .layer(middleware::from_fn(reply::cors));
    Router::new()
        .route("/ingest/{channel}/{rendition}/{file}", put(ingest).delete(remove))
        .route("/healthz", get(health))
        .route("/livez", get(async || reply::plain(StatusCode::OK, "alive\n")))
        .route("/metrics", get(metrics))
        .route("/stats", get(stats))
        .merge(live)
        .layer(middleware::from_fn(reply::span))
        .with_state(origin)
}

async fn health(State(origin): State<Arc<Origin>>) -> Response {
    if origin.is_ready(epoch::now()) {
        reply::plain(StatusCode::OK, "fresh\n")
    } else {
        reply::plain(StatusCode::SERVICE_UNAVAILABLE, "no fresh segment\n")
    }
}

async fn metrics(State(origin): State<Arc<Origin>>) -> Response {
    origin.refresh_gauges(epoch::now());
    reply::metrics(&origin.metrics.registry)
}

#[derive(serde::Deserialize)]
struct Since {
    /// The cursor of an earlier report.
    #[serde(default)]
    since: u64,
}

async fn stats(State(origin): State<Arc<Origin>>, Query(Since { since }): Query<Since>) -> Response {
    reply::json(StatusCode::OK, &origin.report(since))
}

async fn ingest(
    State(origin): State<Arc<Origin>>,
    Path((channel, rendition, file)): Names,
    request: Request,
) -> Response {
    let Some((entry, name)) = locate(&origin, &channel, &rendition, &file) else {
        return not_found();
    };
    if name == ObjectName::Playlist {
        return reply::problem(StatusCode::UNPROCESSABLE_ENTITY, "playlists are rendered here");
    }
    let most = origin.config.max_object_bytes;
    if reply::declares_more_than(request.headers(), most) {
        return refuse(&origin, channel, StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let body = match reply::read_body(request.into_body(), most, origin.limits.body).await {
        Ok(body) => body,
        Err((status, message)) => return refuse(&origin, channel, status, message),
    };
    match store(&origin, entry, &rendition, name, body) {
        Ok(stored) => {
            let (status, outcome) = match stored {
                Stored::Published => (StatusCode::CREATED, "published"),
                Stored::Duplicate => (StatusCode::OK, "duplicate"),
                Stored::Replaced => (StatusCode::OK, "replaced"),
            };
            if stored == Stored::Replaced {
                warn!(channel, rendition, "the initialisation segment changed");
            }
            origin
                .metrics
                .ingest
                .get_or_create(&IngestLabels { channel, outcome })
                .inc();
            status.into_response()
        }
        Err(reject) => {
            let status = match reject {
                Reject::Rendition => StatusCode::NOT_FOUND,
                Reject::NeedInit => StatusCode::PRECONDITION_FAILED,
                Reject::Implausible { .. } | Reject::Malformed(_) => StatusCode::UNPROCESSABLE_ENTITY,
            };
            info!(channel, rendition, file, %reject, "refused");
            refuse(&origin, channel, status, &reject.to_string())
        }
    }
}

fn store(origin: &Origin, channel: &Channel, rendition: &str, name: ObjectName, body: Bytes) -> Result<Stored, Reject> {
    let ObjectName::Segment(number) = name else {
        return channel.store().put_init(rendition, body);
    };
    let (stored, horizon) = {
        let mut store = channel.store();
        (
            store.put_segment(rendition, number, body, epoch::now())?,
            store.horizon(),
        )
    };
    match stored {
        Stored::Published => {
            origin.stats.published();
            origin.stats.forget(channel.index, horizon);
        }
        Stored::Duplicate | Stored::Replaced => origin.stats.duplicate(),
    }
    Ok(stored)
}

fn refuse(origin: &Origin, channel: String, status: StatusCode, message: &str) -> Response {
    origin
        .metrics
        .ingest
        .get_or_create(&IngestLabels {
            channel,
            outcome: "refused",
        })
        .inc();
    reply::problem(status, message)
}

async fn remove(State(origin): State<Arc<Origin>>, Path((channel, rendition, file)): Names) -> Response {
    match locate(&origin, &channel, &rendition, &file) {
        Some((entry, ObjectName::Segment(number))) if entry.store().delete(&rendition, number) => {
            debug!(channel, rendition, number, "deleted");
            StatusCode::NO_CONTENT.into_response()
        }
        _ => not_found(),
    }
}

async fn fetch(
    State(origin): State<Arc<Origin>>,
    Path((channel, rendition, file)): Names,
    headers: HeaderMap,
) -> Response {
    let Some((entry, name)) = locate(&origin, &channel, &rendition, &file) else {
        return not_found();
    };
    let Some(Object { body, etag }) = object(entry, &rendition, name) else {
        return not_found();
    };
    let cache_control = cache_control(entry, name);
    let shield = headers
        .get(SHIELD_HEADER)
        .and_then(|value| value.to_str().ok())
        .map_or("none", |name| name.get(..128).unwrap_or(name))
        .to_owned();
    let attempt = headers
        .get(TRY_HEADER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    let place = entry
        .renditions
        .iter()
        .position(|known| *known == rendition)
        .unwrap_or_default();
    let index = entry.index;
    let counting = origin.clone();
    let entity = Entity {
        body,
        etag,
        content_type: name.content_type(),
        cache_control,
    };
    deliver::answer(&headers, entity, move |bytes| {
        counting.metrics.sent.inc_by(bytes);
        if let ObjectName::Segment(number) = name {
            counting.stats.fetched(&shield, (index, place, number), attempt);
        }
    })
}

fn object(channel: &Channel, rendition: &str, name: ObjectName) -> Option<Object> {
    let store = channel.store();
    match name {
        ObjectName::Init => store.init(rendition),
        ObjectName::Segment(number) => store.segment(rendition, number),
        ObjectName::Playlist => {
            let (timeline, listed) = (store.timeline(), store.listed(rendition)?);
            drop(store);
            Some(Object::new(playlist::render(timeline, &listed).into()))
        }
    }
}

/// A segment never changes; a playlist changes once a segment length; an initialisation segment with the ladder.
fn cache_control(channel: &Channel, name: ObjectName) -> String {
    match name {
        ObjectName::Segment(_) => "public, max-age=3600, immutable".into(),
        ObjectName::Init => "public, max-age=60".into(),
        ObjectName::Playlist => format!("public, max-age={}", (channel.segment_seconds / 2).max(1)),
    }
}

/// Finds what a path names. Only configured channels, their renditions and well-formed object names exist.
fn locate<'a>(origin: &'a Origin, channel: &str, rendition: &str, file: &str) -> Option<(&'a Channel, ObjectName)> {
    let channel = origin.channels.get(channel)?;
    let known = channel.renditions.iter().any(|known| known == rendition);
    let name = ObjectName::parse(file)?;
    known.then_some((channel, name))
}

fn not_found() -> Response {
    (
        StatusCode::NOT_FOUND,
        [(header::CACHE_CONTROL, "no-store")],
        "not found\n",
    )
        .into_response()
}
