//! Binding and evicting pods.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Call, answer};
use crate::body::ApiBody;
use crate::engine::delete::DeleteOptions;
use crate::engine::write::Proposal;
use crate::engine::{WriteOptions, now};
use crate::error::{ApiError, ApiResult, Cause};
use crate::selector::LabelSelector;
use crate::store::object::Stored;

fn success() -> Response<ApiBody> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    answer::json_bytes(StatusCode::CREATED, Bytes::from(status.to_string()))
}

/// Whether a node has a pod, as those find out who would talk to it there.
pub(crate) fn locate(call: &Call) -> ApiResult<()> {
    let pod = call.engine.store.get(&call.def.storage, call.namespace(), call.name());
    let pod = pod.ok_or_else(|| call.def.not_found(call.name()))?;
    let node = pod.value["spec"]["nodeName"].as_str().unwrap_or_default();
    if node.is_empty() {
        let message = format!("pod {} does not have a host assigned", call.name());
        return Err(ApiError::bad_request(message));
    }
    if call.engine.store.get("/nodes", "", node).is_none() {
        // In upstream's words, which take the node for a pod.
        return Err(call.def.not_found(node));
    }
    Ok(())
}

/// POST of a Binding: the scheduler's decision.
pub(crate) fn bind(call: &Call) -> ApiResult<Response<ApiBody>> {
    let (def, binding) = (&call.def, call.object()?);
    let node = binding["target"]["name"].as_str().unwrap_or_default().to_owned();
    if node.is_empty() {
        let cause = Cause::required("target.name", "");
        return Err(ApiError::invalid("", "Binding", call.name(), &[cause]));
    }
    call.engine
        .update(def, call.namespace(), call.name(), &call.write_options()?, |current| {
            let conflict = |why: String| Err(ApiError::conflict("", "pods/binding", call.name(), &why));
            if current["metadata"]["deletionTimestamp"].is_string() {
                return conflict(format!(
                    "pod {} is being deleted, cannot be assigned to a host",
                    call.name()
                ));
            }
            if let Some(taken) = current["spec"]["nodeName"].as_str().filter(|taken| !taken.is_empty()) {
                return conflict(format!("pod {} is already assigned to node {taken:?}", call.name()));
            }
            let mut object = current.clone();
            object["spec"]["nodeName"] = node.as_str().into();
            let annotations = binding["metadata"]["annotations"].as_object().into_iter().flatten();
            for (key, value) in annotations {
                object["metadata"]["annotations"][key] = value.clone();
            }
            for (key, value) in topology(call, &node) {
                object["metadata"]["labels"][key] = value;
            }
            let scheduled =
                json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now()});
            let conditions = &mut object["status"]["conditions"];
            if !conditions.is_array() {
                *conditions = json!([]);
            }
            if let Some(list) = conditions.as_array_mut() {
                list.retain(|condition| condition["type"] != "PodScheduled");
                list.push(scheduled);
            }
            // Nobody owns what a binding writes.
            Ok(Proposal { object, managed: true })
        })?;
    Ok(success())
}

/// The labels of a node that its pods get, as the `PodTopologyLabels` admission plugin gives them (Kubernetes 1.35).
fn topology(call: &Call, node: &str) -> Vec<(&'static str, Value)> {
    let Some(node) = call.engine.store.get("/nodes", "", node) else {
        return Vec::new();
    };
    let label = |key: &'static str| Some((key, node.value["metadata"]["labels"].get(key)?.clone()));
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"]
        .into_iter()
        .filter_map(label)
        .collect()
}

/// POST of an Eviction: a delete that respects disruption budgets.
pub(crate) fn evict(call: &Call) -> ApiResult<Response<ApiBody>> {
    let (def, eviction) = (&call.def, call.object()?);
    if eviction["metadata"]["name"] != call.name() {
        return Err(ApiError::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let pod = call.engine.store.get(&def.storage, call.namespace(), call.name());
    let pod = pod.ok_or_else(|| def.not_found(call.name()))?;
    let mut options = DeleteOptions::from_body(&eviction["deleteOptions"]);
    options.dry_run |= call.query.dry_run("CreateOptions")?;
    options.check()?;
    let phase = pod.value["status"]["phase"].as_str().unwrap_or_default();
    if !pod.deleting() && !matches!(phase, "Pending" | "Succeeded" | "Failed") {
        take_from_budget(call, &pod, options.dry_run)?;
    }
    call.engine.delete(def, call.namespace(), call.name(), &options)?;
    Ok(success())
}

fn take_from_budget(call: &Call, pod: &Stored, dry_run: bool) -> ApiResult<()> {
    let snapshot = call.engine.registry.snapshot();
    let Some(budgets) = snapshot.find("policy", "v1", "poddisruptionbudgets") else {
        return Ok(());
    };
    let matching = call
        .engine
        .store
        .list(&budgets.storage, Some(call.namespace()), None, None, |budget| {
            let selector = &budget.value["spec"]["selector"];
            selector.is_object() && LabelSelector::from_object(selector).matches(&pod.value)
        });
    let budget = match matching.items.as_slice() {
        [] => return Ok(()),
        [only] => only,
        _ => {
            let message =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(ApiError {
                code: 500,
                reason: "InternalError",
                message: message.to_owned(),
                details: None,
            });
        }
    };
    let name = budget.value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let number = |value: &Value, field: &str| value["status"][field].as_i64().unwrap_or_default();
    let conditions = pod.value["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions
        .into_iter()
        .any(|c| c["type"] == "Ready" && c["status"] == "True");
    let healthy_enough = number(&budget.value, "desiredHealthy") > 0
        && number(&budget.value, "currentHealthy") >= number(&budget.value, "desiredHealthy");
    if !ready && healthy_enough {
        // An unhealthy pod does not count for the budget, so losing it costs nothing.
        return Ok(());
    }
    let options = WriteOptions {
        dry_run,
        subresource: "status".to_owned(),
        ..call.write_options()?
    };
    call.engine
        .update(budgets, call.namespace(), &name, &options, |current| {
            let generation = current["metadata"]["generation"].as_i64().unwrap_or_default();
            if number(current, "observedGeneration") < generation {
                return Err(ApiError::too_many_requests(
                    "Cannot evict pod as it would violate the pod's disruption budget.",
                    Some(10),
                    Some(budget_cause(format!(
                        "The disruption budget {name} is still being processed by the server."
                    ))),
                ));
            }
            if number(current, "disruptionsAllowed") <= 0 {
                let message = format!(
                    "The disruption budget {name} needs {} healthy pods and has {} currently",
                    number(current, "desiredHealthy"),
                    number(current, "currentHealthy")
                );
                return Err(ApiError::too_many_requests(
                    "Cannot evict pod as it would violate the pod's disruption budget.",
                    None,
                    Some(budget_cause(message)),
                ));
            }
            let mut object = current.clone();
            object["status"]["disruptionsAllowed"] = (number(current, "disruptionsAllowed") - 1).into();
            object["status"]["disruptedPods"][call.name()] = now().into();
            Ok(Proposal { object, managed: false })
        })?;
    Ok(())
}

fn budget_cause(message: String) -> Cause {
    Cause {
        reason: "DisruptionBudget",
        message,
        field: String::new(),
    }
}
