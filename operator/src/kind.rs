//! The kinds of object the operator renders, in one list: what is applied, watched and swept.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::core::ApiResource;

/// A kind of object. Secrets are not among them: the signing key is made once and never rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1 ServiceAccount`
    ServiceAccount,
    /// `v1 ConfigMap`
    ConfigMap,
    /// `networking.k8s.io/v1 NetworkPolicy`
    NetworkPolicy,
    /// `v1 Service`
    Service,
    /// `apps/v1 StatefulSet`
    StatefulSet,
    /// `apps/v1 Deployment`
    Deployment,
    /// `autoscaling/v2 HorizontalPodAutoscaler`
    HorizontalPodAutoscaler,
    /// `policy/v1 PodDisruptionBudget`
    PodDisruptionBudget,
}

/// When an object is applied relative to others, and why then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// What pods need to exist before they start: a cache resolves every upstream Service when it loads its rules.
    Foundation,
    /// What runs.
    Workload,
    /// What watches over what runs: its target has to exist.
    Policy,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::NetworkPolicy,
        Self::Service,
        Self::StatefulSet,
        Self::Deployment,
        Self::HorizontalPodAutoscaler,
        Self::PodDisruptionBudget,
    ];

    /// Group, version and plural.
    #[must_use]
    pub fn api_resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::HorizontalPodAutoscaler => ApiResource::erase::<HorizontalPodAutoscaler>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
        }
    }

    /// The field manager that owns what we write to objects of this kind: one a concern, so that `kubectl get
    /// --show-managed-fields` tells which part of the operator wrote a field.
    #[must_use]
    pub const fn field_manager(self) -> &'static str {
        match self {
            Self::ServiceAccount => "showrunner-operator/identity",
            Self::ConfigMap => "showrunner-operator/config",
            Self::NetworkPolicy | Self::Service => "showrunner-operator/network",
            Self::StatefulSet | Self::Deployment => "showrunner-operator/workloads",
            Self::HorizontalPodAutoscaler => "showrunner-operator/autoscaling",
            Self::PodDisruptionBudget => "showrunner-operator/availability",
        }
    }

    /// When objects of this kind are applied.
    #[must_use]
    pub const fn stage(self) -> Stage {
        match self {
            Self::ServiceAccount | Self::ConfigMap | Self::NetworkPolicy | Self::Service => Stage::Foundation,
            Self::StatefulSet | Self::Deployment => Stage::Workload,
            Self::HorizontalPodAutoscaler | Self::PodDisruptionBudget => Stage::Policy,
        }
    }
}
