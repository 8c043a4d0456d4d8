//! PATCH, in its four kinds.

use http::Response;
use serde_json::Value;

use super::{Call, mutate};
use crate::apply::update;
use crate::body::ApiBody;
use crate::crd::prune;
use crate::engine::write::Proposal;
use crate::engine::{Engine, Strictness, WriteOptions, decode};
use crate::error::{ApiError, ApiResult, Cause};
use crate::patch::{json, merge, strategic};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

/// PATCH of an object or its status.
pub(crate) fn patch(call: &Call) -> ApiResult<Response<ApiBody>> {
    let def = &call.def;
    let mut options = call.write_options()?;
    match call.content_type() {
        APPLY => apply(call, &options),
        kind @ (JSON | MERGE | STRATEGIC) => {
            if kind == STRATEGIC && def.custom.is_some() {
                return Err(ApiError::unsupported_media_type(
                    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
                ));
            }
            if call.query.get("force").is_some() {
                let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
                return Err(ApiError::invalid_options("PatchOptions", &[cause]));
            }
            options.patch = Some(String::from_utf8_lossy(&call.body).into_owned());
            let patch = decode::parse(&call.body, false)?;
            if call.query.get("fieldValidation").is_none() {
                options.strictness = Strictness::Warn;
            }
            let done = call
                .engine
                .update(def, call.namespace(), call.name(), &options, |current| {
                    let object = match kind {
                        JSON => json::apply(current, &patch)?,
                        MERGE => {
                            let mut object = current.clone();
                            merge::apply(&mut object, &patch);
                            object
                        }
                        _ => {
                            let mut object = current.clone();
                            strategic::apply(&def.schema, &mut object, &patch)?;
                            object
                        }
                    };
                    Ok(Proposal { object, managed: false })
                })?;
            Ok(mutate::outcome(def, &done))
        }
        _ => Err(ApiError::unsupported_media_type(ACCEPTED)),
    }
}

fn apply(call: &Call, options: &WriteOptions) -> ApiResult<Response<ApiBody>> {
    let def = &call.def;
    if call.query.get("fieldManager").is_none() {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(ApiError::invalid_options("PatchOptions", &[cause]));
    }
    let (namespace, name) = (call.namespace(), call.name());
    let absent = call.engine.store.get(&def.storage, namespace, name).is_none();
    if absent && !options.subresource.is_empty() {
        return Err(def.not_found(name));
    }
    let mut config = decode::parse(&call.body, true)?;
    for field in ["apiVersion", "kind"] {
        if config[field].as_str().is_none_or(str::is_empty) {
            return Err(ApiError::bad_request(format!(
                "invalid object type: {field} is required in an apply patch"
            )));
        }
    }
    decode::identify(def, &mut config, false)?;
    check_config(call, &mut config)?;
    let force = call.query.flag("force");
    let (kind, writer) = (def.ownership(&options.subresource), Engine::writer(def, options));
    if absent {
        config["metadata"]["name"] = name.into();
        let object = update::apply(&kind, &Value::Null, &config, &writer, force)?;
        match call.engine.create(def, namespace, object, options, true) {
            Ok(done) => return Ok(mutate::outcome(def, &done)),
            // Created by somebody else in the meantime: then this is an update.
            Err(error) if error.reason == "AlreadyExists" => {}
            Err(error) => return Err(error),
        }
    }
    let done = call.engine.update(def, namespace, name, options, |current| {
        let object = update::apply(&kind, current, &config, &writer, force)?;
        Ok(Proposal { object, managed: true })
    })?;
    Ok(mutate::outcome(def, &done))
}

/// Errors as upstream lists them.
fn several(errors: &[String]) -> Option<String> {
    match errors {
        [] => None,
        [only] => Some(only.clone()),
        all => Some(format!("errors:\n  {}", all.join("\n  "))),
    }
}

/// A configuration may hold only fields of the type, no server-side metadata, and the name of the URL.
fn check_config(call: &Call, config: &mut Value) -> ApiResult<()> {
    let def = &call.def;
    let metadata = &config["metadata"];
    if metadata
        .get("managedFields")
        .is_some_and(|fields| !fields.is_null() && fields != &Value::Array(Vec::new()))
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    decode::must_not_be_another(config, call.name())?;
    let stated = metadata["namespace"].as_str().unwrap_or_default();
    if !stated.is_empty() && stated != call.namespace() {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::bad_request(message));
    }
    let mut unknown = Vec::new();
    prune::prune(&def.schema, config, &prune::Place::Root, &mut unknown);
    let unknown = unknown
        .first()
        .map(|field| format!(".{field}: field not declared in schema"));
    let typed = || match def.custom {
        None => crate::builtin::validation::check_types(def, config).err(),
        Some(_) => None,
    };
    let wrong = unknown
        .or_else(|| several(&crate::apply::merge::twice(&def.schema, config)))
        .or_else(|| typed().map(|error| error.message));
    if let Some(why) = wrong {
        let stated = config["metadata"]["namespace"].as_str().unwrap_or_default();
        return Err(ApiError::unmapped(format!(
            "failed to create typed patch object ({stated}/{}; {}/{}, Kind={}): {why}",
            call.name(),
            def.group,
            def.version,
            def.kind
        )));
    }
    // What the server sets is nobody's.
    if let Some(fields) = config["metadata"].as_object_mut() {
        for name in ["creationTimestamp", "selfLink", "generation", "managedFields"] {
            fields.remove(name);
        }
    }
    Ok(())
}
