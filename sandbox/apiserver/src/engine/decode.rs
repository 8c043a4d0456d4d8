//! From a request body to an object of the resource's type.

use serde_json::{Value, json};

use super::{Strictness, WriteOptions};
use crate::crd::{default, prune};
use crate::error::{ApiError, ApiResult, Cause};
use crate::protobuf::DecodeError;
use crate::registry::ResourceDef;
use crate::store::object::Hidden;

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
        DecodeError::Unsupported(_) => ApiError::unsupported_media_type("application/json, application/yaml"),
    })
}

/// The kind of an object must be told: nothing but its resource says what a custom one should be.
pub(crate) fn must_tell(def: &ResourceDef, object: &Value, body: &[u8]) -> ApiResult<()> {
    let told = object["kind"].as_str().is_some_and(|kind| !kind.is_empty());
    if def.custom.is_none() || !object.is_object() || told {
        return Ok(());
    }
    let body = String::from_utf8_lossy(body);
    let start: String = body.chars().take(30).collect();
    let start = if start.len() < body.len() {
        format!("{start} ...")
    } else {
        start
    };
    let message = format!(
        "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{body}' ({start})",
        def.kind
    );
    Err(ApiError::bad_request(message))
}

/// An object that is put somewhere must have the name of the place.
pub(crate) fn must_be_named(object: &Value, name: &str) -> ApiResult<()> {
    if object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    must_not_be_another(object, name)
}

/// If it has a name, then that of the place.
pub(crate) fn must_not_be_another(object: &Value, name: &str) -> ApiResult<()> {
    match object["metadata"]["name"].as_str().unwrap_or_default() {
        named if named.is_empty() || named == name => Ok(()),
        named => Err(ApiError::bad_request(format!(
            "the name of the object ({named}) does not match the name on the URL ({name})"
        ))),
    }
}

/// Checks that the object is of the resource's kind and version, and fills both in.
pub(crate) fn identify(def: &ResourceDef, object: &mut Value, patch: bool) -> ApiResult<()> {
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
        if patch && def.custom.is_some() {
            let cause = Cause::invalid("apiVersion", &found.into(), format!("must be {api_version}"));
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            return Err(def.invalid(name, &[cause]));
        }
        let message =
            format!("the API version in the data ({found}) does not match the expected API version ({api_version})");
        return Err(ApiError::bad_request(message));
    }
    if let Some(found) = object["kind"]
        .as_str()
        .filter(|found| *found != def.kind && !found.is_empty())
    {
        if def.custom.is_some() {
            // Any kind can be decoded; what it must be is a matter of validation.
            let cause = Cause::invalid("kind", &found.into(), format!("must be {}", def.kind));
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            return Err(ApiError::invalid(&def.group, found, name, &[cause]));
        }
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
/// An `applied` one is not decoded, so its nulls stay; and what is hidden of its metadata is to be put back before it is
/// stored, where nothing is known of its type.
pub(crate) fn conform(
    def: &ResourceDef,
    object: &mut Value,
    options: &WriteOptions,
    applied: bool,
) -> ApiResult<(Vec<String>, Hidden)> {
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
        let kind = &def.kind;
        let message = format!(
            "{kind} in version {:?} cannot be handled as a {kind}: {strict}",
            def.version
        );
        return Err(ApiError::bad_request(message));
    }
    let typed = if def.custom.is_none() {
        crate::builtin::validation::check_types(def, object)
    } else {
        crate::builtin::validation::check_metadata_types(def, object)
    };
    // What a patch makes of an object must be one; that it is not is the patch's fault.
    typed.map_err(|error| match &options.patch {
        Some(_) => {
            let cause = Cause::invalid("patch", &object.to_string().into(), &error.message);
            ApiError::invalid("", "", "", &[cause])
        }
        None => error,
    })?;
    let mut hidden = Hidden::default();
    if def.custom.is_none() {
        crate::builtin::omit::empty(&def.schema, object);
        crate::builtin::zero::fill(&def.zero, object);
    } else {
        let taken = Hidden::take(&mut object["metadata"]);
        crate::builtin::omit::empty(def.schema.field("metadata"), &mut object["metadata"]);
        if applied {
            hidden = taken;
        } else {
            default::drop_nulls(&def.schema, object);
        }
    }
    if strictness == Strictness::Ignore {
        Ok((Vec::new(), hidden))
    } else {
        Ok((texts, hidden))
    }
}
