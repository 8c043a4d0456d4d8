//! The answers of the metrics APIs, in thousandths.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::MetricIdentifier;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::pods::SampleTime;

/// Usage of one container, in thousandths by resource name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Container name.
    pub name: String,
    /// Resource name to thousandths (milli-cores; thousandths of a byte).
    pub usage: BTreeMap<String, i64>,
}

/// One item of `metrics.k8s.io` `PodMetricsList`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUsage {
    /// Pod name.
    pub pod: String,
    /// When the measured interval ended.
    pub timestamp: Timestamp,
    /// How long it was.
    pub window: SignedDuration,
    /// Usage per container.
    pub containers: Vec<ContainerUsage>,
}

/// One pod's value of a custom metric, in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodValue {
    /// Pod name.
    pub pod: String,
    /// When the measured interval ended.
    pub timestamp: Timestamp,
    /// How long it was.
    pub window: SignedDuration,
    /// The value in thousandths.
    pub value: i64,
}

/// What one of the metrics APIs answered: data, or the error's text.
pub type Answer<T> = Result<T, String>;

/// An answer about a named metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Named<T> {
    /// Metric name.
    pub name: String,
    /// Its selector, as in the autoscaler's spec. `None` here answers for every selector.
    pub selector: Option<LabelSelector>,
    /// For Object metrics: name of the described object. `None` answers for every object.
    pub object: Option<String>,
    /// The answer.
    pub answer: Answer<T>,
}

/// All the samples one evaluation may need. Only those the spec names are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// `metrics.k8s.io`: the pods under the target's selector.
    pub resource: Answer<Vec<PodUsage>>,
    /// `custom.metrics.k8s.io`, metrics of pods.
    pub pods: Vec<Named<Vec<PodValue>>>,
    /// `custom.metrics.k8s.io`, metrics of one object, in thousandths.
    pub object: Vec<Named<i64>>,
    /// `external.metrics.k8s.io`: the values of all matching series, in thousandths.
    pub external: Vec<Named<Vec<i64>>>,
}

impl Default for Samples {
    /// Every API answers, and has nothing to say.
    fn default() -> Self {
        Self {
            resource: Ok(Vec::new()),
            pods: Vec::new(),
            object: Vec::new(),
            external: Vec::new(),
        }
    }
}

impl Samples {
    /// Samples of `metrics.k8s.io` alone.
    pub fn of_resources(usage: Vec<PodUsage>) -> Self {
        Self {
            resource: Ok(usage),
            ..Self::default()
        }
    }
}

/// The answer for `metric`, and the text of the error when there is none.
pub(super) fn find<'a, T>(
    answers: &'a [Named<T>],
    metric: &MetricIdentifier,
    object: Option<&str>,
    api: &str,
) -> Result<&'a T, String> {
    answers
        .iter()
        .find(|named| {
            named.name == metric.name
                && (named.selector.is_none() || named.selector == metric.selector)
                && (named.object.is_none() || named.object.as_deref() == object)
        })
        .map_or_else(
            || Err(format!("no metrics returned from {api} metrics API")),
            |named| named.answer.as_ref().map_err(Clone::clone),
        )
}

/// A sample of a pod, whatever API it came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) time: SampleTime,
    pub(super) value: i64,
}

/// Samples by pod, read in place.
#[derive(Clone, Copy, Debug)]
pub(super) enum PodSamples<'a> {
    Resource {
        items: &'a [PodUsage],
        resource: &'a str,
        container: Option<&'a str>,
    },
    Values(&'a [PodValue]),
}

impl PodSamples<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Resource { items, .. } => items.len(),
            Self::Values(items) => items.len(),
        }
    }

    pub(super) fn name(&self, index: usize) -> &str {
        match self {
            Self::Resource { items, .. } => &items[index].pod,
            Self::Values(items) => &items[index].pod,
        }
    }

    /// The sample at `index`; `None` when a container does not report the resource. An error when the container the
    /// metric names is absent from the sample: Kubernetes then gives up the whole metric.
    pub(super) fn read(&self, index: usize) -> Result<Option<Sample>, String> {
        match self {
            Self::Values(items) => {
                let item = &items[index];
                let time = SampleTime {
                    timestamp: item.timestamp,
                    window: item.window,
                };
                Ok(Some(Sample {
                    time,
                    value: item.value,
                }))
            }
            Self::Resource {
                items,
                resource,
                container,
            } => {
                let item = &items[index];
                let time = SampleTime {
                    timestamp: item.timestamp,
                    window: item.window,
                };
                let value = match container {
                    Some(name) => item
                        .containers
                        .iter()
                        .find(|usage| usage.name == *name)
                        .ok_or_else(|| format!("container {name} not present in metrics for pod {}", item.pod))?
                        .usage
                        .get(*resource)
                        .copied(),
                    None if item.containers.is_empty() => None,
                    None => item
                        .containers
                        .iter()
                        .try_fold(0_i64, |sum, usage| Some(sum.wrapping_add(*usage.usage.get(*resource)?))),
                };
                Ok(value.map(|value| Sample { time, value }))
            }
        }
    }
}

/// Finds samples by pod name. Lists usually come in the same order as the pods, so the place after the last hit is
/// tried first; an index is built only when that fails on a long list.
pub(super) struct Lookup<'a> {
    samples: PodSamples<'a>,
    next: usize,
    index: Option<HashMap<&'a str, usize>>,
}

/// Up to here a scan costs less than an index.
const SCAN: usize = 16;

impl<'a> Lookup<'a> {
    pub(super) fn new(samples: PodSamples<'a>) -> Self {
        Self {
            samples,
            next: 0,
            index: None,
        }
    }

    pub(super) fn position(&mut self, pod: &str) -> Option<usize> {
        if self.next < self.samples.len() && self.samples.name(self.next) == pod {
            self.next += 1;
            return Some(self.next - 1);
        }
        let found = if self.samples.len() <= SCAN {
            (0..self.samples.len()).find(|&at| self.samples.name(at) == pod)
        } else {
            let index = self.index.get_or_insert_with(|| names(self.samples));
            index.get(pod).copied()
        };
        if let Some(at) = found {
            self.next = at + 1;
        }
        found
    }
}

fn names(samples: PodSamples<'_>) -> HashMap<&str, usize> {
    match samples {
        PodSamples::Resource { items, .. } => items
            .iter()
            .enumerate()
            .map(|(at, item)| (item.pod.as_str(), at))
            .collect(),
        PodSamples::Values(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| (item.pod.as_str(), at))
            .collect(),
    }
}
