//! What is in a cluster, without what differs between any two runs: for comparing them.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::{Service, ServiceExt as _};

use crate::body::BoxError;

/// Objects by path of their list, namespace and name.
pub type Snapshot = BTreeMap<String, Value>;

/// Why a snapshot could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The request failed.
    #[error("{path}: {source}")]
    Request {
        /// What was listed.
        path: String,
        /// Why it failed.
        source: BoxError,
    },
    /// The answer was not a list.
    #[error("{path}: {answer}")]
    NoList {
        /// What was listed.
        path: String,
        /// The answer.
        answer: String,
    },
}

/// Lists everything under each path, such as `/apis/apps/v1/deployments`, and [`mask`]s it.
pub async fn take<S, R>(service: S, paths: &[impl AsRef<str>]) -> Result<Snapshot, SnapshotError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let mut snapshot = Snapshot::new();
    for path in paths.iter().map(AsRef::as_ref) {
        let failed = |source: BoxError| SnapshotError::Request {
            path: path.to_owned(),
            source,
        };
        let request = Request::get(path).body(Full::default());
        let request = request.map_err(|error| failed(error.into()))?;
        let answer = service.clone().oneshot(request).await;
        let answer = answer.map_err(|error| failed(error.into()))?;
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| failed(error.into()))?.to_bytes();
        let mut list: Value = serde_json::from_slice(&body).map_err(|error| failed(error.into()))?;
        let Some(items) = list["items"].as_array_mut() else {
            return Err(SnapshotError::NoList {
                path: path.to_owned(),
                answer: list.to_string(),
            });
        };
        for mut item in items.drain(..) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (namespace, name) = (text(&item["metadata"]["namespace"]), text(&item["metadata"]["name"]));
            mask(&mut item);
            snapshot.insert(format!("{path} {namespace}/{name}"), item);
        }
    }
    Ok(snapshot)
}

/// Takes out of an object what time, chance and the number of writes decide: UIDs, versions, generations, times, and
/// addresses that are given out in order of arrival. Of a generation that was observed, whether it is the last one stays.
pub fn mask(object: &mut Value) {
    let generation = object["metadata"]["generation"].clone();
    let observed = |status: &mut Value| {
        if let Some(observed) = status.get_mut("observedGeneration") {
            *observed = json!(if *observed == generation {
                "the last"
            } else {
                "not the last"
            });
        }
    };
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            metadata.remove(field);
        }
        for owner in items(metadata.get_mut("ownerReferences")) {
            owner["uid"] = Value::Null;
        }
        let managers = items(metadata.get_mut("managedFields"));
        for manager in managers.iter_mut() {
            manager["time"] = Value::Null;
            if let Some(fields) = manager.pointer_mut("/fieldsV1/f:metadata/f:ownerReferences") {
                owners_without_uid(fields);
            }
        }
        managers.sort_by_cached_key(Value::to_string);
    }
    if object["status"].is_object() {
        let status = &mut object["status"];
        observed(status);
        for condition in items(status.get_mut("conditions")) {
            observed(condition);
            for field in ["lastTransitionTime", "lastUpdateTime", "lastProbeTime"] {
                if let Some(condition) = condition.as_object_mut() {
                    condition.remove(field);
                }
            }
        }
    }
    if object["kind"] == "Service" || object["spec"]["clusterIP"].is_string() {
        let spec = &mut object["spec"];
        if spec["clusterIP"] != "None" {
            spec["clusterIP"] = json!("some");
            spec["clusterIPs"] = json!(["some"]);
        }
        for port in items(spec.get_mut("ports")) {
            if port.get("nodePort").is_some() {
                port["nodePort"] = json!("some");
            }
        }
    }
}

/// Fields of a list item are kept under its key: here the owner's UID.
fn owners_without_uid(fields: &mut Value) {
    let Some(owners) = fields.as_object_mut().map(std::mem::take) else {
        return;
    };
    for (number, (key, value)) in owners.into_iter().enumerate() {
        let key = if key.starts_with("k:{\"uid\"") {
            format!("k:owner {number}")
        } else {
            key
        };
        fields[key] = value;
    }
}

fn items(list: Option<&mut Value>) -> &mut [Value] {
    list.and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

/// What is different, one line each; empty where nothing is.
#[must_use]
pub fn differences(expected: &Snapshot, found: &Snapshot) -> String {
    let mut lines = Vec::new();
    for (key, value) in expected {
        match found.get(key) {
            None => lines.push(format!("{key}: missing")),
            Some(found) => compare(key, "", value, found, &mut lines),
        }
    }
    let unexpected = found.keys().filter(|key| !expected.contains_key(*key));
    lines.extend(unexpected.map(|key| format!("{key}: should not be there")));
    lines.join("\n")
}

fn compare(key: &str, path: &str, expected: &Value, found: &Value, lines: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (field, value) in expected {
                let none = &Value::Null;
                compare(
                    key,
                    &format!("{path}/{field}"),
                    value,
                    found.get(field).unwrap_or(none),
                    lines,
                );
            }
            let more = found.iter().filter(|(field, _)| !expected.contains_key(*field));
            lines.extend(more.map(|(field, value)| format!("{key}: {path}/{field} is {value}, expected nothing")));
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                compare(key, &format!("{path}/{index}"), expected, found, lines);
            }
        }
        _ if expected == found => {}
        _ => lines.push(format!("{key}: {path} is {found}, expected {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(object: Value) -> Snapshot {
        let mut object = object;
        mask(&mut object);
        [("/x a/b".to_owned(), object)].into()
    }

    #[test]
    fn what_differs_between_any_two_runs_is_masked_and_the_rest_is_not() {
        let object = |uid: &str, version: u32, address: &str, replicas: u32| {
            json!({ "kind": "Service", "metadata": { "uid": uid, "resourceVersion": version.to_string(), "name": "b" },
                "spec": { "clusterIP": address, "replicas": replicas },
                "status": { "conditions": [{ "type": "Ready", "lastTransitionTime": uid }] } })
        };
        let first = one(object("u", 1, "10.0.0.1", 3));
        assert_eq!(differences(&first, &one(object("v", 2, "10.0.0.2", 3))), "");
        assert_eq!(
            differences(&first, &one(object("u", 1, "10.0.0.1", 4))),
            "/x a/b: /spec/replicas is 4, expected 3"
        );
        assert!(differences(&first, &one(object("u", 1, "None", 3))).contains("clusterIP"));
        let observed = |generation: u32| {
            json!({ "metadata": { "generation": generation },
                "status": { "observedGeneration": 2, "conditions": [{ "type": "Ready", "observedGeneration": 2 }] } })
        };
        let told = differences(&one(observed(2)), &one(observed(3)));
        assert_eq!(told.lines().count(), 2, "{told}");
        assert_eq!(differences(&first, &Snapshot::new()), "/x a/b: missing");
        assert_eq!(differences(&Snapshot::new(), &first), "/x a/b: should not be there");
    }
}
