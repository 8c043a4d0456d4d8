//! The part of `metadata` that belongs to the server.

use serde_json::{Value, json};

use super::now;
use crate::error::{ApiError, ApiResult};
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
        let cause = crate::error::Cause::required("metadata.name", "name or generateName is required");
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
        "managedFields",
        "generation",
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

/// Carries over what an update cannot change, and refuses contradictions.
pub(crate) fn on_update(def: &ResourceDef, old: &Value, new: &mut Value) -> ApiResult<()> {
    let name = old["metadata"]["name"].as_str().unwrap_or_default();
    let uid = new["metadata"]["uid"].as_str().unwrap_or_default();
    let real = old["metadata"]["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && uid != real {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {real}");
        return Err(ApiError::conflict(&def.group, &def.plural, name, &why));
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
    let finalizers = |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    if old["metadata"]["deletionTimestamp"].is_string() {
        let before = finalizers(old);
        let added: Vec<Value> = finalizers(new).into_iter().filter(|f| !before.contains(f)).collect();
        if !added.is_empty() {
            let names = added
                .iter()
                .map(|f| f.as_str().unwrap_or_default().to_owned())
                .collect::<Vec<_>>();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                names.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", ")
            );
            return Err(def.invalid(name, &[crate::error::Cause::forbidden("metadata.finalizers", &detail)]));
        }
    }
    Ok(())
}

/// Drops empty lists and maps that the typed API never stores.
pub(crate) fn tidy(object: &mut Value) {
    if let Some(fields) = object["metadata"].as_object_mut() {
        fields.retain(|name, value| {
            let optional = matches!(
                name.as_str(),
                "labels" | "annotations" | "finalizers" | "ownerReferences"
            );
            !(value.is_null() || optional && (value == &json!({}) || value == &json!([])))
        });
    }
}
