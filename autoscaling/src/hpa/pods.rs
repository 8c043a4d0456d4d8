//! Pods as the autoscaler sees them, and the groups it sorts them into.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use serde::{Deserialize, Serialize};

use super::settings::Settings;
use crate::quantity;

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Accepted, containers not all started.
    Pending,
    /// At least one container started.
    Running,
    /// All containers ended well.
    Succeeded,
    /// All containers ended, one of them badly.
    Failed,
    /// Absent or not one of the above.
    #[default]
    Unknown,
}

/// Status of the `Ready` condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Readiness {
    /// Ready.
    True,
    /// Not ready.
    False,
    /// The node does not answer; the autoscaler does not take this for unready.
    Unknown,
}

/// The `Ready` condition of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyCondition {
    /// Its status.
    pub status: Readiness,
    /// When the status last changed.
    pub last_transition: Timestamp,
}

/// The requests of one container, in thousandths (of a core, of a byte) by resource name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRequests {
    /// Container name.
    pub name: String,
    /// Resource name to thousandths.
    pub requests: BTreeMap<String, i64>,
}

/// What the algorithm reads of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodView {
    /// Name; samples are matched by it.
    pub name: String,
    /// Phase.
    pub phase: Phase,
    /// Whether a deletion timestamp is set.
    pub deleting: bool,
    /// When the kubelet took the pod.
    pub start_time: Option<Timestamp>,
    /// The `Ready` condition, if there is one.
    pub ready: Option<ReadyCondition>,
    /// Containers, then init containers that restart (sidecars), in the order of the spec.
    pub containers: Vec<ContainerRequests>,
    /// Requests of the pod as a whole, when the pod sets any: container sums for resources it does not name, plus overhead.
    pub pod_level: Option<BTreeMap<String, i64>>,
}

fn requests(container: &Container) -> BTreeMap<String, i64> {
    let requests = container
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    requests
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), quantity::milli(value).ok()?)))
        .collect()
}

fn add(into: &mut BTreeMap<String, i64>, from: &BTreeMap<String, i64>) {
    for (name, value) in from {
        let entry = into.entry(name.clone()).or_default();
        *entry = entry.saturating_add(*value);
    }
}

fn raise(into: &mut BTreeMap<String, i64>, to: &BTreeMap<String, i64>) {
    for (name, value) in to {
        let entry = into.entry(name.clone()).or_insert(*value);
        *entry = (*entry).max(*value);
    }
}

fn restarts(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The scheduler's sum for a pod: containers and sidecars, or the largest init step if that is more.
fn aggregate(containers: &[Container], init: &[Container]) -> BTreeMap<String, i64> {
    let (mut total, mut sidecars, mut steps) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for container in containers {
        add(&mut total, &requests(container));
    }
    for container in init {
        let own = requests(container);
        let mut step = sidecars.clone();
        add(&mut step, &own);
        if restarts(container) {
            add(&mut total, &own);
            add(&mut sidecars, &own);
        }
        raise(&mut steps, &step);
    }
    raise(&mut total, &steps);
    total
}

impl From<&Pod> for PodView {
    fn from(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let spec = pod.spec.as_ref();
        let containers = spec.map_or(&[][..], |spec| &spec.containers);
        let init = spec
            .and_then(|spec| spec.init_containers.as_deref())
            .unwrap_or_default();
        let whole = spec
            .and_then(|spec| spec.resources.as_ref())
            .and_then(|resources| resources.requests.as_ref());
        let pod_level = whole
            .filter(|whole| whole.keys().any(|name| supported_at_pod_level(name)))
            .map(|whole| {
                let mut total = aggregate(containers, init);
                for (name, value) in whole.iter().filter(|(name, _)| supported_at_pod_level(name)) {
                    if let Ok(value) = quantity::milli(value) {
                        total.insert(name.clone(), value);
                    }
                }
                for (name, value) in spec.and_then(|spec| spec.overhead.as_ref()).into_iter().flatten() {
                    if let Ok(value) = quantity::milli(value) {
                        *total.entry(name.clone()).or_default() += value;
                    }
                }
                total
            });
        let ready = status
            .and_then(|status| status.conditions.as_ref())
            .and_then(|conditions| conditions.iter().find(|condition| condition.type_ == "Ready"))
            .map(|condition| ReadyCondition {
                status: match condition.status.as_str() {
                    "True" => Readiness::True,
                    "False" => Readiness::False,
                    _ => Readiness::Unknown,
                },
                last_transition: condition
                    .last_transition_time
                    .as_ref()
                    .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            });
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            phase: match status.and_then(|status| status.phase.as_deref()) {
                Some("Pending") => Phase::Pending,
                Some("Running") => Phase::Running,
                Some("Succeeded") => Phase::Succeeded,
                Some("Failed") => Phase::Failed,
                _ => Phase::Unknown,
            },
            deleting: pod.metadata.deletion_timestamp.is_some(),
            start_time: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            ready,
            containers: containers
                .iter()
                .chain(init.iter().filter(|container| restarts(container)))
                .map(|container| ContainerRequests {
                    name: container.name.clone(),
                    requests: requests(container),
                })
                .collect(),
            pod_level,
        }
    }
}

/// Pod-level requests exist for these resources only; others in the list are ignored by Kubernetes.
fn supported_at_pod_level(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory") || resource.starts_with("hugepages-")
}

/// Why a pod's sample is not taken at face value. The order of the variants is the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Group {
    /// Counts with its sample.
    Ready,
    /// Being deleted: not looked at.
    Deleting,
    /// Failed: not looked at.
    Failed,
    /// Pending: counts as using nothing on the way up.
    Pending,
    /// No sample: filled in on the way down (as fully used) and on the way up (as idle).
    Missing,
    /// CPU only: no `Ready` condition or no start time yet.
    NoReadiness,
    /// CPU only: within the initialisation period and not ready.
    InitializingUnready,
    /// CPU only: within the initialisation period, and the sample's window began before the pod was ready.
    InitializingStaleSample,
    /// CPU only: past the initialisation period and never ready since its start.
    NeverReady,
}

impl Group {
    /// Deleting or failed: neither counted nor filled in.
    pub fn is_ignored(self) -> bool {
        matches!(self, Self::Deleting | Self::Failed)
    }

    /// Counted as idle when the others ask for more.
    pub fn is_unready(self) -> bool {
        matches!(
            self,
            Self::Pending
                | Self::NoReadiness
                | Self::InitializingUnready
                | Self::InitializingStaleSample
                | Self::NeverReady
        )
    }
}

/// When a sample was taken and over what time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleTime {
    /// End of the measured interval.
    pub timestamp: Timestamp,
    /// Length of the measured interval.
    pub window: SignedDuration,
}

impl PodView {
    /// The group of this pod for one metric. `cpu` says whether that metric is the resource `cpu`, the only one with
    /// rules about initialisation.
    pub fn group(&self, sample: Option<SampleTime>, cpu: bool, settings: &Settings, now: Timestamp) -> Group {
        if self.deleting {
            return Group::Deleting;
        }
        match self.phase {
            Phase::Failed => return Group::Failed,
            Phase::Pending => return Group::Pending,
            _ => {}
        }
        let Some(sample) = sample else { return Group::Missing };
        if !cpu {
            return Group::Ready;
        }
        let (Some(ready), Some(start)) = (self.ready, self.start_time) else {
            return Group::NoReadiness;
        };
        let unready = ready.status == Readiness::False;
        if after(start, settings.cpu_initialization_period) > now {
            if unready {
                Group::InitializingUnready
            } else if sample.timestamp < after(ready.last_transition, sample.window) {
                Group::InitializingStaleSample
            } else {
                Group::Ready
            }
        } else if unready && after(start, settings.initial_readiness_delay) > ready.last_transition {
            Group::NeverReady
        } else {
            Group::Ready
        }
    }

    /// Whether Object and External metrics count this pod: running and ready.
    pub fn is_running_and_ready(&self) -> bool {
        self.phase == Phase::Running && self.ready.is_some_and(|ready| ready.status == Readiness::True)
    }
}

/// Saturating at the ends of representable time, so that no input can panic.
pub(super) fn after(start: Timestamp, wait: SignedDuration) -> Timestamp {
    start.checked_add(wait).unwrap_or(if wait.is_negative() {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}
