//! From objects as `kubectl` prints them to what an evaluation reads.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::hpa::{
    ContainerUsage, History, Named, Observation, PodUsage, PodValue, PodView, Samples, ScaleView, Selector,
};
use crate::quantity::parse_milli;

/// Objects that cannot be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Not YAML or JSON.
    #[error("not YAML or JSON: {0}")]
    Syntax(String),
    /// An object does not have the shape of its kind.
    #[error("{object}: {error}")]
    Shape {
        /// Kind and name.
        object: String,
        /// What is wrong.
        error: String,
    },
    /// There is no autoscaler to explain.
    #[error("no HorizontalPodAutoscaler{0} among the objects given")]
    NoAutoscaler(String),
    /// There are several and none was named.
    #[error("several HorizontalPodAutoscalers ({0}): name one")]
    Several(String),
}

/// `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Namespace; `default` when the object has none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Everything one explanation is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    /// The autoscaler.
    pub hpa: HorizontalPodAutoscaler,
    /// What its controller would read.
    pub observation: Observation,
    /// What its controller would remember. Empty history (not `None`) unless a `RecommendationHistory` was among the
    /// objects: a decision is then explained as that of a controller that has seen nothing that holds it back.
    pub history: History,
}

fn shape<T: DeserializeOwned>(object: &Value) -> Result<T, InputError> {
    serde_json::from_value(object.clone()).map_err(|error| InputError::Shape {
        object: label(object),
        error: error.to_string(),
    })
}

fn label(object: &Value) -> String {
    let part = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!("{} {}", part(&object["kind"]), part(&object["metadata"]["name"]))
}

/// The objects of a list (`List`, `PodList`, …), or the object itself.
fn flatten(object: Value, into: &mut Vec<Value>) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let Some(items) = object["items"].as_array().filter(|_| kind.ends_with("List")) else {
        into.push(object);
        return;
    };
    // Items of a typed list do not repeat its kind.
    let item_kind = kind.trim_end_matches("List");
    for item in items {
        let mut item = item.clone();
        if item["kind"].is_null() && !item_kind.is_empty() {
            item["kind"] = Value::from(item_kind);
        }
        flatten(item, into);
    }
}

impl Inputs {
    /// Reads `files`: each the text of one or several YAML documents, or of JSON. `name` picks among several autoscalers.
    pub fn parse(files: &[&str], name: Option<&str>) -> Result<Self, InputError> {
        let mut objects = Vec::new();
        for file in files {
            let documents: Vec<Value> =
                serde_saphyr::from_multiple(file).map_err(|error| InputError::Syntax(error.to_string()))?;
            objects.extend(documents.into_iter().filter(|document| !document.is_null()));
        }
        Self::from_objects(objects, name)
    }

    /// Sorts out objects of the kinds HorizontalPodAutoscaler, Deployment (or ReplicaSet, StatefulSet, Scale), Pod,
    /// PodMetrics, MetricValue, ExternalMetricValue, lists of those, and RecommendationHistory. Others are skipped.
    pub fn from_objects(objects: Vec<Value>, name: Option<&str>) -> Result<Self, InputError> {
        let mut all = Vec::new();
        for object in objects {
            flatten(object, &mut all);
        }
        let of = |kind: &str| all.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
        let hpa = choose(&of("HorizontalPodAutoscaler"), name)?;
        let namespace = hpa.metadata.namespace.clone();
        let here = |object: &&Value| match (object["metadata"]["namespace"].as_str(), namespace.as_deref()) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => true,
        };
        let (scale, selector) = scale(&all, &hpa)?;
        let pods = of("Pod")
            .into_iter()
            .filter(here)
            .map(shape::<Pod>)
            .collect::<Result<Vec<_>, _>>()?;
        let selected = |pod: &&Pod| {
            selector
                .as_ref()
                .is_none_or(|selector| matches(selector, pod.metadata.labels.as_ref()))
        };
        let pods: Vec<PodView> = pods.iter().filter(selected).map(PodView::from).collect();
        let samples = samples(&of, &here, &pods)?;
        let history = match of("RecommendationHistory").first() {
            Some(object) => {
                let mut fields = (*object).clone();
                if let Some(fields) = fields.as_object_mut() {
                    fields.retain(|name, _| !matches!(name.as_str(), "kind" | "apiVersion" | "metadata"));
                }
                serde_json::from_value(fields).map_err(|error| InputError::Shape {
                    object: label(object),
                    error: error.to_string(),
                })?
            }
            None => History {
                recommendations: Some(Vec::new()),
                ..History::default()
            },
        };
        Ok(Self {
            hpa,
            observation: Observation { scale, pods, samples },
            history,
        })
    }

    /// The autoscaler's name.
    pub fn name(&self) -> Name {
        let metadata = &self.hpa.metadata;
        Name {
            namespace: metadata.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }

    /// When the newest sample of a pod was taken.
    pub fn newest_sample(&self) -> Option<Timestamp> {
        let samples = &self.observation.samples;
        let resource = samples.resource.iter().flatten().map(|usage| usage.timestamp);
        let pods = samples
            .pods
            .iter()
            .filter_map(|named| named.answer.as_ref().ok())
            .flatten();
        resource.chain(pods.map(|value| value.timestamp)).max()
    }
}

fn choose(hpas: &[&Value], name: Option<&str>) -> Result<HorizontalPodAutoscaler, InputError> {
    let named: Vec<&&Value> = hpas
        .iter()
        .filter(|hpa| name.is_none_or(|name| hpa["metadata"]["name"] == name))
        .collect();
    match named.as_slice() {
        [hpa] => shape(hpa),
        [] => Err(InputError::NoAutoscaler(
            name.map(|name| format!(" {name}")).unwrap_or_default(),
        )),
        several => {
            let names: Vec<&str> = several
                .iter()
                .filter_map(|hpa| hpa["metadata"]["name"].as_str())
                .collect();
            Err(InputError::Several(names.join(", ")))
        }
    }
}

type Scale = (Result<ScaleView, String>, Option<LabelSelector>);

fn scale(all: &[Value], hpa: &HorizontalPodAutoscaler) -> Result<Scale, InputError> {
    let target = &hpa.spec.scale_target_ref;
    let is_target = |object: &&Value| {
        object["metadata"]["name"] == target.name.as_str()
            && (object["kind"] == target.kind.as_str() || object["kind"] == "Scale")
    };
    let number = |value: &Value| value.as_i64().map(|value| value as i32);
    if let Some(object) = all.iter().find(is_target) {
        // A scale without replicas has none; a workload without them has one.
        let absent = i32::from(object["kind"] != "Scale");
        let replicas = number(&object["spec"]["replicas"]).unwrap_or(absent);
        let selector = match &object["spec"]["selector"] {
            Value::Null => None,
            selector => Some(
                serde_json::from_value(selector.clone()).map_err(|error| InputError::Shape {
                    object: label(object),
                    error: error.to_string(),
                })?,
            ),
        };
        let view = ScaleView {
            spec_replicas: replicas,
            status_replicas: number(&object["status"]["replicas"]).unwrap_or(replicas),
            selector: Selector::Valid,
        };
        return Ok((Ok(view), selector));
    }
    // Without the target itself, the autoscaler's status says what size it last saw.
    let seen = hpa.status.as_ref().and_then(|status| status.current_replicas);
    let view = seen.map(|seen| ScaleView {
        spec_replicas: seen,
        status_replicas: seen,
        selector: Selector::Valid,
    });
    Ok((
        view.ok_or_else(|| format!("{} {} is not among the objects given", target.kind, target.name)),
        None,
    ))
}

fn matches(selector: &LabelSelector, labels: Option<&std::collections::BTreeMap<String, String>>) -> bool {
    let label = |key: &str| labels.and_then(|labels| labels.get(key));
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| label(key) == Some(value));
    let expressions = selector.match_expressions.iter().flatten().all(|requirement| {
        let values = requirement.values.as_deref().unwrap_or_default();
        let listed = label(&requirement.key).is_some_and(|value| values.contains(value));
        match requirement.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => label(&requirement.key).is_some(),
            "DoesNotExist" => label(&requirement.key).is_none(),
            _ => false,
        }
    });
    equal && expressions
}

fn samples<'a>(
    of: &impl Fn(&str) -> Vec<&'a Value>,
    here: &impl Fn(&&'a Value) -> bool,
    pods: &[PodView],
) -> Result<Samples, InputError> {
    let mut samples = Samples::default();
    let usage = of("PodMetrics")
        .into_iter()
        .filter(here)
        .map(pod_usage)
        .collect::<Result<Vec<_>, _>>()?;
    samples.resource = Ok(usage
        .into_iter()
        .filter(|usage| pods.is_empty() || pods.iter().any(|pod| pod.name == usage.pod))
        .collect());
    for object in of("MetricValue") {
        let name = object["metric"]["name"].as_str().unwrap_or_default().to_owned();
        let described = object["describedObject"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let value = milli(object, &object["value"])?;
        if object["describedObject"]["kind"] == "Pod" {
            let window = object["windowSeconds"].as_i64().unwrap_or(60);
            let value = PodValue {
                pod: described,
                timestamp: time(object)?,
                window: SignedDuration::from_secs(window),
                value,
            };
            match samples.pods.iter_mut().find(|named| named.name == name) {
                Some(Named { answer: Ok(values), .. }) => values.push(value),
                _ => samples.pods.push(Named {
                    name,
                    selector: None,
                    object: None,
                    answer: Ok(vec![value]),
                }),
            }
        } else {
            samples.object.push(Named {
                name,
                selector: None,
                object: Some(described),
                answer: Ok(value),
            });
        }
    }
    for object in of("ExternalMetricValue") {
        let name = object["metricName"].as_str().unwrap_or_default().to_owned();
        let value = milli(object, &object["value"])?;
        match samples.external.iter_mut().find(|named| named.name == name) {
            Some(Named { answer: Ok(values), .. }) => values.push(value),
            _ => samples.external.push(Named {
                name,
                selector: None,
                object: None,
                answer: Ok(vec![value]),
            }),
        }
    }
    Ok(samples)
}

fn milli(object: &Value, value: &Value) -> Result<i64, InputError> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    parse_milli(&text).map_err(|error| InputError::Shape {
        object: label(object),
        error: error.to_string(),
    })
}

fn time(object: &Value) -> Result<Timestamp, InputError> {
    let text = object["timestamp"].as_str().unwrap_or_default();
    text.parse().map_err(|error| InputError::Shape {
        object: label(object),
        error: format!("timestamp: {error}"),
    })
}

fn pod_usage(object: &Value) -> Result<PodUsage, InputError> {
    let window = object["window"].as_str().unwrap_or("30s");
    let window = window.parse().map_err(|error| InputError::Shape {
        object: label(object),
        error: format!("window {window:?}: {error}"),
    })?;
    let containers = object["containers"].as_array().into_iter().flatten();
    Ok(PodUsage {
        pod: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        timestamp: time(object)?,
        window,
        containers: containers
            .map(|container| {
                let usage = container["usage"].as_object().into_iter().flatten();
                Ok(ContainerUsage {
                    name: container["name"].as_str().unwrap_or_default().to_owned(),
                    usage: usage
                        .map(|(name, value)| Ok((name.clone(), milli(object, value)?)))
                        .collect::<Result<_, InputError>>()?,
                })
            })
            .collect::<Result<_, InputError>>()?,
    })
}
