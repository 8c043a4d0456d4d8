//! From an HTTP request to the handler it is for.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};

use crate::body::ApiBody;
use crate::discovery;
use crate::engine::Engine;
use crate::error::{ApiError, ApiResult};
use crate::handlers::{Call, list, mutate, patch, watch};
use crate::request::{self, Query};

/// Answers a request; errors become Status objects.
pub(crate) async fn route(engine: Arc<Engine>, parts: Parts, body: Bytes) -> Response<ApiBody> {
    dispatch(engine, parts, body)
        .await
        .unwrap_or_else(ApiError::into_response)
}

async fn dispatch(engine: Arc<Engine>, parts: Parts, body: Bytes) -> ApiResult<Response<ApiBody>> {
    let path = parts.uri.path();
    if let Some(response) = discovery::serve(&engine, path, &parts)? {
        return Ok(response);
    }
    let path = request::parse_path(path).ok_or_else(ApiError::no_such_path)?;
    let query = Query::parse(parts.uri.query());
    if let Some(response) = crate::review::serve(&path, &parts, &body)? {
        return Ok(response);
    }
    if path.group == "metrics.k8s.io" {
        return crate::metrics::serve(&engine, &path, &query, &parts.headers);
    }
    let snapshot = engine.registry.snapshot();
    let def = snapshot
        .find(&path.group, &path.version, &path.resource)
        .ok_or_else(ApiError::no_such_path)?
        .clone();
    if !def.namespaced && path.namespace.is_some() {
        return Err(ApiError::no_such_path());
    }
    if def.namespaced && path.name.is_some() && path.namespace.is_none() {
        return Err(ApiError::no_such_path());
    }
    let call = Call {
        engine,
        def,
        path,
        query,
        parts,
        body,
    };
    match call.path.subresource.as_deref() {
        None => object_verb(&call),
        Some("status") if call.def.status => status_verb(&call),
        Some(_) => crate::handlers::subresource(call).await,
    }
}

fn object_verb(call: &Call) -> ApiResult<Response<ApiBody>> {
    let named = call.path.name.is_some();
    match (call.parts.method.clone(), named) {
        // One object is watched by a field selector; with its path, `watch` says nothing.
        (Method::GET, true) => list::get(call),
        (Method::GET, false) if call.query.flag("watch") => watch::watch(call),
        (Method::GET, false) => list::list(call),
        (Method::POST, false) => mutate::create(call),
        (Method::PUT, true) => mutate::replace(call),
        (Method::PATCH, true) => patch::patch(call),
        (Method::DELETE, true) => mutate::delete(call),
        (Method::DELETE, false) if call.def.verbs().contains(&"deletecollection") => mutate::delete_collection(call),
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn status_verb(call: &Call) -> ApiResult<Response<ApiBody>> {
    match call.parts.method {
        Method::GET => list::get(call),
        Method::PUT => mutate::replace(call),
        Method::PATCH => patch::patch(call),
        _ => Err(ApiError::method_not_allowed()),
    }
}
