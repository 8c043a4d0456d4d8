//! Short ways to write down what a controller would see.
#![allow(dead_code, unreachable_pub)] // each test file uses its part

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior, MetricSpec,
};
use serde_json::{Value, json};
use showrunner_autoscaling::hpa::{
    ContainerRequests, ContainerUsage, History, Observation, Phase, PodUsage, PodView, Readiness, ReadyCondition,
    Recommendation, Samples, ScaleEvent, ScaleView, Selector,
};

/// An instant to count from.
pub fn now() -> Timestamp {
    "2026-05-01T20:00:00Z".parse().unwrap()
}

/// `seconds` before [`now`].
pub fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

/// A metric of `spec.metrics`.
pub fn metric(value: Value) -> MetricSpec {
    serde_json::from_value(value).unwrap()
}

/// CPU at `percent` of requests.
pub fn cpu(percent: i32) -> MetricSpec {
    metric(json!({"type": "Resource", "resource":
        {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}}))
}

/// An External metric with a value (`Value`) or average (`AverageValue`) target.
pub fn external(type_: &str, target: &str) -> MetricSpec {
    let field = if type_ == "Value" { "value" } else { "averageValue" };
    metric(json!({"type": "External", "external":
        {"metric": {"name": "viewers"}, "target": {"type": type_, field: target}}}))
}

/// An autoscaler of `live/edge`.
pub fn hpa(min: i32, max: i32, metrics: Vec<MetricSpec>) -> HorizontalPodAutoscaler {
    let mut hpa: HorizontalPodAutoscaler = serde_json::from_value(json!({
        "metadata": {"name": "edge", "namespace": "live"},
        "spec": {"minReplicas": min, "maxReplicas": max,
                 "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "edge"}},
    }))
    .unwrap();
    hpa.spec.metrics = Some(metrics);
    hpa
}

/// Scale rules with a window and policies of (type, value, period in seconds).
pub fn rules(window: Option<i32>, select: Option<&str>, policies: &[(&str, i32, i32)]) -> HPAScalingRules {
    let policy = |(type_, value, period): &(&str, i32, i32)| HPAScalingPolicy {
        type_: (*type_).to_owned(),
        value: *value,
        period_seconds: *period,
    };
    HPAScalingRules {
        policies: (!policies.is_empty()).then(|| policies.iter().map(policy).collect()),
        select_policy: select.map(str::to_owned),
        stabilization_window_seconds: window,
        tolerance: None,
    }
}

/// `hpa` with a behavior.
pub fn with_behavior(
    mut hpa: HorizontalPodAutoscaler,
    scale_up: Option<HPAScalingRules>,
    scale_down: Option<HPAScalingRules>,
) -> HorizontalPodAutoscaler {
    hpa.spec.behavior = Some(HorizontalPodAutoscalerBehavior { scale_down, scale_up });
    hpa
}

/// A pod that has been ready for a day and requests a core.
pub fn pod(name: &str) -> PodView {
    PodView {
        name: name.to_owned(),
        phase: Phase::Running,
        start_time: Some(ago(86_400)),
        ready: Some(ReadyCondition {
            status: Readiness::True,
            last_transition: ago(86_390),
        }),
        containers: vec![ContainerRequests {
            name: "main".to_owned(),
            requests: [("cpu".to_owned(), 1000)].into(),
        }],
        ..PodView::default()
    }
}

/// `n` such pods, `pod-0` and on.
pub fn pods(n: usize) -> Vec<PodView> {
    (0..n).map(|at| pod(&format!("pod-{at}"))).collect()
}

/// A fresh CPU sample over 30 s.
pub fn sample(name: &str, milli: i64) -> PodUsage {
    PodUsage {
        pod: name.to_owned(),
        timestamp: now(),
        window: SignedDuration::from_secs(30),
        containers: vec![ContainerUsage {
            name: "main".to_owned(),
            usage: [("cpu".to_owned(), milli)].into(),
        }],
    }
}

/// Samples of `pod-0` and on.
pub fn samples(milli: &[i64]) -> Samples {
    Samples::of_resources(
        milli
            .iter()
            .enumerate()
            .map(|(at, milli)| sample(&format!("pod-{at}"), *milli))
            .collect(),
    )
}

/// What is seen of a target with `replicas`.
pub fn seen(replicas: i32, pods: Vec<PodView>, samples: Samples) -> Observation {
    let scale = ScaleView {
        spec_replicas: replicas,
        status_replicas: replicas,
        selector: Selector::Valid,
    };
    Observation {
        scale: Ok(scale),
        pods,
        samples,
    }
}

/// A memory of (replicas, age in seconds).
pub fn remembered(recommendations: &[(i32, i64)]) -> History {
    let all = recommendations.iter().map(|(replicas, age)| Recommendation {
        replicas: *replicas,
        at: ago(*age),
    });
    History {
        recommendations: Some(all.collect()),
        ..History::default()
    }
}

/// Scale events of (change, age in seconds).
pub fn events(all: &[(i32, i64)]) -> Vec<ScaleEvent> {
    all.iter()
        .map(|(change, age)| ScaleEvent {
            change: *change,
            at: ago(*age),
            outdated: false,
        })
        .collect()
}
