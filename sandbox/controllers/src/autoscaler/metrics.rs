//! Samples of `metrics.k8s.io`, as plain JSON.

use crate::context::within;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use showrunner_autoscaling::hpa::{ContainerUsage, PodUsage};
use showrunner_autoscaling::quantity::parse_milli;

/// What the pods under `selector` use; the error's text is part of the autoscaler's status.
pub(super) async fn pods(client: &Client, namespace: &str, selector: &str) -> Result<Vec<PodUsage>, String> {
    let resource = ApiResource {
        group: "metrics.k8s.io".into(),
        version: "v1beta1".into(),
        api_version: "metrics.k8s.io/v1beta1".into(),
        kind: "PodMetrics".into(),
        plural: "pods".into(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    match within(api.list(&ListParams::default().labels(selector))).await {
        Ok(list) if list.items.is_empty() => Err("no metrics returned from resource metrics API".into()),
        Ok(list) => Ok(list
            .items
            .iter()
            .filter_map(|item| pod(&item.name_any(), &item.data))
            .collect()),
        Err(error) => Err(format!("unable to fetch metrics from resource metrics API: {error}")),
    }
}

fn pod(name: &str, data: &Value) -> Option<PodUsage> {
    let timestamp: Timestamp = data["timestamp"].as_str()?.parse().ok()?;
    let container = |item: &Value| {
        let usage = item["usage"].as_object()?;
        let amount = |(name, value): (&String, &Value)| Some((name.clone(), parse_milli(value.as_str()?).ok()?));
        Some(ContainerUsage {
            name: item["name"].as_str()?.into(),
            usage: usage.iter().filter_map(amount).collect(),
        })
    };
    Some(PodUsage {
        pod: name.into(),
        timestamp,
        window: go_duration(data["window"].as_str().unwrap_or("0s")).unwrap_or(SignedDuration::ZERO),
        containers: data["containers"].as_array()?.iter().filter_map(container).collect(),
    })
}

/// "1m30.5s" and the like.
fn go_duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    SignedDuration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn samples_are_read() {
        let data = json!({ "timestamp": "2026-01-01T00:00:00Z", "window": "15.5s",
            "containers": [{ "name": "c", "usage": { "cpu": "250000001n", "memory": "10Mi" } }] });
        let usage = pod("p", &data).unwrap();
        assert_eq!(usage.window, SignedDuration::from_millis(15_500));
        assert_eq!(usage.containers[0].usage["cpu"], 251, "rounded up, as upstream");
        assert_eq!(usage.containers[0].usage["memory"], 10 * 1024 * 1024 * 1000);
        assert!(pod("p", &json!({})).is_none());
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("0s", Some(0)),
            ("1m30s", Some(90_000)),
            ("250ms", Some(250)),
            ("1x", None),
            ("5", None),
        ] {
            assert_eq!(go_duration(text), expected.map(SignedDuration::from_millis), "{text}");
        }
    }
}
