//! What there is, without what time and chance decide: names with random ends, addresses, nodes, the order of things.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use showrunner_apiserver::ApiServer;
use showrunner_unreliable::snapshot::{self, Snapshot};

const EVERYTHING: [&str; 11] = [
    "/apis/apps/v1/controllerrevisions",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/statefulsets",
    "/apis/batch/v1/jobs",
    "/apis/policy/v1/poddisruptionbudgets",
    "/apis/autoscaling/v2/horizontalpodautoscalers",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/api/v1/endpoints",
    "/api/v1/services",
    "/api/v1/pods",
];

pub(crate) async fn objects(server: &ApiServer) -> Snapshot {
    let all = snapshot::take(server.service(), &EVERYTHING).await.unwrap();
    let mut latest: BTreeMap<String, (i64, Value)> = BTreeMap::new();
    let mut canonical = Snapshot::new();
    let mut pods: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (key, mut object) in all {
        let path = key.split(' ').next().unwrap().to_owned();
        strip(&mut object);
        mask_owners(&mut object);
        match path.rsplit('/').next().unwrap() {
            "pods" => {
                let owner = &object["metadata"]["ownerReferences"][0];
                let owner = format!("pods of {} {}", owner["kind"], owner["name"]);
                pods.entry(owner).or_default().push(pod(&object));
            }
            "endpointslices" => {
                let service = &object["metadata"]["labels"]["kubernetes.io/service-name"];
                pods.entry(format!("slices of {service}"))
                    .or_default()
                    .push(slice(&object));
            }
            "endpoints" => drop(canonical.insert(key, legacy(&object))),
            // How many there were depends on what was seen of the past. Pods are made from the latest.
            "controllerrevisions" => {
                let owner = format!(
                    "latest revision of {}",
                    object["metadata"]["ownerReferences"][0]["name"]
                );
                let number = object["revision"].as_i64().unwrap();
                let known = latest.entry(owner).or_insert((i64::MIN, Value::Null));
                if number > known.0 {
                    *known = (number, object["data"].clone());
                }
            }
            // Kept for going back to: what is in them depends on what was seen of the past.
            "replicasets" if object["spec"]["replicas"] == 0 => {}
            _ => drop(canonical.insert(key, object)),
        }
    }
    canonical.extend(latest.into_iter().map(|(owner, (_, data))| (owner, data)));
    for (owner, mut list) in pods {
        list.sort_by_cached_key(Value::to_string);
        canonical.insert(owner, json!(list));
    }
    canonical
}

fn strip(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| !key.starts_with("deployment.kubernetes.io/revision"));
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    if let Some(status) = object["status"].as_object_mut() {
        for field in ["startTime", "completionTime", "lastScaleTime"] {
            status.remove(field);
        }
        // An autoscaler without metrics keeps the number it last asked for.
        status.remove("desiredReplicas");
        if !status
            .get("loadBalancer")
            .is_none_or(|balancer| balancer["ingress"].is_null())
        {
            status.insert("loadBalancer".into(), json!("some"));
        }
        if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
            for condition in conditions.iter_mut() {
                // It names the ReplicaSet of the rollout that was seen last.
                condition["message"] = Value::Null;
            }
            conditions.sort_by_cached_key(|condition| condition["type"].to_string());
        }
    }
}

/// Masks the UIDs that Jobs label their pods with.
fn mask_owners(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if name.ends_with("controller-uid") {
                    *field = Value::Null;
                }
                mask_owners(field);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask_owners),
        _ => {}
    }
}

fn pod(pod: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    spec["nodeName"] = pod["spec"]["nodeName"].is_string().into();
    // Of a set's pods, those with names of their own keep them.
    let name = if pod["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet" {
        pod["metadata"]["name"].clone()
    } else {
        Value::Null
    };
    json!({ "name": name, "labels": pod["metadata"]["labels"], "deleted": pod["metadata"]["deletionTimestamp"].is_string(),
        "spec": spec, "phase": pod["status"]["phase"] })
}

fn slice(slice: &Value) -> Value {
    let endpoints = slice["endpoints"].as_array().cloned().unwrap_or_default();
    let conditions: Vec<Value> = endpoints
        .iter()
        .map(|endpoint| endpoint["conditions"].clone())
        .collect();
    // A slice that is emptied keeps its ports, which are nobody's then.
    let ports = if endpoints.is_empty() {
        &Value::Null
    } else {
        &slice["ports"]
    };
    json!({ "ports": ports, "conditions": conditions, "type": slice["addressType"] })
}

/// Whose the addresses are is for [`crate::references`].
fn legacy(endpoints: &Value) -> Value {
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let subsets = endpoints["subsets"].as_array().cloned().unwrap_or_default();
    let subsets = subsets.iter().map(|subset| {
        json!({ "ports": subset["ports"], "ready": count(&subset["addresses"]), "not ready": count(&subset["notReadyAddresses"]) })
    });
    subsets.collect()
}
