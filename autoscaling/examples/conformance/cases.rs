//! The kinds of conformance case and how each is evaluated.
//!
//! A case is `{id, kind, input, expected}`; every field of `expected` is compared with the field of the same name in
//! what was computed. `error_contains` expects an error with that text, `error: true` any. A case that expects nothing
//! fails: it would pass whatever the crate did.

use std::collections::BTreeMap;
use std::panic::catch_unwind;

use jiff::SignedDuration;
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerSpec, HorizontalPodAutoscalerStatus,
};
use serde_json::{Value, json};
use showrunner_autoscaling::hpa::{
    Answer, Bounds, Context, Direction, Group, History, Named, Observation, PodUsage, PodValue, PodView,
    ReadyCondition, Rules, Samples, ScaleView, Selector, Settings, Tolerances, calculate_requests, change_within,
    evaluate, group_pods, limit_behavior, limit_plain, propose, usage_ratio, utilization_ratio,
};

use crate::build::{
    ago, api_pod, containers, crowd, events, first, int, int_or, int32, list, metric, now, phase, pod, readiness,
    recommendations, rules, seconds, text, usage,
};

/// One case that was run.
pub(crate) struct Outcome {
    /// Kind and id.
    pub(crate) id: String,
    /// What differed, or `None`.
    pub(crate) failure: Option<String>,
}

/// Runs all cases of a file's text.
pub(crate) fn run_text(file: &str) -> Result<Vec<Outcome>, String> {
    let file: Value = serde_json::from_str(file).map_err(|error| format!("not JSON: {error}"))?;
    let cases = file["cases"].as_array().ok_or("no list \"cases\"")?;
    Ok(cases.iter().map(run).collect())
}

fn run(case: &Value) -> Outcome {
    let (kind, expected) = (text(&case["kind"]), &case["expected"]);
    // A case that makes the crate panic has failed; the others still count.
    let result = catch_unwind(|| compute(&kind, &case["input"])).unwrap_or_else(|_| Err("it panicked".to_owned()));
    let nothing = expected.as_object().is_none_or(serde_json::Map::is_empty);
    let error = match &expected["error"] {
        Value::Bool(true) => Some(""),
        text => expected["error_contains"].as_str().or(text.as_str()),
    };
    let failure = match (&result, error) {
        _ if nothing => Some("  nothing is expected of it".to_owned()),
        (Err(error), Some(part)) if error.contains(part) && error != "it panicked" => None,
        (Ok(actual), None) => {
            let differing: Vec<String> = expected
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(name, _)| *name != "error")
                .filter(|(name, expected)| !agrees(name, expected, &actual[name.as_str()]))
                .map(|(name, expected)| format!("  {name}: expected {expected}, actual {}", actual[name.as_str()]))
                .collect();
            (!differing.is_empty()).then(|| differing.join("\n"))
        }
        (Err(error), _) => Some(format!("  expected {expected}, actual error: {error}")),
        (Ok(actual), Some(_)) => Some(format!("  expected {expected}, actual {actual}")),
    };
    Outcome {
        id: format!("{kind} {}", text(&case["id"])),
        failure,
    }
}

fn agrees(name: &str, expected: &Value, actual: &Value) -> bool {
    match (name, expected) {
        // Rows that do not say what is remembered.
        ("recommendations_after", Value::Null) => true,
        ("conditions", Value::Object(all)) => all.iter().all(|(name, expected)| *expected == actual[name.as_str()]),
        ("unready" | "missing" | "ignored", _) => sorted(expected) == sorted(actual),
        (_, Value::Number(number)) if number.is_f64() => {
            let difference = expected
                .as_f64()
                .zip(actual.as_f64())
                .map(|(left, right)| (left - right).abs());
            difference.is_some_and(|difference| difference <= 1e-9)
        }
        _ => expected == actual,
    }
}

fn sorted(value: &Value) -> Vec<String> {
    let mut all: Vec<String> = list(value).iter().map(text).collect();
    all.sort();
    all
}

fn compute(kind: &str, input: &Value) -> Result<Value, String> {
    match kind {
        "controller" => controller(input),
        "resource_utilization" => resource_utilization(input),
        "metric" => plain_metric(input),
        "group_pods" => Ok(groups(input)),
        "calculate_requests" => requests(input),
        "utilization_ratio" => {
            let percent = int32(&input["target_utilization_pct"])?;
            let ratio = utilization_ratio(&map(&input["metrics_m"])?, &map(&input["requests_m"])?, percent)
                .map_err(|error| error.to_string())?;
            Ok(json!({"ratio": ratio.ratio, "utilization_pct": ratio.percent, "raw_average_m": ratio.average_m}))
        }
        "metric_usage_ratio" => {
            let target = first(
                input,
                &["target_m", "target_usage_m", "target_value_m", "target_average_m"],
            );
            let usage = usage_ratio(&map(&input["metrics_m"])?, int(target)?).ok_or("no metrics")?;
            let average = usage.average_m;
            Ok(json!({
                "ratio": usage.ratio,
                "usage_m": average, "current_usage_m": average, "average_m": average, "raw_average_m": average,
            }))
        }
        "convert_no_behavior" => {
            let settings = Settings {
                scale_up_limit_factor: input["scale_up_limit_factor"].as_f64().unwrap_or(2.0),
                scale_up_limit_minimum: input["scale_up_limit_minimum"].as_f64().unwrap_or(4.0),
                ..Settings::default()
            };
            let (replicas, limit) = limit_plain(
                int32(&input["current"])?,
                int32(&input["desired"])?,
                bounds(input)?,
                &settings,
            );
            Ok(json!({"replicas": replicas, "condition": limit.reason()}))
        }
        "scale_up_limit" => limit(input, Direction::Up),
        "scale_down_limit" => limit(input, Direction::Down),
        "stabilize_no_behavior" => {
            let window = seconds(&input["downscale_stabilization_s"], 300);
            let mut history = History {
                recommendations: recommendations(&input["recommendations"])?,
                ..History::default()
            };
            let replicas = history.stabilize_down(int32(&input["desired"])?, window, now());
            Ok(json!({"replicas": replicas, "log_length": history.recommendations.map_or(0, |all| all.len())}))
        }
        "stabilize_behavior" => stabilize(input),
        "behavior_rate" => {
            let (up, down) = (rules(&input["scale_up_rules"])?, rules(&input["scale_down_rules"])?);
            let (replicas, limit) = limit_behavior(
                int32(&input["current"])?,
                int32(&input["desired"])?,
                bounds(input)?,
                &Rules::new(Direction::Up, up.as_ref(), 300),
                &Rules::new(Direction::Down, down.as_ref(), 300),
                &history(input)?,
                now(),
            );
            Ok(json!({"replicas": replicas, "condition": limit.reason()}))
        }
        "store_scale_event" => store_event(input),
        other => Err(format!("unknown kind {other:?}")),
    }
}

fn map(value: &Value) -> Result<BTreeMap<String, i64>, String> {
    let all = value.as_object().into_iter().flatten();
    all.map(|(name, value)| Ok((name.clone(), int(value)?))).collect()
}

fn bounds(input: &Value) -> Result<Bounds, String> {
    Ok(Bounds {
        min: if input["min"].is_null() {
            1
        } else {
            int32(&input["min"])?
        },
        max: int32(&input["max"])?,
    })
}

fn history(input: &Value) -> Result<History, String> {
    Ok(History {
        recommendations: None,
        up: events(&input["up_events"])?,
        down: events(&input["down_events"])?,
    })
}

fn limit(input: &Value, direction: Direction) -> Result<Value, String> {
    let (spec, history) = (rules(&input["rules"])?, history(input)?);
    let rules = Rules::new(direction, spec.as_ref(), 300);
    Ok(json!({"limit": rules.limit(int32(&input["current"])?, &history.up, &history.down, now(), |_| {})}))
}

fn stabilize(input: &Value) -> Result<Value, String> {
    let window = |value: &Value| HPAScalingRules {
        stabilization_window_seconds: value.as_i64().and_then(|seconds| i32::try_from(seconds).ok()),
        ..HPAScalingRules::default()
    };
    let (up, down) = (
        window(&input["scale_up_stabilization_s"]),
        window(&input["scale_down_stabilization_s"]),
    );
    let mut history = History {
        recommendations: recommendations(&input["recommendations"])?,
        ..History::default()
    };
    let stabilized = history.stabilize(
        int32(&input["current"])?,
        int32(&input["desired"])?,
        &Rules::new(Direction::Up, Some(&up), 300),
        &Rules::new(Direction::Down, Some(&down), 300),
        now(),
    );
    let after: Vec<i32> = history
        .recommendations
        .iter()
        .flatten()
        .map(|past| past.replicas)
        .collect();
    Ok(json!({"replicas": stabilized.replicas, "recommendations_after": after}))
}

fn store_event(input: &Value) -> Result<Value, String> {
    let up = input["direction"] == json!("up");
    let all = events(&input["events"])?;
    let change = change_within(&all, int32(&input["change_window_s"])?, now());
    let (direction, mut history) = if up {
        (
            Direction::Up,
            History {
                up: all,
                ..History::default()
            },
        )
    } else {
        (
            Direction::Down,
            History {
                down: all,
                ..History::default()
            },
        )
    };
    // Without `behavior` the controller stores nothing.
    if let Some(spec) = rules(&input["rules"])? {
        history.store_event(
            &Rules::new(direction, Some(&spec), 300),
            int32(&input["replica_change"])?,
            now(),
        );
    }
    let after = if up { history.up } else { history.down };
    let after: Vec<Value> = after
        .iter()
        .map(|event| json!({"change": event.change, "outdated": event.outdated}))
        .collect();
    Ok(json!({"change_in_window": change, "events_after": after}))
}

fn calculator_settings(input: &Value) -> Settings {
    Settings {
        cpu_initialization_period: seconds(&input["cpu_initialization_period_s"], 120),
        initial_readiness_delay: seconds(&input["delay_of_initial_readiness_s"], 10),
        pod_level_resources: input["pod_level_resources_gate"].as_bool().unwrap_or(true),
        ..Settings::default()
    }
}

fn tolerances(input: &Value) -> Tolerances {
    let both = input["tolerance"].as_f64().unwrap_or(0.1);
    Tolerances {
        down: input["tolerance_down"].as_f64().unwrap_or(both),
        up: input["tolerance_up"].as_f64().unwrap_or(both),
    }
}

fn calculate(input: &Value, spec: &Value, pods: &[PodView], samples: &Samples) -> Result<Value, String> {
    let settings = calculator_settings(input);
    let current = int32(&input["current_replicas"])?;
    let context = Context {
        pods,
        spec_replicas: current,
        status_replicas: match &input["status_replicas"] {
            Value::Null => current,
            status => int32(status)?,
        },
        tolerances: tolerances(input),
        settings: &settings,
        now: now(),
    };
    let proposal = propose(&metric(spec)?, "test-namespace", &context, samples)?;
    Ok(json!({
        "replicas": proposal.replicas,
        "utilization_pct": proposal.utilization_percent,
        "raw_value_m": proposal.value_m,
        "usage_m": proposal.value_m,
    }))
}

fn resource_utilization(input: &Value) -> Result<Value, String> {
    let pods: Vec<PodView> = list(&input["pods"])
        .iter()
        .enumerate()
        .map(|(at, value)| pod(value, at))
        .collect();
    let window = seconds(&input["metric_window_s"], 60);
    let sample = |value: &Value| {
        let containers: Vec<i64> = list(&value["usage_m_per_container"])
            .iter()
            .filter_map(Value::as_i64)
            .collect();
        usage(text(&value["pod"]), ago(&value["timestamp_age_s"]), window, &containers)
    };
    let samples = Samples::of_resources(list(&input["metrics"]).iter().map(sample).collect());
    let container = text(&input["container"]);
    let spec = json!({
        "type": if container.is_empty() { "Resource" } else { "ContainerResource" },
        "name": input["resource"],
        "container": container,
        "target_utilization_pct": input["target_utilization_pct"],
        "target_average_m": input["target_average_m"],
    });
    calculate(input, &spec, &pods, &samples)
}

fn pod_values(levels: &[i64], names: &[PodView], at: jiff::Timestamp) -> Vec<PodValue> {
    let name = |index: usize| {
        names
            .get(index)
            .map_or_else(|| format!("test-pod-{index}"), |pod| pod.name.clone())
    };
    let value = |(index, value): (usize, &i64)| PodValue {
        pod: name(index),
        timestamp: at,
        window: SignedDuration::from_mins(1),
        value: *value,
    };
    levels.iter().enumerate().map(value).collect()
}

fn named<T>(name: &Value, answer: Answer<T>) -> Vec<Named<T>> {
    vec![Named {
        name: text(name),
        selector: None,
        object: None,
        answer,
    }]
}

fn plain_metric(input: &Value) -> Result<Value, String> {
    let pods: Vec<PodView> = match input["pods"].as_array() {
        Some(pods) => pods.iter().enumerate().map(|(at, value)| pod(value, at)).collect(),
        None => (0..crowd(&input["current_replicas"])?)
            .map(|at| pod(&json!({"ready": true}), at))
            .collect(),
    };
    let levels = list(&input["levels_m"])
        .iter()
        .map(int)
        .collect::<Result<Vec<_>, _>>()?;
    let name = json!("qps");
    let kind = text(&input["metric_type"]);
    let (type_, target) = match kind.as_str() {
        "pods_average" | "pods" => ("Pods", "target_average_m"),
        "object_value" | "object" => ("Object", "target_value_m"),
        "object_average" | "object_per_pod" => ("Object", "target_average_m"),
        "external_value" | "external" => ("External", "target_value_m"),
        "external_average" | "external_per_pod" => ("External", "target_average_m"),
        other => return Err(format!("unknown metric_type {other:?}")),
    };
    let samples = Samples {
        pods: named(&name, Ok(pod_values(&levels, &pods, ago(&Value::Null)))),
        object: levels.first().map_or_else(Vec::new, |level| named(&name, Ok(*level))),
        external: named(&name, Ok(levels)),
        ..Samples::default()
    };
    calculate(
        input,
        &json!({"type": type_, "name": "qps", target: input["target_m"]}),
        &pods,
        &samples,
    )
}

fn groups(input: &Value) -> Value {
    let pods: Vec<PodView> = list(&input["pods"])
        .iter()
        .enumerate()
        .map(|(at, value)| pod(value, at))
        .collect();
    let sample = |value: &Value| PodValue {
        pod: text(&value["pod"]),
        timestamp: ago(&value["timestamp_age_s"]),
        window: seconds(&value["window_s"], 0),
        value: int_or(&value["value"], 0),
    };
    let samples: Vec<PodValue> = list(&input["metrics"]).iter().map(sample).collect();
    let groups = group_pods(
        &pods,
        &samples,
        &text(&input["resource"]),
        &calculator_settings(input),
        now(),
    );
    let names = |of: fn(Group) -> bool| -> Vec<&str> {
        pods.iter()
            .zip(&groups)
            .filter(|(_, group)| of(**group))
            .map(|(pod, _)| pod.name.as_str())
            .collect()
    };
    json!({
        "ready_count": names(|group| group == Group::Ready).len(),
        "unready": names(Group::is_unready),
        "missing": names(|group| group == Group::Missing),
        "ignored": names(Group::is_ignored),
    })
}

fn requests(input: &Value) -> Result<Value, String> {
    let pods = list(&input["pods"])
        .iter()
        .map(api_pod)
        .collect::<Result<Vec<_>, _>>()?;
    let container = text(&input["container"]);
    let container = (!container.is_empty()).then_some(container.as_str());
    let gate = input["pod_level_resources_gate"].as_bool().unwrap_or(true);
    let requests = calculate_requests(&pods, &text(&input["resource"]), container, gate);
    Ok(json!({"requests_m": requests.map_err(|error| error.to_string())?}))
}

/// The pods of a whole reconcile: two containers each, which share the request and the usage.
fn controller_pods(input: &Value) -> Result<Vec<PodView>, String> {
    let requests: Vec<i64> = match input["pod_cpu_requests_m"].as_array() {
        Some(requests) => requests.iter().map(|request| int_or(request, 0)).collect(),
        None => vec![1000; crowd(status_replicas(input))?],
    };
    let pods = requests.iter().enumerate();
    let pods = pods.map(|(at, request)| {
        let start = ago(&input["pod_start_age_s"][at]);
        PodView {
            name: format!("test-pod-{at}"),
            phase: phase(&input["pod_phase"][at]),
            deleting: input["pod_deleting"][at].as_bool().unwrap_or(false),
            start_time: Some(start),
            ready: Some(ReadyCondition {
                status: readiness(input["pod_ready"][at].as_bool().unwrap_or(true)),
                last_transition: start,
            }),
            containers: containers(&[Some(request / 2), Some(request / 2)]),
            pod_level: None,
        }
    });
    Ok(pods.collect())
}

/// What the target has; as much as it should have where nothing is said.
fn status_replicas(input: &Value) -> &Value {
    first(input, &["status_replicas", "spec_replicas"])
}

fn answer<T>(failing: bool, value: T) -> Answer<T> {
    if failing {
        Err("something went wrong".to_owned())
    } else {
        Ok(value)
    }
}

fn controller_samples(input: &Value, metrics: &[Value], pods: &[PodView]) -> Result<Samples, String> {
    let failing = |types: &[&str]| {
        let failing = list(&input["failing_metric_sources"]);
        failing.iter().any(|failing| types.iter().any(|name| failing == name))
    };
    let levels = list(&input["reported_levels_m"])
        .iter()
        .map(int)
        .collect::<Result<Vec<_>, _>>()?;
    let minute = SignedDuration::from_mins(1);
    let resource: Vec<PodUsage> = levels
        .iter()
        .enumerate()
        .map(|(at, level)| usage(format!("test-pod-{at}"), now(), minute, &[level / 2, level / 2]))
        .collect();
    let mut samples = Samples {
        resource: answer(failing(&["Resource", "ContainerResource"]), resource),
        ..Samples::default()
    };
    for metric in metrics {
        match metric["type"].as_str() {
            Some("Pods") => {
                let values = pod_values(&levels, pods, now());
                samples
                    .pods
                    .extend(named(&metric["name"], answer(failing(&["Pods"]), values)));
            }
            Some("Object") => {
                let value = answer(failing(&["Object"]), levels.first().copied().unwrap_or_default());
                samples.object.extend(named(&metric["name"], value));
            }
            Some("External") => {
                samples
                    .external
                    .extend(named(&metric["name"], answer(failing(&["External"]), levels.clone())));
            }
            _ => {}
        }
    }
    Ok(samples)
}

fn controller(input: &Value) -> Result<Value, String> {
    let defaults = &input["defaults"];
    let settings = Settings {
        tolerance: defaults["tolerance"].as_f64().unwrap_or(0.1),
        cpu_initialization_period: seconds(&defaults["cpu_initialization_period_s"], 120),
        initial_readiness_delay: seconds(&defaults["delay_of_initial_readiness_s"], 10),
        downscale_stabilization: seconds(&defaults["downscale_stabilization_s"], 300),
        scale_up_limit_factor: defaults["scale_up_limit_factor_no_behavior"].as_f64().unwrap_or(8.0),
        scale_up_limit_minimum: defaults["scale_up_limit_minimum_no_behavior"].as_f64().unwrap_or(4.0),
        ..Settings::default()
    };
    let unset = [json!({"type": "Resource", "name": "cpu"})];
    let metrics = Some(list(&input["metrics_spec"]))
        .filter(|metrics| !metrics.is_empty())
        .unwrap_or(&unset);
    let (scale_up, scale_down) = (rules(&input["scale_up_rules"])?, rules(&input["scale_down_rules"])?);
    let behavior = scale_up.is_some() || scale_down.is_some();
    let spec_replicas = int32(&input["spec_replicas"])?;
    let hpa = HorizontalPodAutoscaler {
        spec: HorizontalPodAutoscalerSpec {
            behavior: behavior.then_some(HorizontalPodAutoscalerBehavior { scale_down, scale_up }),
            max_replicas: int32(&input["max"])?,
            metrics: Some(metrics.iter().map(metric).collect::<Result<_, _>>()?),
            min_replicas: (!input["min"].is_null()).then(|| int32(&input["min"])).transpose()?,
            scale_target_ref: CrossVersionObjectReference::default(),
        },
        status: Some(HorizontalPodAutoscalerStatus {
            current_replicas: Some(spec_replicas),
            desired_replicas: spec_replicas,
            ..HorizontalPodAutoscalerStatus::default()
        }),
        ..HorizontalPodAutoscaler::default()
    };
    let selector = match input["selector"].as_str() {
        Some("missing") => Selector::Missing,
        Some(text) if text.contains("same") || text.contains("overlapping") => Selector::Ambiguous {
            selector: "name=test-pod".to_owned(),
            autoscalers: vec![
                "test-namespace/test-hpa".to_owned(),
                "test-namespace/test-hpa-2".to_owned(),
            ],
        },
        Some(text) if text.contains("disjoint") => Selector::Valid,
        Some(other) => Selector::Invalid(other.to_owned()),
        None => Selector::Valid,
    };
    let pods = controller_pods(input)?;
    let scale_error = input["scale_api_error"].as_str();
    let observation = Observation {
        scale: match scale_error {
            Some("get") => Err("something went wrong".to_owned()),
            _ => Ok(ScaleView {
                spec_replicas,
                status_replicas: int32(status_replicas(input))?,
                selector,
            }),
        },
        samples: controller_samples(input, metrics, &pods)?,
        pods,
    };
    let mut history = History {
        recommendations: recommendations(&input["recommendations"])?,
        up: events(&input["up_events"])?,
        down: events(&input["down_events"])?,
    };
    let mut decision = evaluate(&hpa, &observation, &mut history, &settings, now());
    if scale_error == Some("update") {
        decision.scale_refused("something went wrong");
    } else {
        decision.scale_written(&hpa, &mut history, &settings, now());
    }
    let status = decision.status(&hpa, now());
    let conditions: serde_json::Map<String, Value> = status
        .conditions
        .iter()
        .flatten()
        .map(|condition| (condition.type_.clone(), json!([condition.status, condition.reason])))
        .collect();
    let cpu = status
        .current_metrics
        .iter()
        .flatten()
        .filter_map(|metric| metric.resource.as_ref())
        .find(|resource| resource.name == "cpu")
        .and_then(|resource| resource.current.average_utilization);
    Ok(json!({
        "desired_replicas": status.desired_replicas,
        "conditions": conditions,
        "action": format!("{:?}", decision.action()),
        "reconcile_error": decision.error.is_some(),
        "cpu_utilization_pct": cpu,
    }))
}
