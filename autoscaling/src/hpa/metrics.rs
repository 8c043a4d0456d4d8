//! One entry of `spec.metrics`: which calculation it asks for, under which names its result and errors are reported.

use std::fmt;

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, ExternalMetricStatus, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
    ObjectMetricStatus, PodsMetricStatus, ResourceMetricSource, ResourceMetricStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::replicas::{self, Context, Proposal};
use super::samples::{Answer, PodUsage, Samples, find};
use super::trace::Sink;
use crate::quantity;

/// A metric that could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MetricError {
    /// Reason of the condition and of the event.
    pub(super) reason: &'static str,
    /// The error as the condition and the event give it.
    pub(super) error: String,
    /// The error as the reconcile returns it: with what was being read in front.
    pub(super) wrapped: String,
}

impl MetricError {
    fn new(reason: &'static str, reading: &str, error: String) -> Self {
        Self {
            reason,
            wrapped: format!("failed to get {reading} metric value: {error}"),
            error,
        }
    }
}

/// The metric the API server adds to a spec that names none: CPU at 80 percent of requests.
pub fn default_metric() -> MetricSpec {
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: "cpu".to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(80),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}

fn read(target: &Quantity) -> Result<i64, String> {
    quantity::milli(target).map_err(|error| error.to_string())
}

pub(super) fn evaluate(
    spec: &MetricSpec,
    namespace: &str,
    context: &Context<'_>,
    samples: &Samples,
    sink: &mut impl Sink,
) -> Result<Proposal, MetricError> {
    match spec.type_.as_str() {
        "Resource" => {
            let source = spec.resource.as_ref();
            let name = source.map_or("", |source| source.name.as_str());
            resource(
                context,
                &samples.resource,
                source.map(|source| &source.target),
                name,
                None,
                sink,
            )
            .map_err(|error| MetricError::new("FailedGetResourceMetric", &format!("{name} resource"), error))
        }
        "ContainerResource" => {
            let source = spec.container_resource.as_ref();
            let (name, container) = source.map_or(("", ""), |source| (&source.name, &source.container));
            resource(
                context,
                &samples.resource,
                source.map(|source| &source.target),
                name,
                Some(container),
                sink,
            )
            .map_err(|error| {
                MetricError::new(
                    "FailedGetContainerResourceMetric",
                    &format!("{container} container"),
                    error,
                )
            })
        }
        "Pods" => {
            pods(spec, context, samples, sink).map_err(|error| MetricError::new("FailedGetPodsMetric", "pods", error))
        }
        "Object" => object(spec, namespace, context, samples, sink)
            .map_err(|error| MetricError::new("FailedGetObjectMetric", "object", error)),
        "External" => external(spec, namespace, context, samples, sink)
            .map_err(|error| MetricError::new("FailedGetExternalMetric", "external", error)),
        other => {
            let error = format!("unknown metric source type {other:?}");
            Err(MetricError {
                reason: "InvalidMetricSourceType",
                wrapped: error.clone(),
                error,
            })
        }
    }
}

fn resource(
    context: &Context<'_>,
    usage: &Answer<Vec<PodUsage>>,
    target: Option<&MetricTarget>,
    name: &str,
    container: Option<&str>,
    sink: &mut impl Sink,
) -> Result<Proposal, String> {
    let average = target.and_then(|target| target.average_value.as_ref());
    let utilization = target.and_then(|target| target.average_utilization);
    if average.is_none() && utilization.is_none() {
        return Err(
            "invalid resource metric source: neither an average utilization target nor an average value \
                    target was set"
                .to_owned(),
        );
    }
    usage
        .as_ref()
        .map_err(|error| format!("unable to get metrics for resource {name}: {error}"))
        .and_then(|items| match (average, utilization) {
            (Some(average), _) => replicas::resource_average(context, items, name, container, read(average)?, sink),
            (None, percent) => {
                replicas::utilization(context, items, name, container, percent.unwrap_or_default(), sink)
            }
        })
        .map_err(|error| format!("failed to get {name} utilization: {error}"))
}

fn pods(spec: &MetricSpec, context: &Context<'_>, samples: &Samples, sink: &mut impl Sink) -> Result<Proposal, String> {
    let invalid = "invalid pods metric source: no average value target was set";
    let source = spec.pods.as_ref().ok_or(invalid)?;
    let target = read(source.target.average_value.as_ref().ok_or(invalid)?)?;
    let items = find(&samples.pods, &source.metric, None, "custom")
        .map_err(|error| format!("unable to get metric {}: {error}", source.metric.name))?;
    replicas::pods_average(context, items, target, sink)
}

fn object(
    spec: &MetricSpec,
    namespace: &str,
    context: &Context<'_>,
    samples: &Samples,
    sink: &mut impl Sink,
) -> Result<Proposal, String> {
    let invalid = "invalid object metric source: neither a value target nor an average value target was set";
    let source = spec.object.as_ref().ok_or(invalid)?;
    let (name, described) = (&source.metric.name, &source.described_object);
    let value = || {
        find(&samples.object, &source.metric, Some(&described.name), "custom").map_err(|error| {
            format!(
                "unable to get metric {name}: {error} on {} {namespace}/{}",
                described.kind, described.name
            )
        })
    };
    match (
        source.target.type_.as_str(),
        &source.target.value,
        &source.target.average_value,
    ) {
        ("Value", Some(target), _) => replicas::value(context, *value()?, read(target)?, sink),
        ("AverageValue", _, Some(target)) => Ok(replicas::shared(context, *value()?, read(target)?, sink)),
        _ => Err(invalid.to_owned()),
    }
}

fn external(
    spec: &MetricSpec,
    namespace: &str,
    context: &Context<'_>,
    samples: &Samples,
    sink: &mut impl Sink,
) -> Result<Proposal, String> {
    let invalid = "invalid external metric source: neither a value target nor an average value target was set";
    let source = spec.external.as_ref().ok_or(invalid)?;
    let values = || {
        find(&samples.external, &source.metric, None, "external").map_err(|error| {
            let selector = Selector(source.metric.selector.as_ref());
            format!(
                "unable to get external metric {namespace}/{}/{selector}: {error}",
                source.metric.name
            )
        })
    };
    match (&source.target.average_value, &source.target.value) {
        (Some(target), _) => {
            let total = replicas::external_sum(values()?, true);
            let mut proposal = replicas::shared(context, total, read(target)?, sink);
            // A total that (as a float) is at the limit is reported as the limit, not shared.
            if total as f64 >= i64::MAX as f64 {
                proposal.value_m = i64::MAX;
            }
            Ok(proposal)
        }
        (None, Some(target)) => {
            let total = replicas::external_sum(values()?, false);
            replicas::value(context, total, read(target)?, sink)
        }
        (None, None) => Err(invalid.to_owned()),
    }
}

/// A metric's name in messages and in the reason of a rescale.
pub(super) struct Name<'a>(pub(super) &'a MetricSpec);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MetricSpec {
            container_resource,
            external,
            object,
            pods,
            resource,
            type_: _,
        } = self.0;
        if let Some(source) = resource {
            return match source.target.average_value {
                Some(_) => write!(f, "{} resource", source.name),
                None => write!(f, "{} resource utilization (percentage of request)", source.name),
            };
        }
        if let Some(source) = container_resource {
            return match source.target.average_value {
                Some(_) => write!(f, "{} resource", source.name),
                None => write!(
                    f,
                    "{} container resource utilization (percentage of request)",
                    source.name
                ),
            };
        }
        if let Some(source) = pods {
            return write!(f, "pods metric {}", source.metric.name);
        }
        let metric = match (object, external) {
            (Some(source), _) if source.target.type_ == "Value" => {
                return write!(f, "{} metric {}", source.described_object.kind, source.metric.name);
            }
            (Some(source), _) => &source.metric,
            (None, Some(source)) => &source.metric,
            (None, None) => return Ok(()),
        };
        write!(
            f,
            "external metric {}({})",
            metric.name,
            Selector(metric.selector.as_ref())
        )
    }
}

/// A label selector as Kubernetes prints it in these messages.
struct Selector<'a>(Option<&'a LabelSelector>);

impl fmt::Display for Selector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(LabelSelector {
            match_labels,
            match_expressions,
        }) = self.0
        else {
            return f.write_str("nil");
        };
        f.write_str("&LabelSelector{MatchLabels:map[string]string{")?;
        for (key, value) in match_labels.iter().flatten() {
            write!(f, "{key}: {value},")?;
        }
        f.write_str("},MatchExpressions:[]LabelSelectorRequirement{")?;
        for requirement in match_expressions.iter().flatten() {
            let values = requirement
                .values
                .iter()
                .flatten()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(" ");
            write!(
                f,
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},",
                requirement.key, requirement.operator
            )?;
        }
        f.write_str("},}")
    }
}

/// The entry of `status.currentMetrics` for a metric; one without a type for a metric that failed, as in Kubernetes.
pub(super) fn status(spec: &MetricSpec, proposal: Option<&Proposal>) -> MetricStatus {
    let Some(proposal) = proposal else {
        return MetricStatus::default();
    };
    let MetricSpec {
        container_resource,
        external,
        object,
        pods,
        resource,
        type_,
    } = spec;
    let measured = || Some(quantity::from_milli(proposal.value_m));
    let average = || MetricValueStatus {
        average_utilization: proposal.utilization_percent,
        average_value: measured(),
        value: None,
    };
    let either = |target: &MetricTarget, value: bool| {
        if value && target.value.is_some() {
            MetricValueStatus {
                value: measured(),
                ..MetricValueStatus::default()
            }
        } else {
            average()
        }
    };
    MetricStatus {
        type_: type_.clone(),
        resource: resource.as_ref().map(|source| ResourceMetricStatus {
            name: source.name.clone(),
            current: average(),
        }),
        container_resource: container_resource.as_ref().map(|source| ContainerResourceMetricStatus {
            name: source.name.clone(),
            container: source.container.clone(),
            current: average(),
        }),
        pods: pods.as_ref().map(|source| PodsMetricStatus {
            metric: source.metric.clone(),
            current: average(),
        }),
        object: object.as_ref().map(|source| ObjectMetricStatus {
            metric: source.metric.clone(),
            described_object: source.described_object.clone(),
            current: either(&source.target, source.target.type_ == "Value"),
        }),
        external: external.as_ref().map(|source| ExternalMetricStatus {
            metric: source.metric.clone(),
            current: either(&source.target, source.target.average_value.is_none()),
        }),
    }
}
