//! From a request body to an object of the resource's type.

use serde_json::{Value, json};

use super::{Strictness, WriteOptions};
use crate::crd::{default, prune};
use crate::error::{ApiError, ApiResult, Cause};
use crate::protobuf::DecodeError;
use crate::registry::ResourceDef;

/// Parses a body: JSON, or YAML where `yaml` says so.
pub(crate) fn parse(body: &[u8], yaml: bool) -> ApiResult<Value> {
    if yaml && !body.trim_ascii_start().starts_with(b"{") {
        let text = std::str::from_utf8(body).map_err(|error| ApiError::bad_request(error.to_string()))?;
        return serde_saphyr::from_str(text)
            .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")));
    }
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("error decoding JSON: {error}")))
}

/// Parses a protobuf body of one of the few kinds that may come as such.
pub(crate) fn protobuf(body: &[u8]) -> ApiResult<Value> {
    crate::protobuf::decode(body).map_err(|error| match error {
        DecodeError::Malformed => ApiError::bad_request(error.to_string()),
        DecodeError::Unsupported(_) => {
            let found = format!("{}: {error}", crate::protobuf::CONTENT_TYPE);
            ApiError::unsupported_media_type(&found, "application/json, application/yaml")
        }
    })
}

/// Checks that the object is of the resource's kind and version, and fills both in.
pub(crate) fn identify(def: &ResourceDef, object: &mut Value) -> ApiResult<()> {
    if !object.is_object() {
        return Err(ApiError::bad_request(
            "the object provided is unrecognized (must be of type Object)",
        ));
    }
    let api_version = def.api_version();
    if let Some(found) = object["apiVersion"]
        .as_str()
        .filter(|found| *found != api_version && !found.is_empty())
    {
        let message =
            format!("the API version in the data ({found}) does not match the expected API version ({api_version})");
        return Err(ApiError::bad_request(message));
    }
    if let Some(found) = object["kind"]
        .as_str()
        .filter(|found| *found != def.kind && !found.is_empty())
    {
        let message = format!(
            "{found} in version {:?} cannot be handled as a {}: no kind {found:?} is registered for this resource",
            def.version, def.kind
        );
        return Err(ApiError::bad_request(message));
    }
    object["apiVersion"] = api_version.into();
    object["kind"] = def.kind.as_str().into();
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    Ok(())
}

/// Brings an object into its type: unknown fields go (or are refused), types are checked. Gives warnings.
pub(crate) fn conform(def: &ResourceDef, object: &mut Value, options: &WriteOptions) -> ApiResult<Vec<String>> {
    let strictness = options.strictness;
    let mut unknown = Vec::new();
    prune::prune(&def.schema, object, &prune::Place::Root, &mut unknown);
    let twice = options
        .duplicates
        .iter()
        .map(|path| format!("duplicate field {path:?}"));
    let texts: Vec<String> = twice
        .chain(unknown.iter().map(|path| format!("unknown field {path:?}")))
        .collect();
    if strictness == Strictness::Strict && !texts.is_empty() {
        let strict = format!("strict decoding error: {}", texts.join(", "));
        if let Some(patch) = &options.patch {
            let cause = Cause::invalid("patch", &patch.as_str().into(), strict);
            return Err(ApiError::invalid("", "", "", &[cause]));
        }
        let message = if def.custom.is_some() {
            strict
        } else {
            let kind = &def.kind;
            format!(
                "{kind} in version {:?} cannot be handled as a {kind}: {strict}",
                def.version
            )
        };
        return Err(ApiError::bad_request(message));
    }
    if def.custom.is_none() {
        crate::builtin::validation::check_types(def, object)?;
    } else {
        crate::builtin::validation::check_metadata_types(def, object)?;
    }
    default::drop_nulls(&def.schema, object);
    if strictness == Strictness::Ignore {
        Ok(Vec::new())
    } else {
        Ok(texts)
    }
}
