//! What an autoscaler would do under a growing audience: the real algorithm against model pods, evaluation by evaluation.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde::Serialize;

use crate::audience::{AudienceError, Capacity};
use crate::hpa::{
    ContainerRequests, ContainerUsage, History, Named, Observation, Phase, PodUsage, PodValue, PodView, Readiness,
    ReadyCondition, Samples, ScaleView, Selector, Settings, evaluate,
};

/// An audience that grows evenly, then stays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ramp {
    /// Viewers at the start.
    pub initial: u64,
    /// Viewers that come each second; negative for an audience that leaves.
    pub per_second: f64,
    /// How long it grows.
    pub rises_for: SignedDuration,
}

impl Ramp {
    /// The audience `after` the start.
    pub fn viewers(&self, after: SignedDuration) -> u64 {
        let rising = after.as_secs_f64().min(self.rises_for.as_secs_f64()).max(0.0);
        (self.initial as f64 + self.per_second * rising).max(0.0).round() as u64
    }
}

/// How a replica behaves under an audience.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodModel {
    /// Viewers at which a replica uses all of its requests; also the ladder's capacity and headroom.
    pub capacity: Capacity,
    /// The most a replica can use, in percent of its request.
    pub saturation_percent: u32,
    /// From creation to readiness.
    pub start: SignedDuration,
    /// The window samples are averaged over.
    pub metric_window: SignedDuration,
    /// For Pods, Object and External metrics: thousandths per viewer, by metric name.
    pub per_viewer_m: BTreeMap<String, f64>,
}

/// The state at one evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// Seconds since the start.
    pub second: i64,
    /// The audience.
    pub viewers: u64,
    /// Replicas that serve.
    pub ready: u32,
    /// Replicas there are, started or not, before this evaluation.
    pub replicas: u32,
    /// What the evaluation decides.
    pub desired: u32,
    /// What the audience needs, headroom included.
    pub needed: u32,
    /// Viewers beyond what the ready replicas carry.
    pub unserved: u64,
}

/// A projection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Projection {
    /// One point per evaluation.
    pub points: Vec<Point>,
    /// The first second at which ready replicas fall short of the need, if ever.
    pub short_from: Option<i64>,
    /// The last such second.
    pub short_until: Option<i64>,
    /// The most viewers beyond capacity at once.
    pub worst_unserved: u64,
}

struct ModelPod {
    view: PodView,
    ready_at: Timestamp,
    /// Load at each evaluation since it serves, as a fraction of its capacity.
    load: Vec<f64>,
}

/// A resource the autoscaler looks at; requests are arbitrary, as only ratios matter.
const REQUEST_M: i64 = 100_000;

/// The container the autoscaler's metrics name, or a name of our own.
fn container_name(hpa: &HorizontalPodAutoscaler) -> String {
    let mut sources = hpa
        .spec
        .metrics
        .iter()
        .flatten()
        .filter_map(|metric| metric.container_resource.as_ref());
    sources
        .next()
        .map_or_else(|| "main".to_owned(), |source| source.container.clone())
}

fn resources(hpa: &HorizontalPodAutoscaler) -> Vec<String> {
    let mut names: Vec<String> = hpa
        .spec
        .metrics
        .iter()
        .flatten()
        .filter_map(|metric| {
            let resource = metric.resource.as_ref().map(|source| source.name.clone());
            resource.or_else(|| metric.container_resource.as_ref().map(|source| source.name.clone()))
        })
        .collect();
    if names.is_empty() {
        names.push("cpu".to_owned());
    }
    names.dedup();
    names
}

/// Runs `hpa` from `replicas` ready pods under `ramp` for `lasts`, with `history` as the controller's memory. `start` is
/// only a label on the clock.
#[allow(clippy::too_many_arguments)] // a simulation has as many inputs as the world it stands for
pub fn project(
    hpa: &HorizontalPodAutoscaler,
    replicas: u32,
    mut history: History,
    ramp: &Ramp,
    model: &PodModel,
    settings: &Settings,
    lasts: SignedDuration,
    start: Timestamp,
) -> Result<Projection, AudienceError> {
    let sync = settings.sync_period.max(SignedDuration::from_secs(1));
    let window = (model.metric_window.as_secs_f64() / sync.as_secs_f64()).ceil().max(1.0) as usize;
    let (container, resources) = (container_name(hpa), resources(hpa));
    let old = start
        .checked_sub(SignedDuration::from_hours(24))
        .unwrap_or(Timestamp::MIN);
    let mut created = 0_usize;
    let mut pods: Vec<ModelPod> = Vec::new();
    let mut points = Vec::new();
    for _ in 0..replicas {
        pods.push(new_pod(&container, &resources, &mut created, old, old));
    }
    let mut elapsed = SignedDuration::ZERO;
    while elapsed <= lasts {
        let now = start.checked_add(elapsed).unwrap_or(Timestamp::MAX);
        let viewers = ramp.viewers(elapsed);
        let serving = pods.iter().filter(|pod| pod.ready_at <= now).count();
        serve(&mut pods, viewers, serving, model, now);
        let observation = Observation {
            scale: Ok(ScaleView {
                spec_replicas: pods.len() as i32,
                status_replicas: pods.len() as i32,
                selector: Selector::Valid,
            }),
            pods: pods.iter().map(|pod| pod.view.clone()).collect(),
            samples: samples(&pods, viewers, window, &container, &resources, model, now),
        };
        let mut decision = evaluate(hpa, &observation, &mut history, settings, now);
        decision.scale_written(hpa, &mut history, settings, now);
        let carried = serving as u64 * u64::from(model.capacity.viewers_per_replica);
        let desired = decision.desired_replicas.max(0) as usize;
        points.push(Point {
            second: elapsed.as_secs(),
            viewers,
            ready: serving as u32,
            replicas: pods.len() as u32,
            desired: desired as u32,
            needed: model.capacity.replicas(viewers)?,
            unserved: viewers.saturating_sub(carried),
        });
        while pods.len() < desired {
            let ready_at = now.checked_add(model.start).unwrap_or(Timestamp::MAX);
            pods.push(new_pod(&container, &resources, &mut created, now, ready_at));
        }
        // The newest go first, as a ReplicaSet prefers to delete those that have been ready for the shortest time.
        pods.truncate(desired);
        elapsed = elapsed.checked_add(sync).unwrap_or(SignedDuration::MAX);
    }
    let mut short = points
        .iter()
        .filter(|point| point.ready < point.needed)
        .map(|point| point.second);
    Ok(Projection {
        short_from: short.next(),
        short_until: points
            .iter()
            .rfind(|point| point.ready < point.needed)
            .map(|point| point.second),
        worst_unserved: points.iter().map(|point| point.unserved).max().unwrap_or_default(),
        points,
    })
}

fn new_pod(container: &str, resources: &[String], created: &mut usize, at: Timestamp, ready_at: Timestamp) -> ModelPod {
    *created += 1;
    ModelPod {
        view: PodView {
            name: format!("pod-{created}"),
            phase: Phase::Pending,
            start_time: Some(at),
            containers: vec![ContainerRequests {
                name: container.to_owned(),
                requests: resources.iter().map(|resource| (resource.clone(), REQUEST_M)).collect(),
            }],
            ..PodView::default()
        },
        ready_at,
        load: Vec::new(),
    }
}

fn serve(pods: &mut [ModelPod], viewers: u64, serving: usize, model: &PodModel, now: Timestamp) {
    let capacity = f64::from(model.capacity.viewers_per_replica.max(1));
    let share = if serving == 0 {
        0.0
    } else {
        viewers as f64 / serving as f64 / capacity
    };
    let load = share.min(f64::from(model.saturation_percent) / 100.0);
    for pod in pods.iter_mut().filter(|pod| pod.ready_at <= now) {
        pod.view.phase = Phase::Running;
        pod.view.ready = Some(ReadyCondition {
            status: Readiness::True,
            last_transition: pod.ready_at,
        });
        pod.load.push(load);
    }
}

fn samples(
    pods: &[ModelPod],
    viewers: u64,
    window: usize,
    container: &str,
    resources: &[String],
    model: &PodModel,
    now: Timestamp,
) -> Samples {
    let mean = |load: &[f64]| {
        let recent = &load[load.len().saturating_sub(window)..];
        recent.iter().sum::<f64>() / recent.len().max(1) as f64
    };
    let serving: Vec<&ModelPod> = pods.iter().filter(|pod| !pod.load.is_empty()).collect();
    let usage = |pod: &&ModelPod| {
        let value = (mean(&pod.load) * REQUEST_M as f64).round() as i64;
        let usage = resources.iter().map(|resource| (resource.clone(), value)).collect();
        PodUsage {
            pod: pod.view.name.clone(),
            timestamp: now,
            window: model.metric_window,
            containers: vec![ContainerUsage {
                name: container.to_owned(),
                usage,
            }],
        }
    };
    let mut samples = Samples::of_resources(serving.iter().map(usage).collect());
    for (name, per_viewer) in &model.per_viewer_m {
        let total = (viewers as f64 * per_viewer).round() as i64;
        let each = total / (serving.len().max(1) as i64);
        let value = |pod: &&ModelPod| PodValue {
            pod: pod.view.name.clone(),
            timestamp: now,
            window: model.metric_window,
            value: each,
        };
        let values = serving.iter().map(value).collect();
        let name = name.clone();
        samples.pods.push(Named {
            name: name.clone(),
            selector: None,
            object: None,
            answer: Ok(values),
        });
        samples.object.push(Named {
            name: name.clone(),
            selector: None,
            object: None,
            answer: Ok(total),
        });
        samples.external.push(Named {
            name,
            selector: None,
            object: None,
            answer: Ok(vec![total]),
        });
    }
    samples
}
