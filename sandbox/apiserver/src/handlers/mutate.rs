//! POST, PUT and DELETE.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::list::Selector;
use super::{Call, answer};
use crate::body::ApiBody;
use crate::builtin::strategy;
use crate::engine::decode;
use crate::engine::delete::{DeleteOptions, Deleted};
use crate::engine::metadata;
use crate::engine::write::{Outcome, Proposal};
use crate::error::{ApiError, ApiResult, Cause};
use crate::registry::ResourceDef;

/// The answer to a write.
pub(crate) fn outcome(def: &ResourceDef, outcome: &Outcome) -> Response<ApiBody> {
    let status = if outcome.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    answer::warn(
        answer::json_bytes(status, answer::object_json(def, &outcome.object)),
        &outcome.warnings,
    )
}

/// POST.
pub(crate) fn create(call: &Call) -> ApiResult<Response<ApiBody>> {
    if call.def.namespaced && call.path.namespace.is_none() {
        return Err(ApiError::bad_request(
            "an empty namespace may not be set during creation",
        ));
    }
    let (object, options) = call.decoded()?;
    let done = call
        .engine
        .create(&call.def, call.namespace(), object, &options, false)?;
    Ok(outcome(&call.def, &done))
}

/// PUT of an object or its status.
pub(crate) fn replace(call: &Call) -> ApiResult<Response<ApiBody>> {
    let (def, (object, options)) = (&call.def, call.decoded()?);
    decode::must_be_named(&object, call.name())?;
    let there = call.engine.store.get(&def.storage, call.namespace(), call.name());
    if there.is_none() {
        if !strategy::creates_on_update(def) {
            return Err(def.not_found(call.name()));
        }
        let mut object = object;
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        if !uid.is_empty() {
            return Err(metadata::another_uid(def, call.namespace(), call.name(), uid, ""));
        }
        if let Some(fields) = object["metadata"].as_object_mut() {
            fields.remove("resourceVersion");
        }
        let done = call.engine.create(def, call.namespace(), object, &options, false)?;
        return Ok(outcome(def, &done));
    }
    if def.custom.is_some() && object["metadata"]["resourceVersion"].as_str().is_none_or(str::is_empty) {
        let cause = Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
        // It is the resource that is named here, not the kind.
        return Err(ApiError::invalid(&def.group, &def.plural, call.name(), &[cause]));
    }
    let done = call.engine.update(def, call.namespace(), call.name(), &options, |_| {
        Ok(Proposal {
            object: object.clone(),
            managed: false,
        })
    })?;
    Ok(outcome(def, &done))
}

fn delete_options(call: &Call) -> ApiResult<DeleteOptions> {
    let body = if call.body.is_empty() {
        Value::Null
    } else {
        call.object()?
    };
    let mut options = DeleteOptions::from_body(&body);
    options.dry_run |= call.query.dry_run("DeleteOptions")?;
    if let Some(grace) = call.query.number("gracePeriodSeconds")? {
        options.grace_seconds = Some(i64::try_from(grace).unwrap_or(i64::MAX));
    }
    if let Some(policy) = call.query.get("propagationPolicy") {
        options.propagation = Some(policy.to_owned());
    }
    options.check()?;
    Ok(options)
}

/// DELETE of one object.
pub(crate) fn delete(call: &Call) -> ApiResult<Response<ApiBody>> {
    let def = &call.def;
    let deleted = call
        .engine
        .delete(def, call.namespace(), call.name(), &delete_options(call)?)?;
    Ok(match deleted {
        Deleted::Pending(object) => answer::json_bytes(StatusCode::OK, answer::object_json(def, &object)),
        Deleted::Gone(object) if strategy::returns_deleted(def) => {
            answer::json_bytes(StatusCode::OK, answer::object_json(def, &object))
        }
        Deleted::Gone(object) => {
            let mut details = json!({"name": call.name(), "kind": def.plural, "uid": object.uid()});
            if !def.group.is_empty() {
                details["group"] = def.group.as_str().into();
            }
            answer::json(
                &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
            )
        }
    })
}

/// DELETE of a collection.
pub(crate) fn delete_collection(call: &Call) -> ApiResult<Response<ApiBody>> {
    let (def, selector, options) = (&call.def, Selector::of(call)?, delete_options(call)?);
    let page = call
        .engine
        .store
        .list(&def.storage, call.path.namespace.as_deref(), None, None, |object| {
            selector.is_empty() || selector.matches(&def.served(&object.value))
        });
    // They are shown as they were.
    let mut items = Vec::with_capacity(page.items.len());
    for object in page.items {
        let name = object.value["metadata"]["name"].as_str().unwrap_or_default();
        match call.engine.delete(def, object.namespace(), name, &options) {
            // Somebody else may have been faster.
            Err(error) if error.code != 404 => return Err(error),
            _ => items.push(def.served(&object.value)),
        }
    }
    Ok(answer::json(
        &json!({"kind": def.list_kind, "apiVersion": def.api_version(),
        "metadata": {"resourceVersion": page.revision.to_string()}, "items": items}),
    ))
}
