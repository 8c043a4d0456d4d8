//! What the metrics APIs say.

use k8s_openapi::{
    api::autoscaling::v2::{HorizontalPodAutoscaler, MetricIdentifier},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{Client, api::GroupVersionKind, core::Selector};
use serde_json::{Value, json};
use showrunner_autoscaling::hpa::{Named, Samples};

use super::live::{resource, typed};

/// Values of named metrics, and the metrics that have none.
#[derive(Default)]
pub(super) struct Answers {
    /// MetricValue and ExternalMetricValue objects.
    pub(super) values: Vec<Value>,
    /// What was refused, with the reason.
    pub(super) failed: Samples,
}

/// The PodMetrics of `metrics.k8s.io` under a selector; an error as the controller would word it.
pub(super) async fn of_pods(client: &Client, namespace: &str, selector: &str) -> Result<Vec<Value>, String> {
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
    let items = list(client, &path, &[("labelSelector", selector)])
        .await
        .map_err(|error| format!("unable to fetch metrics from resource metrics API: {error}"))?;
    Ok(items.into_iter().map(|item| typed("PodMetrics", item)).collect())
}

/// The values of all metrics of `custom.metrics.k8s.io` and `external.metrics.k8s.io` that an autoscaler names.
pub(super) async fn named(client: &Client, namespace: &str, selector: &str, hpa: &HorizontalPodAutoscaler) -> Answers {
    let mut answers = Answers::default();
    for spec in hpa.spec.metrics.iter().flatten() {
        if let Some(source) = &spec.pods {
            let metric = &source.metric;
            let wanted = Query::custom(namespace, "pods/*", metric).with("labelSelector", selector);
            match wanted.values(client).await {
                Ok(values) => answers.values.extend(values),
                Err(error) => answers.failed.pods.push(refusal(metric, None, error)),
            }
        } else if let Some(source) = &spec.object {
            let (metric, object) = (&source.metric, &source.described_object);
            let version = object.api_version.as_deref().unwrap_or("v1");
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let found = resource(client, &GroupVersionKind::gvk(group, version, &object.kind)).await;
            let resource = match group {
                "" => found.plural,
                group => format!("{}.{group}", found.plural),
            };
            let wanted = Query::custom(namespace, &format!("{resource}/{}", object.name), metric);
            match wanted.values(client).await {
                Ok(values) => answers.values.extend(values),
                Err(error) => {
                    let object = Some(object.name.clone());
                    answers.failed.object.push(refusal(metric, object, error));
                }
            }
        } else if let Some(source) = &spec.external {
            let metric = &source.metric;
            match Query::external(namespace, metric).values(client).await {
                Ok(values) => answers.values.extend(values),
                Err(error) => answers.failed.external.push(refusal(metric, None, error)),
            }
        }
    }
    answers
}

fn refusal<T>(metric: &MetricIdentifier, object: Option<String>, error: String) -> Named<T> {
    Named {
        name: metric.name.clone(),
        selector: metric.selector.clone(),
        object,
        answer: Err(error),
    }
}

/// A question to a metrics API.
struct Query<'a> {
    group: &'static str,
    api: &'static str,
    kind: &'static str,
    path: String,
    metric: &'a MetricIdentifier,
    parameters: Vec<(&'static str, String)>,
}

impl<'a> Query<'a> {
    /// `of`: the resource and the name of what is described.
    fn custom(namespace: &str, of: &str, metric: &'a MetricIdentifier) -> Self {
        let query = Self {
            group: "custom.metrics.k8s.io",
            api: "custom",
            kind: "MetricValue",
            path: format!("namespaces/{namespace}/{of}/{}", metric.name),
            metric,
            parameters: Vec::new(),
        };
        query.with("metricLabelSelector", &text(metric.selector.as_ref()))
    }

    fn external(namespace: &str, metric: &'a MetricIdentifier) -> Self {
        let query = Self {
            group: "external.metrics.k8s.io",
            api: "external",
            kind: "ExternalMetricValue",
            path: format!("namespaces/{namespace}/{}", metric.name),
            metric,
            parameters: Vec::new(),
        };
        query.with("labelSelector", &text(metric.selector.as_ref()))
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.parameters.push((name, value.to_owned()));
        }
        self
    }

    async fn values(&self, client: &Client) -> Result<Vec<Value>, String> {
        let failed = |error: String| format!("unable to fetch metrics from {} metrics API: {error}", self.api);
        let group = get(client, &format!("/apis/{}", self.group)).await.map_err(failed)?;
        let version = group["preferredVersion"]["version"].as_str().unwrap_or("v1beta1");
        let path = format!("/apis/{}/{version}/{}", self.group, self.path);
        let parameters: Vec<(&str, &str)> = self
            .parameters
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let items = list(client, &path, &parameters).await.map_err(failed)?;
        if items.is_empty() {
            return Err(format!("no metrics returned from {} metrics API", self.api));
        }
        let marked = |item| {
            let mut item = typed(self.kind, item);
            item["metric"] = json!({ "name": self.metric.name, "selector": self.metric.selector });
            item
        };
        Ok(items.into_iter().map(marked).collect())
    }
}

/// A selector as a query takes it. (API servers admit no autoscaler whose selector cannot be read.)
fn text(selector: Option<&LabelSelector>) -> String {
    let parsed = selector.map(|selector| Selector::try_from(selector.clone()));
    match parsed {
        Some(Ok(selector)) => selector.to_string(),
        Some(Err(_)) | None => String::new(),
    }
}

async fn list(client: &Client, path: &str, parameters: &[(&str, &str)]) -> Result<Vec<Value>, String> {
    let mut query = String::new();
    for (name, value) in parameters {
        let sign = if query.is_empty() { '?' } else { '&' };
        query = format!("{query}{sign}{name}={}", escaped(value));
    }
    let answer = get(client, &format!("{path}{query}")).await?;
    Ok(answer["items"].as_array().cloned().unwrap_or_default())
}

async fn get(client: &Client, uri: &str) -> Result<Value, String> {
    let request = http::Request::get(uri)
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    client.request(request).await.map_err(|error| match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message,
        error => error.to_string(),
    })
}

/// Percent-encoded, but for what never needs it.
fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value
        .bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use kube::client::Body;
    use showrunner_autoscaling::explain::Inputs;
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    /// A cluster whose metrics adapters answer, and the questions it was asked.
    fn cluster(asked: Arc<Mutex<Vec<String>>>) -> Client {
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let uri = request.uri().to_string();
            let item = |described: Value, value: &str| {
                json!({ "describedObject": described, "metric": { "name": "rps", "selector": null },
                    "timestamp": "2026-05-01T19:58:30Z", "windowSeconds": 60, "value": value })
            };
            let (status, body) = match uri.split('?').next().unwrap() {
                "/apis/custom.metrics.k8s.io" => (200, json!({ "preferredVersion": { "version": "v1beta2" } })),
                "/apis/external.metrics.k8s.io" => (200, json!({ "preferredVersion": { "version": "v1beta1" } })),
                "/apis/custom.metrics.k8s.io/v1beta2/namespaces/live/pods/*/rps" => (
                    200,
                    json!({ "items": [item(json!({ "kind": "Pod", "name": "edge-0" }), "1500m")] }),
                ),
                "/apis/custom.metrics.k8s.io/v1beta2/namespaces/live/ingresses.networking.k8s.io/front/rps" => (
                    200,
                    json!({ "items": [item(json!({ "kind": "Ingress", "name": "front" }), "70")] }),
                ),
                "/apis/external.metrics.k8s.io/v1beta1/namespaces/live/queue" => (
                    200,
                    json!({ "items": [{ "metricName": "queue", "value": "12" }, { "metricName": "queue", "value": "3" }] }),
                ),
                _ => (
                    404,
                    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "there is none", "code": 404 }),
                ),
            };
            asked.lock().unwrap().push(uri);
            async move {
                let response = http::Response::builder().status(status);
                Ok::<_, Infallible>(response.body(Body::from(body.to_string().into_bytes())).unwrap())
            }
        });
        Client::new(service, "live")
    }

    fn autoscaler() -> HorizontalPodAutoscaler {
        let target = json!({ "type": "AverageValue", "averageValue": "1" });
        serde_json::from_value(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": { "name": "edge", "namespace": "live" },
            "spec": {
                "maxReplicas": 9, "scaleTargetRef": { "kind": "Deployment", "name": "edge" },
                "metrics": [
                    { "type": "Pods", "pods": { "metric": { "name": "rps", "selector": { "matchLabels": { "verb": "GET" } } },
                        "target": target } },
                    { "type": "Object", "object": { "metric": { "name": "rps" }, "target": { "type": "Value", "value": "5" },
                        "describedObject": { "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "front" } } },
                    { "type": "External", "external": { "metric": { "name": "queue" }, "target": target } },
                    { "type": "External", "external": { "metric": { "name": "absent" }, "target": target } },
                ],
            },
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn custom_and_external_metrics_are_asked_for_as_the_controller_does() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let hpa = autoscaler();
        let answers = named(&cluster(Arc::clone(&asked)), "live", "app=edge", &hpa).await;
        let asked = asked.lock().unwrap().join("\n");
        assert!(
            asked.contains("/pods/*/rps?metricLabelSelector=verb%3DGET&labelSelector=app%3Dedge"),
            "{asked}"
        );
        assert_eq!(answers.failed.external.len(), 1, "{:?}", answers.failed);
        assert_eq!(
            answers.failed.external[0].answer,
            Err("unable to fetch metrics from external metrics API: there is none".to_owned())
        );

        let mut objects = answers.values;
        objects.push(serde_json::to_value(&hpa).unwrap());
        let samples = Inputs::from_objects(objects, None).unwrap().observation.samples;
        let pods = samples.pods[0].answer.as_ref().unwrap();
        assert_eq!((pods[0].pod.as_str(), pods[0].value), ("edge-0", 1500));
        assert!(samples.pods[0].selector.is_some(), "the selector the value answers");
        assert_eq!(samples.object[0].answer, Ok(70_000));
        assert_eq!(samples.external[0].answer, Ok(vec![12_000, 3000]));
    }

    #[tokio::test]
    async fn an_api_that_is_not_there_is_named() {
        let client = Client::new(
            tower::service_fn(|_: http::Request<Body>| async {
                let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "page not found", "code": 404 });
                let response = http::Response::builder().status(404);
                Ok::<_, Infallible>(response.body(Body::from(status.to_string().into_bytes())).unwrap())
            }),
            "live",
        );
        let error = of_pods(&client, "live", "app=edge").await.unwrap_err();
        assert_eq!(
            error,
            "unable to fetch metrics from resource metrics API: page not found"
        );
    }
}
