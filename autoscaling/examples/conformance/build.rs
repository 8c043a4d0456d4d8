//! From the fields of a case to the types of the crate.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, CrossVersionObjectReference, ExternalMetricSource, HPAScalingPolicy,
    HPAScalingRules, MetricIdentifier, MetricSpec, MetricTarget, ObjectMetricSource, PodsMetricSource,
    ResourceMetricSource,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};
use showrunner_autoscaling::hpa::{
    ContainerRequests, ContainerUsage, Phase, PodUsage, PodView, Readiness, ReadyCondition, Recommendation, ScaleEvent,
};
use showrunner_autoscaling::quantity::from_milli;

/// The instant every case is evaluated at. Any will do: ages are relative to it.
pub(crate) fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 50)
}

/// An age in seconds before now; `null` is Go's zero time, which only has to be long ago.
pub(crate) fn ago(age: &Value) -> Timestamp {
    match age.as_f64() {
        Some(seconds) => now() - SignedDuration::from_millis((seconds * 1000.0) as i64),
        None => Timestamp::UNIX_EPOCH,
    }
}

pub(crate) fn int(value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| format!("not an integer: {value}"))
}

pub(crate) fn int32(value: &Value) -> Result<i32, String> {
    i32::try_from(int(value)?).map_err(|error| error.to_string())
}

pub(crate) fn int_or(value: &Value, default: i64) -> i64 {
    value.as_i64().unwrap_or(default)
}

pub(crate) fn seconds(value: &Value, default: i64) -> SignedDuration {
    SignedDuration::from_secs(int_or(value, default))
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(crate) fn phase(value: &Value) -> Phase {
    match value.as_str() {
        Some("Pending") => Phase::Pending,
        Some("Running") | None => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some(_) => Phase::Unknown,
    }
}

pub(crate) fn readiness(ready: bool) -> Readiness {
    if ready { Readiness::True } else { Readiness::False }
}

/// A pod of the replica calculator's rows.
pub(crate) fn pod(value: &Value, index: usize) -> PodView {
    let requests = match value["request_m_per_container"].as_array() {
        Some(requests) => requests.iter().map(Value::as_i64).collect(),
        None => vec![None, None],
    };
    PodView {
        name: value["name"]
            .as_str()
            .map_or_else(|| format!("test-pod-{index}"), str::to_owned),
        phase: phase(&value["phase"]),
        deleting: value["deleting"].as_bool().unwrap_or(false),
        start_time: (value["has_start"] != json!(false)).then(|| ago(&value["start_age_s"])),
        ready: (!value["ready"].is_null()).then(|| ReadyCondition {
            status: readiness(value["ready"] == json!(true)),
            last_transition: ago(&value["transition_age_s"]),
        }),
        containers: containers(&requests),
        pod_level: None,
    }
}

pub(crate) fn containers(requests: &[Option<i64>]) -> Vec<ContainerRequests> {
    let name = |at: usize| format!("container{}", at + 1);
    let requests = requests.iter().enumerate();
    requests
        .map(|(at, request)| ContainerRequests {
            name: name(at),
            requests: request.map(|request| ("cpu".to_owned(), request)).into_iter().collect(),
        })
        .collect()
}

pub(crate) fn usage(pod: String, timestamp: Timestamp, window: SignedDuration, containers: &[i64]) -> PodUsage {
    let containers = containers.iter().enumerate();
    PodUsage {
        pod,
        timestamp,
        window,
        containers: containers
            .map(|(at, value)| ContainerUsage {
                name: format!("container{}", at + 1),
                usage: [("cpu".to_owned(), *value)].into(),
            })
            .collect(),
    }
}

/// A pod of the request rows, by way of a real API object.
pub(crate) fn api_pod(value: &Value) -> Result<PodView, String> {
    let resources = |request: &Value| match request.as_i64() {
        Some(request) => json!({"requests": {"cpu": format!("{request}m")}}),
        None => json!({}),
    };
    let container = |value: &Value| {
        let mut container = json!({"name": value["name"], "resources": resources(&value["request_m"])});
        if value["restartable"] == json!(true) {
            container["restartPolicy"] = json!("Always");
        }
        container
    };
    let mut spec = json!({
        "containers": list(&value["containers_m"]).iter().map(container).collect::<Vec<_>>(),
        "initContainers": list(&value["init_containers"]).iter().map(container).collect::<Vec<_>>(),
    });
    if !value["pod_level_request_m"].is_null() {
        spec["resources"] = resources(&value["pod_level_request_m"]);
    }
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": value["name"]}, "spec": spec}))
        .map_err(|error| error.to_string())?;
    Ok(PodView::from(&pod))
}

pub(crate) fn events(value: &Value) -> Result<Vec<ScaleEvent>, String> {
    list(value)
        .iter()
        .map(|event| {
            Ok(ScaleEvent {
                change: int32(&event["change"])?,
                at: ago(&event["age_s"]),
                outdated: event["outdated"].as_bool().unwrap_or(false),
            })
        })
        .collect()
}

pub(crate) fn recommendations(value: &Value) -> Result<Option<Vec<Recommendation>>, String> {
    let Some(all) = value.as_array() else { return Ok(None) };
    let one = |value: &Value| {
        Ok(Recommendation {
            replicas: int32(&value["replicas"])?,
            at: ago(&value["age_s"]),
        })
    };
    all.iter().map(one).collect::<Result<_, String>>().map(Some)
}

/// Scale rules as the API has them; `None` for `null`, which lets the defaults in.
pub(crate) fn rules(value: &Value) -> Result<Option<HPAScalingRules>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let policy = |policy: &Value| {
        Ok(HPAScalingPolicy {
            type_: text(&policy["type"]),
            value: int32(&policy["value"])?,
            period_seconds: int32(&policy["period_s"])?,
        })
    };
    Ok(Some(HPAScalingRules {
        policies: value["policies"]
            .as_array()
            .map(|policies| policies.iter().map(policy).collect::<Result<_, String>>())
            .transpose()?,
        select_policy: value["select_policy"].as_str().map(str::to_owned),
        stabilization_window_seconds: value["stabilization_window_s"].as_i64().map(|seconds| seconds as i32),
        tolerance: value["tolerance"]
            .as_f64()
            .map(|tolerance| Quantity(tolerance.to_string())),
    }))
}

/// An entry of `spec.metrics`.
pub(crate) fn metric(value: &Value) -> Result<MetricSpec, String> {
    let first = |names: [&str; 2]| names.iter().find_map(|name| value[*name].as_i64());
    let mut target = MetricTarget::default();
    if let Some(percent) = value["target_utilization_pct"].as_i64() {
        "Utilization".clone_into(&mut target.type_);
        target.average_utilization = Some(i32::try_from(percent).map_err(|error| error.to_string())?);
    } else if let Some(average) = value["target_average_m"].as_i64() {
        "AverageValue".clone_into(&mut target.type_);
        target.average_value = Some(from_milli(average));
    } else if let Some(plain) = first(["target_value_m", "target_m"]) {
        "Value".clone_into(&mut target.type_);
        target.value = Some(from_milli(plain));
    }
    let metric = MetricIdentifier {
        name: text(&value["name"]),
        selector: None,
    };
    let type_ = text(&value["type"]);
    let mut spec = MetricSpec {
        type_: type_.clone(),
        ..MetricSpec::default()
    };
    match type_.as_str() {
        "Resource" => {
            spec.resource = Some(ResourceMetricSource {
                name: text(&value["name"]),
                target,
            });
        }
        "ContainerResource" => {
            spec.container_resource = Some(ContainerResourceMetricSource {
                container: text(&value["container"]),
                name: text(&value["name"]),
                target,
            });
        }
        "Pods" => {
            target.average_value = target.average_value.or(target.value.take());
            spec.pods = Some(PodsMetricSource { metric, target });
        }
        "Object" => {
            let described_object = CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: "some-deployment".to_owned(),
            };
            spec.object = Some(ObjectMetricSource {
                described_object,
                metric,
                target,
            });
        }
        "External" => {
            spec.external = Some(ExternalMetricSource { metric, target });
        }
        _ => {}
    }
    Ok(spec)
}
