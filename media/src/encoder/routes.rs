//! Health and metrics of an encoder agent.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};
use http::StatusCode;

use super::Agent;
use crate::{epoch, server::reply};

pub(super) fn router(agent: Arc<Agent>) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/livez", get(async || reply::plain(StatusCode::OK, "alive\n")))
        .route(
            "/metrics",
            get(async |State(agent): State<Arc<Agent>>| reply::metrics(&agent.metrics.registry)),
        )
        .with_state(agent)
}

async fn health(State(agent): State<Arc<Agent>>) -> Response {
    if agent.is_flowing(epoch::now()) {
        reply::plain(StatusCode::OK, "segments flow\n")
    } else {
        reply::plain(StatusCode::SERVICE_UNAVAILABLE, "no segments\n")
    }
}
