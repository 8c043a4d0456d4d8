//! What watches over the workloads: autoscalers under the edges' floors, and disruption budgets.

use k8s_openapi::{
    api::{
        autoscaling::v2::{
            CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
            HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
            ResourceMetricSource,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use showrunner_crds::platform::Role;

use super::{meta::About, object};
use crate::{
    floor::Floor,
    kind::Kind,
    resources::Object,
    validate::{Region, ValidatedPlatform},
};

/// Kubernetes takes no stabilisation window longer than an hour.
const LONGEST_WINDOW: u64 = 3600;
/// Seconds over which a scaling policy counts.
const PERIOD: i32 = 15;

/// The autoscaler of a region's edges, with the floor as its minimum; none where autoscaling is off.
pub(super) fn autoscaler(platform: &ValidatedPlatform, region: &Region, floor: Option<&Floor>) -> Option<Object> {
    let scaling = &platform.edge.autoscaling;
    if !scaling.enabled {
        return None;
    }
    let about = About::new(platform, Some(&region.name), Role::Edge);
    let name = platform.regional(&region.name, Role::Edge);
    let down = scaling.scale_down_stabilisation.as_secs().min(LONGEST_WINDOW);
    let autoscaler = HorizontalPodAutoscaler {
        metadata: about.meta(name.clone()),
        spec: HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".into()),
                kind: "Deployment".into(),
                name,
            },
            min_replicas: Some(floor.map_or(scaling.min, |floor| floor.replicas).as_i32()),
            max_replicas: scaling.max.as_i32(),
            metrics: Some(vec![MetricSpec {
                type_: "Resource".into(),
                resource: Some(ResourceMetricSource {
                    name: "cpu".into(),
                    target: MetricTarget {
                        type_: "Utilization".into(),
                        average_utilization: i32::try_from(scaling.target_cpu_percent).ok(),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]),
            behavior: Some(HorizontalPodAutoscalerBehavior {
                // Up at once, by doubling or by four, whichever is more: an audience does not wait.
                scale_up: Some(rules(0, &[("Percent", 100), ("Pods", 4)])),
                scale_down: Some(rules(down, &[("Percent", 100)])),
            }),
        },
        ..HorizontalPodAutoscaler::default()
    };
    Some(object(
        Kind::HorizontalPodAutoscaler,
        Some(&region.name),
        Role::Edge,
        &autoscaler,
    ))
}

fn rules(window: u64, policies: &[(&str, i32)]) -> HPAScalingRules {
    HPAScalingRules {
        stabilization_window_seconds: i32::try_from(window).ok(),
        select_policy: Some("Max".into()),
        policies: Some(
            policies
                .iter()
                .map(|&(type_, value)| HPAScalingPolicy {
                    type_: type_.to_owned(),
                    value,
                    period_seconds: PERIOD,
                })
                .collect(),
        ),
        ..HPAScalingRules::default()
    }
}

/// One pod of a region and role at a time may be drained: a budget that also lets a single replica move.
pub(super) fn disruption_budget(platform: &ValidatedPlatform, region: &Region, role: Role) -> Option<Object> {
    if role == Role::Services && platform.deployed_services().next().is_none() {
        return None;
    }
    let about = About::new(platform, Some(&region.name), role);
    let budget = PodDisruptionBudget {
        metadata: about.meta(platform.regional(&region.name, role)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(about.label_selector()),
            // Pods that are not ready protect nothing by staying.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    };
    Some(object(Kind::PodDisruptionBudget, Some(&region.name), role, &budget))
}
