//! The flags of kube-controller-manager and the feature gates that the algorithm depends on.

use jiff::SignedDuration;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerBehavior;
use serde::{Deserialize, Serialize};

use crate::quantity;

/// What the cluster's controller manager was started with. The default is Kubernetes' own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// `--horizontal-pod-autoscaler-sync-period`: how often each autoscaler is evaluated. Used by projections only.
    pub sync_period: SignedDuration,
    /// `--horizontal-pod-autoscaler-tolerance`: how far the ratio may be from 1 without any change; a fraction.
    pub tolerance: f64,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`: CPU samples of pods younger than this count only when
    /// the pod is ready and the sample began after it became so.
    pub cpu_initialization_period: SignedDuration,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`: a pod that turned unready within this time of its start
    /// is held to have never been ready.
    pub initial_readiness_delay: SignedDuration,
    /// `--horizontal-pod-autoscaler-downscale-stabilization`: the window of the no-`behavior` path, and of `scaleDown`
    /// rules that name none.
    pub downscale_stabilization: SignedDuration,
    /// Without `behavior`: the size may be multiplied by this much in one decision.
    pub scale_up_limit_factor: f64,
    /// Without `behavior`: the size up to which the factor does not limit.
    pub scale_up_limit_minimum: f64,
    /// Feature gate `PodLevelResources`: requests of the pod as a whole replace the sum over containers.
    pub pod_level_resources: bool,
    /// Feature gate `HPAConfigurableTolerance`: `behavior.scaleUp.tolerance` and `behavior.scaleDown.tolerance` count.
    pub configurable_tolerance: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sync_period: SignedDuration::from_secs(15),
            tolerance: 0.1,
            cpu_initialization_period: SignedDuration::from_secs(300),
            initial_readiness_delay: SignedDuration::from_secs(30),
            downscale_stabilization: SignedDuration::from_secs(300),
            scale_up_limit_factor: 2.0,
            scale_up_limit_minimum: 4.0,
            pod_level_resources: true,
            configurable_tolerance: true,
        }
    }
}

/// How far below and above 1 a ratio may lie without any change; both edges belong to the range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerances {
    /// Fraction below 1.
    pub down: f64,
    /// Fraction above 1.
    pub up: f64,
}

impl Tolerances {
    /// The tolerances of one autoscaler: its own where it names them, else the cluster's.
    pub fn of(behavior: Option<&HorizontalPodAutoscalerBehavior>, settings: &Settings) -> Self {
        let both = Self {
            down: settings.tolerance,
            up: settings.tolerance,
        };
        let Some(behavior) = behavior.filter(|_| settings.configurable_tolerance) else {
            return both;
        };
        let named = |rules: Option<&k8s_openapi::api::autoscaling::v2::HPAScalingRules>| {
            rules
                .and_then(|rules| rules.tolerance.as_ref())
                .and_then(|tolerance| quantity::approximate(tolerance).ok())
        };
        Self {
            down: named(behavior.scale_down.as_ref()).unwrap_or(both.down),
            up: named(behavior.scale_up.as_ref()).unwrap_or(both.up),
        }
    }

    /// Whether `ratio` is too close to 1 to act on. A ratio that is not a number is never within.
    pub fn contain(self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}
