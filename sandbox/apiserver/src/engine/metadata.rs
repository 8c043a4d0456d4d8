//! The part of `metadata` that belongs to the server.

use std::collections::BTreeSet;

use serde_json::Value;

use super::now;
use crate::error::{ApiError, ApiResult, Cause};
use crate::registry::ResourceDef;

/// Letters and digits that make no words.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

fn random_suffix() -> String {
    (0..5)
        .map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())]))
        .collect()
}

/// Not from the operating system: a thread that has seeded its generator gets the same names and identities again.
fn uid() -> String {
    let bytes = fastrand::u128(..).to_le_bytes();
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// Prepares the metadata of a new object: name, namespace, identity.
pub(crate) fn on_create(def: &ResourceDef, object: &mut Value, namespace: &str) -> ApiResult<()> {
    let metadata = &mut object["metadata"];
    let stated = metadata["namespace"].as_str().unwrap_or_default();
    if !stated.is_empty() && stated != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let generate = metadata["generateName"].as_str().unwrap_or_default().to_owned();
    let named = metadata["name"].as_str().is_some_and(|name| !name.is_empty());
    if !named && !generate.is_empty() {
        let cut: String = generate.chars().take(58).collect();
        metadata["name"] = format!("{cut}{}", random_suffix()).into();
    } else if !named {
        let cause = Cause::required("metadata.name", "name or generateName is required");
        return Err(def.invalid("", &[cause]));
    }
    let Some(fields) = metadata.as_object_mut() else {
        return Ok(());
    };
    for name in [
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        fields.remove(name);
    }
    if def.namespaced {
        fields.insert("namespace".to_owned(), namespace.into());
    } else {
        fields.remove("namespace");
    }
    fields.insert("uid".to_owned(), uid().into());
    fields.insert("creationTimestamp".to_owned(), now().into());
    Ok(())
}

/// An object was sent whole with a uid that is not the one of the object that is there. In the words of upstream's storage.
pub(crate) fn another_uid(def: &ResourceDef, namespace: &str, name: &str, sent: &str, real: &str) -> ApiError {
    let kind = if def.is("", "Service") {
        "services/specs"
    } else {
        &def.plural
    };
    let key = if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    };
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{kind}/{key}, ResourceVersion: 0, AdditionalErrorMsg: \
         Precondition failed: UID in precondition: {sent}, UID in object meta: {real}"
    );
    ApiError::conflict(&def.group, &def.plural, name, &why)
}

/// Carries over what an update cannot change, and refuses contradictions. The uid of an object that is sent whole is a
/// condition; in a patch it is a field like others, which cannot be changed.
pub(crate) fn on_update(def: &ResourceDef, old: &Value, new: &mut Value, patch: bool) -> ApiResult<()> {
    let name = old["metadata"]["name"].as_str().unwrap_or_default();
    let uid = new["metadata"]["uid"].as_str().unwrap_or_default();
    let real = old["metadata"]["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && uid != real {
        if patch {
            let cause = Cause::invalid("metadata.uid", &uid.into(), "field is immutable");
            // Upstream looks twice.
            return Err(def.invalid(name, &[cause.clone(), cause]));
        }
        let namespace = old["metadata"]["namespace"].as_str().unwrap_or_default();
        return Err(another_uid(def, namespace, name, uid, real));
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "selfLink",
        "resourceVersion",
    ] {
        match old["metadata"].get(field) {
            Some(value) => new["metadata"][field] = value.clone(),
            None => {
                if let Some(fields) = new["metadata"].as_object_mut() {
                    fields.remove(field);
                }
            }
        }
    }
    Ok(())
}

/// Refuses finalizers that an object gains when it is being deleted already.
pub(crate) fn late_finalizers(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    if !old["metadata"]["deletionTimestamp"].is_string() {
        return;
    }
    let finalizers = |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let (before, after) = (finalizers(old), finalizers(new));
    let added = after.iter().filter(|finalizer| !before.contains(finalizer));
    let added: BTreeSet<String> = added.map(ToString::to_string).collect();
    if added.is_empty() {
        return;
    }
    let names = added.into_iter().collect::<Vec<_>>().join(", ");
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{names}}}"
    );
    let cause = Cause::forbidden("metadata.finalizers", &detail);
    // Upstream looks twice.
    causes.extend([cause.clone(), cause]);
}

/// Drops nulls that the typed API never stores.
pub(crate) fn tidy(object: &mut Value) {
    if let Some(fields) = object["metadata"].as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
}
