//! Health, version, and which groups and resources there are.

use std::sync::Arc;

use http::Response;
use http::request::Parts;
use serde_json::json;

use crate::body::ApiBody;
use crate::engine::Engine;
use crate::error::ApiResult;
use crate::handlers::answer;

/// Answers paths that are not about objects.
pub(crate) fn serve(engine: &Arc<Engine>, path: &str, _parts: &Parts) -> ApiResult<Option<Response<ApiBody>>> {
    match path {
        "/healthz" | "/livez" | "/readyz" => Ok(Some(crate::router::ok())),
        "/version" => Ok(Some(answer::json(&json!({"gitVersion": engine.config.git_version})))),
        _ => Ok(None),
    }
}
