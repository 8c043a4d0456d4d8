//! What makes an object one of another cluster.
//!
//! No owner reference reaches from one cluster into another: the garbage collector there would look for the owner, not find
//! it, and take the object away. So these carry the platform's UID as a label, and a finalizer on the platform sees to them.

use serde_json::{Map, Value};
use showrunner_crds::{annotations, labels};

use crate::{resources::Object, validate::RemoteCluster};

/// An object of the platform's own cluster as one of another.
pub(super) fn relocated(mut object: Object, cluster: &RemoteCluster, uid: Option<&str>) -> Object {
    if let Some(metadata) = object.body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), cluster.namespace.as_str().into());
        metadata.remove("ownerReferences");
        note(metadata, "annotations", annotations::CLUSTER, &cluster.mark());
        if let Some(uid) = uid {
            note(metadata, "labels", labels::OWNER, uid);
        }
    }
    object.cluster = Some(cluster.clone());
    object
}

fn note(metadata: &mut Map<String, Value>, field: &str, key: &str, value: &str) {
    let notes = metadata.entry(field).or_insert_with(|| Value::Object(Map::new()));
    if let Some(notes) = notes.as_object_mut() {
        notes.insert(key.to_owned(), value.into());
    }
}
