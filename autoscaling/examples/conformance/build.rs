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

/// An age in seconds before now, negative for what is yet to come; `null` is Go's zero time, which only has to be long ago.
pub(crate) fn ago(age: &Value) -> Timestamp {
    let Some(seconds) = age.as_f64() else {
        return Timestamp::UNIX_EPOCH;
    };
    let age = SignedDuration::from_millis((seconds * 1000.0) as i64);
    now()
        .checked_sub(age)
        .unwrap_or(if seconds > 0.0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// An integer; `5.0` is one too.
pub(crate) fn int(value: &Value) -> Result<i64, String> {
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
    value
        .as_i64()
        .or_else(|| value.as_f64().and_then(whole))
        .ok_or_else(|| format!("not a 64-bit integer: {value}"))
}

/// The first of several names that the input has: files differ in how much of a name they write.
pub(crate) fn first<'a>(input: &'a Value, names: &[&str]) -> &'a Value {
    let found = names.iter().map(|name| &input[*name]).find(|value| !value.is_null());
    found.unwrap_or(&Value::Null)
}

/// A size that stands for as many pods. Beyond the limit nobody has that many, and neither has this machine's memory.
pub(crate) fn crowd(value: &Value) -> Result<usize, String> {
    const MOST: i64 = 1_000_000;
    match int_or(value, 0) {
        size @ ..=MOST => Ok(usize::try_from(size).unwrap_or(0)),
        size => Err(format!("{size} pods cannot be made up; list those there are")),
    }
}

pub(crate) fn int32(value: &Value) -> Result<i32, String> {
    i32::try_from(int(value)?).map_err(|error| error.to_string())
}

pub(crate) fn int_or(value: &Value, default: i64) -> i64 {
    int(value).unwrap_or(default)
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
        stabilization_window_seconds: (!value["stabilization_window_s"].is_null())
            .then(|| int32(&value["stabilization_window_s"]))
            .transpose()?,
        tolerance: match &value["tolerance"] {
            Value::Number(tolerance) => Some(Quantity(tolerance.to_string())),
            Value::String(tolerance) => Some(Quantity(tolerance.clone())),
            _ => None,
        },
    }))
}

/// An entry of `spec.metrics`.
pub(crate) fn metric(value: &Value) -> Result<MetricSpec, String> {
    let mut target = MetricTarget::default();
    if !value["target_utilization_pct"].is_null() {
        "Utilization".clone_into(&mut target.type_);
        target.average_utilization = Some(int32(&value["target_utilization_pct"])?);
    } else if !value["target_average_m"].is_null() {
        "AverageValue".clone_into(&mut target.type_);
        target.average_value = Some(from_milli(int(&value["target_average_m"])?));
    } else if !first(value, &["target_value_m", "target_m"]).is_null() {
        "Value".clone_into(&mut target.type_);
        target.value = Some(from_milli(int(first(value, &["target_value_m", "target_m"]))?));
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
