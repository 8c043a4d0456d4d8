//! The HTTP surface of a steering server.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{Path, Query, State},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use serde::Deserialize;
use showrunner_crds::config::{SteeringChannel, SteeringConfig};

use super::{PathwayLabels, Steering, manifest::Manifest, multivariant, order::Viewer};
use crate::{object::is_label, server::reply};

/// Longest session id taken from a player.
const LONGEST_SESSION: usize = 64;

/// What a request may say about its viewer. Unknown parameters are ignored, as players add their own.
#[derive(Debug, Default, Deserialize)]
struct Hints {
    region: Option<String>,
    #[serde(rename = "_region")]
    region_alias: Option<String>,
    session: Option<String>,
    /// When the multivariant playlist was served, Unix seconds: in its `SERVER-URI` only.
    loaded: Option<u64>,
    #[serde(rename = "_HLS_pathway")]
    pathway: Option<String>,
}

/// Routes of a steering server.
pub fn router(steering: Arc<Steering>) -> Router {
    let players = Router::new()
        .route("/play/{channel}/multivariant.m3u8", get(play))
        .route("/steer/{channel}", get(steer))
        .layer(middleware::from_fn(reply::cors));
    Router::new()
        .route("/healthz", get(health))
        .route("/livez", get(async || reply::plain(StatusCode::OK, "alive\n")))
        .route("/metrics", get(metrics))
        .route(
            "/audience",
            get(async |State(steering): State<Arc<Steering>>| reply::json(StatusCode::OK, &report(&steering))),
        )
        .merge(players)
        .layer(middleware::from_fn(reply::span))
        .with_state(steering)
}

fn report(steering: &Steering) -> showrunner_crds::wire::AudienceReport {
    steering
        .audience()
        .report(steering.started.elapsed(), steering.config().ttl_seconds)
}

async fn health(State(steering): State<Arc<Steering>>) -> Response {
    // Whether pathways are up is not the question: steering away from them is what this server is for.
    if steering
        .config()
        .pathways
        .iter()
        .any(|pathway| !pathway.public_url.is_empty())
    {
        reply::plain(StatusCode::OK, "ready\n")
    } else {
        reply::plain(StatusCode::SERVICE_UNAVAILABLE, "no pathway has an address\n")
    }
}

async fn metrics(State(steering): State<Arc<Steering>>) -> Response {
    for (pathway, viewers) in report(&steering).pathways {
        steering
            .metrics
            .audience
            .get_or_create(&PathwayLabels { pathway })
            .set(viewers);
    }
    reply::metrics(&steering.metrics.registry)
}

async fn play(
    State(steering): State<Arc<Steering>>,
    Path(channel): Path<String>,
    Query(hints): Query<Hints>,
) -> Response {
    let config = steering.config();
    let Some(channel) = find(&config, &channel) else {
        return reply::problem(StatusCode::NOT_FOUND, "no such channel");
    };
    let identity = Identity::of(&hints);
    let pathways = steering.pathways(&config, identity.viewer());
    let Some(first) = pathways.first() else {
        return reply::problem(StatusCode::SERVICE_UNAVAILABLE, "no pathway has an address");
    };
    steering.metrics.plays.inc();
    steering.saw(&first.id);
    let server_uri = format!("{}&loaded={}", identity.uri(&config, channel), unix_now().as_secs());
    let text = multivariant::render(channel, &pathways, &server_uri);
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.apple.mpegurl"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, text).into_response()
}

async fn steer(
    State(steering): State<Arc<Steering>>,
    Path(channel): Path<String>,
    Query(hints): Query<Hints>,
) -> Response {
    let config = steering.config();
    let Some(channel) = find(&config, &channel) else {
        return reply::problem(StatusCode::NOT_FOUND, "no such channel");
    };
    let identity = Identity::of(&hints);
    let pathways = steering.pathways(&config, identity.viewer());
    steering.metrics.polls.inc();
    if !is_counted_already(&config, &hints) {
        let named = hints
            .pathway
            .as_ref()
            .and_then(|id| config.pathways.iter().find(|pathway| pathway.id == *id));
        if let Some(pathway) = named.or(pathways.first().copied()) {
            steering.saw(&pathway.id);
        }
    }
    let manifest = Manifest::new(config.ttl_seconds, identity.uri(&config, channel), &pathways);
    let mut response = reply::json(StatusCode::OK, &manifest);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    // A player that kept this connection would send its next poll to the same server, and if that one is in the region that
    // is lost, wait on a dead connection for the order that takes it away from there. A new connection finds a ready server.
    headers.insert(header::CONNECTION, http::HeaderValue::from_static("close"));
    response
}

/// Some players poll at once after loading the playlist, others a TTL later. The load was counted: a poll within half a TTL
/// of it is the same sighting.
fn is_counted_already(config: &SteeringConfig, hints: &Hints) -> bool {
    let half = Duration::from_secs(u64::from(config.ttl_seconds)) / 2;
    hints
        .loaded
        .is_some_and(|loaded| unix_now().saturating_sub(Duration::from_secs(loaded)) < half)
}

fn find<'a>(config: &'a SteeringConfig, channel: &str) -> Option<&'a SteeringChannel> {
    config.channels.iter().find(|known| known.name == channel)
}

fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Who is asking: what the URIs carry so that any steering server decides alike.
struct Identity {
    region: Option<String>,
    session: String,
}

impl Identity {
    fn of(hints: &Hints) -> Self {
        let region = hints
            .region
            .as_ref()
            .or(hints.region_alias.as_ref())
            .filter(|region| is_label(region))
            .cloned();
        let session = hints.session.as_ref().filter(|session| is_session(session)).cloned();
        Self {
            region,
            session: session.unwrap_or_else(|| format!("{:016x}", rand::random::<u64>())),
        }
    }

    fn viewer(&self) -> Viewer<'_> {
        Viewer {
            region: self.region.as_deref(),
            session: &self.session,
        }
    }

    fn uri(&self, config: &SteeringConfig, channel: &SteeringChannel) -> String {
        let base = config.public_url.trim_end_matches('/');
        let region = self
            .region
            .as_ref()
            .map(|region| format!("&region={region}"))
            .unwrap_or_default();
        format!("{base}/steer/{}?session={}{region}", channel.name, self.session)
    }
}

fn is_session(text: &str) -> bool {
    (1..=LONGEST_SESSION).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
