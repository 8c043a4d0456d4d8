//! Objects of any kind, listed.
//!
//! Not as kube's `DynamicObject` reads itself: that keeps every field a second time on its way in. And who owns which field is
//! half of what comes, and asked of few kinds: it is read only where it is asked for.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference, Time};
use kube::{
    Client, Resource,
    api::ListParams,
    core::{DynamicObject, ObjectMeta, Request},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::kind::Kind;

/// Who owns which field, read or passed over.
pub(crate) trait Owners: DeserializeOwned {
    /// What was read.
    fn entries(self) -> Option<Vec<ManagedFieldsEntry>>;
}

impl Owners for Vec<ManagedFieldsEntry> {
    fn entries(self) -> Option<Vec<ManagedFieldsEntry>> {
        Some(self)
    }
}

impl Owners for IgnoredAny {
    fn entries(self) -> Option<Vec<ManagedFieldsEntry>> {
        None
    }
}

/// Lists objects of a kind.
pub(crate) async fn list<O: Owners>(
    client: &Client,
    namespace: &str,
    kind: Kind,
    params: &ListParams,
) -> kube::Result<Vec<DynamicObject>> {
    let path = DynamicObject::url_path(&kind.api_resource(), Some(namespace));
    let request = Request::new(path).list(params).map_err(kube::Error::BuildRequest)?;
    let list: List<O> = client.request(request).await?;
    let items = list.items.unwrap_or_default();
    Ok(items.into_iter().map(|Listed(object, _)| object).collect())
}

#[derive(Deserialize)]
#[serde(bound = "O: Owners")]
struct List<O> {
    /// An empty list may be null.
    items: Option<Vec<Listed<O>>>,
}

struct Listed<O>(DynamicObject, PhantomData<O>);

/// Of an object's metadata what the operator goes by.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "O: Owners")]
struct Metadata<O> {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
    managed_fields: Option<O>,
}

impl<O: Owners> From<Metadata<O>> for ObjectMeta {
    fn from(metadata: Metadata<O>) -> Self {
        Self {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            generation: metadata.generation,
            deletion_timestamp: metadata.deletion_timestamp,
            labels: metadata.labels,
            annotations: metadata.annotations,
            owner_references: metadata.owner_references,
            finalizers: metadata.finalizers,
            managed_fields: metadata.managed_fields.and_then(Owners::entries),
            ..Self::default()
        }
    }
}

impl<'de, O: Owners> Deserialize<'de> for Listed<O> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<O>(PhantomData<O>);

impl<'de, O: Owners> Visitor<'de> for ObjectVisitor<O> {
    type Value = Listed<O>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Listed<O>, A::Error> {
        let (mut metadata, mut data) = (ObjectMeta::default(), Map::new());
        while let Some(field) = fields.next_key::<String>()? {
            match field.as_str() {
                "metadata" => metadata = fields.next_value::<Metadata<O>>()?.into(),
                // Those of a list do not say what they are, or it is known.
                "apiVersion" | "kind" => drop(fields.next_value::<IgnoredAny>()?),
                _ => drop(data.insert(field, fields.next_value()?)),
            }
        }
        let object = DynamicObject {
            types: None,
            metadata,
            data: Value::Object(data),
        };
        Ok(Listed(object, PhantomData))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn read<O: Owners>(list: &Value) -> Vec<DynamicObject> {
        let list: List<O> = serde_json::from_str(&list.to_string()).unwrap();
        let items = list.items.unwrap_or_default();
        items.into_iter().map(|Listed(object, _)| object).collect()
    }

    #[test]
    fn an_object_is_read_as_kube_would() {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "d", "namespace": "n", "uid": "u", "resourceVersion": "7", "generation": 2,
                "deletionTimestamp": "2026-01-01T00:00:00Z", "labels": { "a": "b" }, "annotations": { "c": "d" },
                "ownerReferences": [{ "apiVersion": "v1", "kind": "X", "name": "x", "uid": "o", "controller": true }],
                "finalizers": ["f"],
                "managedFields": [{ "manager": "m", "operation": "Apply", "fieldsV1": { "f:spec": {} } }],
            },
            "spec": { "replicas": 3, "list": [1, { "a": null }] }, "status": { "replicas": 3 },
        });
        let list = json!({ "kind": "DeploymentList", "metadata": { "resourceVersion": "9" }, "items": [object] });
        let mut expected: DynamicObject = serde_json::from_value(object).unwrap();
        expected.types = None;
        assert_eq!(read::<Vec<ManagedFieldsEntry>>(&list), [expected.clone()]);
        expected.metadata.managed_fields = None;
        assert_eq!(read::<IgnoredAny>(&list), [expected]);
        assert!(read::<IgnoredAny>(&json!({ "items": null })).is_empty());
    }
}
