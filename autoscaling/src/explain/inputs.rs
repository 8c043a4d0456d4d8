//! From objects as `kubectl` prints them to what an evaluation reads.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, MetricIdentifier};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::read::{File, Object, read};
use crate::hpa::{
    ContainerUsage, History, Named, Observation, PodUsage, PodValue, PodView, Samples, ScaleView, Selector,
};
use crate::quantity::parse_milli;

/// Objects that cannot be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Not YAML or JSON: the place, and what is wrong.
    #[error("{0}")]
    Syntax(String),
    /// Objects that do not have the shape of their kinds, one line each: the place, kind and name, and what is wrong.
    #[error("{}", .0.join("\n"))]
    Shape(Vec<String>),
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
    /// Whether the history is what the controller remembers, and not just empty.
    pub remembered: bool,
}

fn shape<T: DeserializeOwned>(object: &Object) -> Result<T, String> {
    serde_json::from_value(object.value.clone()).map_err(|error| object.wrong(&error))
}

/// Reads each object, and collects what is wrong with the others.
fn each<T>(objects: &[&Object], wrong: &mut Vec<String>, read: impl Fn(&Object) -> Result<T, String>) -> Vec<T> {
    let mut good = Vec::new();
    for object in objects {
        match read(object) {
            Ok(value) => good.push(value),
            Err(message) => wrong.push(message),
        }
    }
    good
}

impl Inputs {
    /// Reads `files`: each the text of one or several YAML documents, or of JSON. `name` picks among several autoscalers.
    pub fn parse(files: &[&str], name: Option<&str>) -> Result<Self, InputError> {
        let files: Vec<File<'_>> = files.iter().map(|text| File { name: "", text }).collect();
        Self::from_files(&files, name)
    }

    /// The same of files with names, under which mistakes are reported: `live.yaml:31:3: Pod edge-0: …`.
    pub fn from_files(files: &[File<'_>], name: Option<&str>) -> Result<Self, InputError> {
        let mut objects = Vec::new();
        for file in files {
            objects.extend(read(file).map_err(InputError::Syntax)?);
        }
        Self::sort_out(&objects, name)
    }

    /// Sorts out objects of the kinds HorizontalPodAutoscaler, Deployment (or ReplicaSet, StatefulSet, Scale), Pod,
    /// PodMetrics, MetricValue, ExternalMetricValue, lists of those, and RecommendationHistory. Others are skipped. A
    /// `metric.selector` of a metric's value names the selector that it answers; without one it answers all.
    pub fn from_objects(objects: Vec<Value>, name: Option<&str>) -> Result<Self, InputError> {
        let objects: Vec<Object> = objects.into_iter().flat_map(Object::flatten).collect();
        Self::sort_out(&objects, name)
    }

    fn sort_out(all: &[Object], name: Option<&str>) -> Result<Self, InputError> {
        let of = |kind: &str| -> Vec<&Object> { all.iter().filter(|object| object.value["kind"] == kind).collect() };
        let hpa = choose(&of("HorizontalPodAutoscaler"), name)?;
        let namespace = hpa.metadata.namespace.clone();
        let here = |object: &&Object| match (object.value["metadata"]["namespace"].as_str(), namespace.as_deref()) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => true,
        };
        let near = |kind: &str| -> Vec<&Object> { of(kind).into_iter().filter(here).collect() };
        let mut wrong = Vec::new();
        let (scale, selector) = scale(all.iter().filter(here), &hpa).unwrap_or_else(|message| {
            wrong.push(message);
            (Err(String::new()), None)
        });
        let pods = each(&near("Pod"), &mut wrong, shape::<Pod>);
        let selected = |pod: &&Pod| {
            selector
                .as_ref()
                .is_none_or(|selector| matches(selector, pod.metadata.labels.as_ref()))
        };
        let pods: Vec<PodView> = pods.iter().filter(selected).map(PodView::from).collect();
        let samples = Samples {
            resource: Ok(each(&near("PodMetrics"), &mut wrong, pod_usage)
                .into_iter()
                .filter(|usage| pods.is_empty() || pods.iter().any(|pod| pod.name == usage.pod))
                .collect()),
            ..custom(&of("MetricValue"), &of("ExternalMetricValue"), &mut wrong)
        };
        let history = each(&of("RecommendationHistory"), &mut wrong, history)
            .into_iter()
            .next();
        if !wrong.is_empty() {
            return Err(InputError::Shape(wrong));
        }
        Ok(Self {
            hpa,
            observation: Observation { scale, pods, samples },
            remembered: history.is_some(),
            history: history.unwrap_or_else(|| History {
                recommendations: Some(Vec::new()),
                ..History::default()
            }),
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

fn choose(hpas: &[&Object], name: Option<&str>) -> Result<HorizontalPodAutoscaler, InputError> {
    let named: Vec<&&Object> = hpas
        .iter()
        .filter(|hpa| name.is_none_or(|name| hpa.value["metadata"]["name"] == name))
        .collect();
    match named.as_slice() {
        [hpa] => autoscaler(hpa).map_err(|message| InputError::Shape(vec![message])),
        [] => Err(InputError::NoAutoscaler(
            name.map(|name| format!(" {name}")).unwrap_or_default(),
        )),
        several => {
            let names: Vec<&str> = several
                .iter()
                .filter_map(|hpa| hpa.value["metadata"]["name"].as_str())
                .collect();
            Err(InputError::Several(names.join(", ")))
        }
    }
}

/// The metric an API server adds to an autoscaler that names none.
const DEFAULT_CPU_PERCENT: i64 = 80;

/// An autoscaler as its controller would get it: a manifest has neither the API server's defaults nor, in
/// `autoscaling/v1`, a list of metrics.
fn autoscaler(object: &Object) -> Result<HorizontalPodAutoscaler, String> {
    let mut object = object.clone();
    let version = object.value["apiVersion"].as_str().unwrap_or_default().to_owned();
    if !matches!(version.as_str(), "autoscaling/v2" | "autoscaling/v1" | "") {
        let message =
            format!("apiVersion {version} is not served any more; `kubectl get hpa -o yaml` prints autoscaling/v2");
        return Err(object.wrong(&message));
    }
    let percent = object.value["spec"]["targetCPUUtilizationPercentage"]
        .as_i64()
        .filter(|_| version == "autoscaling/v1")
        .unwrap_or(DEFAULT_CPU_PERCENT);
    object.value["apiVersion"] = Value::from("autoscaling/v2");
    if let Some(spec) = object.value["spec"].as_object_mut() {
        let metrics = spec.entry("metrics").or_insert(Value::Null);
        if metrics.is_null() || metrics.as_array().is_some_and(Vec::is_empty) {
            let target = json!({ "type": "Utilization", "averageUtilization": percent });
            *metrics = json!([{ "type": "Resource", "resource": { "name": "cpu", "target": target } }]);
        }
    }
    shape(&object)
}

fn history(object: &Object) -> Result<History, String> {
    let mut fields = object.clone();
    if let Some(fields) = fields.value.as_object_mut() {
        fields.retain(|name, _| !matches!(name.as_str(), "kind" | "apiVersion" | "metadata"));
    }
    serde_json::from_value(fields.value).map_err(|error| object.wrong(&error))
}

type Scale = (Result<ScaleView, String>, Option<LabelSelector>);

fn scale<'a>(mut all: impl Iterator<Item = &'a Object>, hpa: &HorizontalPodAutoscaler) -> Result<Scale, String> {
    let target = &hpa.spec.scale_target_ref;
    let is_target = |object: &&Object| {
        object.value["metadata"]["name"] == target.name.as_str()
            && (object.value["kind"] == target.kind.as_str() || object.value["kind"] == "Scale")
    };
    if let Some(object) = all.find(is_target) {
        let number = |value: &Value, field: &str| match value {
            Value::Null => Ok(None),
            value => value
                .as_i64()
                .and_then(|value| i32::try_from(value).ok())
                .map(Some)
                .ok_or_else(|| object.wrong(&format!("{field} {value} is not a 32-bit number"))),
        };
        // A scale without replicas has none; a workload without them has one.
        let absent = i32::from(object.value["kind"] != "Scale");
        let replicas = number(&object.value["spec"]["replicas"], "spec.replicas")?.unwrap_or(absent);
        let selector = match &object.value["spec"]["selector"] {
            Value::Null => None,
            selector => Some(serde_json::from_value(selector.clone()).map_err(|error| object.wrong(&error))?),
        };
        let view = ScaleView {
            spec_replicas: replicas,
            status_replicas: number(&object.value["status"]["replicas"], "status.replicas")?.unwrap_or(replicas),
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

fn matches(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
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

/// The answers of the custom and external metrics APIs.
fn custom(values: &[&Object], external: &[&Object], wrong: &mut Vec<String>) -> Samples {
    let mut samples = Samples::default();
    for (metric, value) in each(values, wrong, metric_value) {
        match value {
            Described::Pod(value) => push(&mut samples.pods, metric, value),
            Described::Other { object, value } => samples.object.push(Named {
                name: metric.name,
                selector: metric.selector,
                object: Some(object),
                answer: Ok(value),
            }),
        }
    }
    let external = each(external, wrong, |object| {
        Ok((metric(object)?, milli(object, "value", &object.value["value"])?))
    });
    for (metric, value) in external {
        push(&mut samples.external, metric, value);
    }
    samples
}

/// Adds a value to those of its metric.
fn push<T>(answers: &mut Vec<Named<Vec<T>>>, metric: MetricIdentifier, value: T) {
    let same = |named: &&mut Named<Vec<T>>| named.name == metric.name && named.selector == metric.selector;
    match answers.iter_mut().find(same) {
        Some(Named { answer: Ok(values), .. }) => values.push(value),
        _ => answers.push(Named {
            name: metric.name,
            selector: metric.selector,
            object: None,
            answer: Ok(vec![value]),
        }),
    }
}

/// What a custom metric describes.
enum Described {
    Pod(PodValue),
    Other { object: String, value: i64 },
}

/// `v1beta2` of custom metrics has name and selector under `metric`; `v1beta1`, and external metrics, have `metricName`.
fn metric(object: &Object) -> Result<MetricIdentifier, String> {
    let metric = &object.value["metric"];
    let name = metric["name"].as_str().or_else(|| object.value["metricName"].as_str());
    let name = name.ok_or_else(|| object.wrong(&"no metric.name, and no metricName"))?;
    let selector = match &metric["selector"] {
        Value::Null => None,
        selector => Some(serde_json::from_value(selector.clone()).map_err(|error| object.wrong(&error))?),
    };
    Ok(MetricIdentifier {
        name: name.to_owned(),
        selector,
    })
}

fn metric_value(object: &Object) -> Result<(MetricIdentifier, Described), String> {
    let metric = metric(object)?;
    let described = &object.value["describedObject"];
    let name = described["name"].as_str().unwrap_or_default().to_owned();
    let value = milli(object, "value", &object.value["value"])?;
    if described["kind"] != "Pod" {
        return Ok((metric, Described::Other { object: name, value }));
    }
    let window = object.value["windowSeconds"].as_i64().unwrap_or(60);
    let value = PodValue {
        pod: name,
        timestamp: time(object)?,
        window: SignedDuration::from_secs(window),
        value,
    };
    Ok((metric, Described::Pod(value)))
}

fn milli(object: &Object, field: &str, value: &Value) -> Result<i64, String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    parse_milli(&text).map_err(|error| object.wrong(&format!("{field}: {error}")))
}

fn time(object: &Object) -> Result<Timestamp, String> {
    let text = object.value["timestamp"].as_str().unwrap_or_default();
    text.parse()
        .map_err(|error| object.wrong(&format!("timestamp {text:?}: {error}")))
}

fn pod_usage(object: &Object) -> Result<PodUsage, String> {
    let window = object.value["window"].as_str().unwrap_or("30s");
    let window = window
        .parse()
        .map_err(|error| object.wrong(&format!("window {window:?}: {error}")))?;
    let containers = object.value["containers"].as_array().into_iter().flatten();
    Ok(PodUsage {
        pod: object.value["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        timestamp: time(object)?,
        window,
        containers: containers
            .map(|container| {
                let usage = container["usage"].as_object().into_iter().flatten();
                Ok(ContainerUsage {
                    name: container["name"].as_str().unwrap_or_default().to_owned(),
                    usage: usage
                        .map(|(name, value)| Ok((name.clone(), milli(object, name, value)?)))
                        .collect::<Result<_, String>>()?,
                })
            })
            .collect::<Result<_, String>>()?,
    })
}
