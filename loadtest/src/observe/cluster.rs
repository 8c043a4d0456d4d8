//! One look at the edges and the platform's status.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::{Api, Client, ResourceExt, api::ListParams};
use showrunner_crds::{labels, platform::StreamingPlatform};
use tokio::time::timeout;

use super::Subject;
use crate::evidence::{ConditionSeen, EdgeSeen};

/// How long one look may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// What one look saw.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Edges of every region, by region.
    pub edges: Vec<EdgeSeen>,
    /// Conditions of the platform.
    pub conditions: Vec<ConditionSeen>,
    /// The platform itself.
    pub platform: Option<StreamingPlatform>,
}

/// Why a look failed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The API server refused or failed.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// It did not answer in time.
    #[error("the API server did not answer within {} s", DEADLINE.as_secs())]
    Deadline,
}

/// Looks once.
pub async fn snapshot(client: &Client, subject: &Subject) -> Result<Snapshot, ObserveError> {
    timeout(DEADLINE, read(client, subject))
        .await
        .map_err(|_| ObserveError::Deadline)?
}

async fn read(client: &Client, subject: &Subject) -> Result<Snapshot, ObserveError> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &subject.namespace);
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &subject.namespace);
    let platforms: Api<StreamingPlatform> = Api::namespaced(client.clone(), &subject.namespace);
    let edges = ListParams::default().labels(&format!(
        "{}={},{}=edge",
        labels::PLATFORM,
        subject.platform,
        labels::ROLE
    ));
    let (deployments, autoscalers, platform) = tokio::try_join!(
        deployments.list(&edges),
        autoscalers.list(&edges),
        platforms.get(&subject.platform)
    )?;
    let scalers: BTreeMap<String, HorizontalPodAutoscaler> = autoscalers
        .into_iter()
        .map(|h| (h.spec.scale_target_ref.name.clone(), h))
        .collect();
    let audience: BTreeMap<String, u32> = platform
        .status
        .iter()
        .flat_map(|s| &s.regions)
        .map(|r| (r.name.clone(), r.audience))
        .collect();
    let mut seen: Vec<EdgeSeen> = deployments
        .iter()
        .map(|deployment| {
            let region = deployment.labels().get(labels::REGION).cloned().unwrap_or_default();
            let scaler = scalers.get(&deployment.name_any());
            let count = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
            EdgeSeen {
                desired: count(deployment.spec.as_ref().and_then(|s| s.replicas)).unwrap_or(1),
                ready: count(deployment.status.as_ref().and_then(|s| s.ready_replicas)).unwrap_or(0),
                floor: scaler.and_then(|h| count(h.spec.min_replicas)),
                wanted: scaler.and_then(|h| count(Some(h.status.as_ref()?.desired_replicas))),
                audience: audience.get(&region).copied().unwrap_or(0),
                region,
            }
        })
        .collect();
    seen.sort_by(|a, b| a.region.cmp(&b.region));
    let conditions = platform
        .status
        .iter()
        .flat_map(|s| &s.conditions)
        .map(|c| ConditionSeen {
            condition: c.type_.clone(),
            status: c.status.clone(),
            reason: c.reason.clone(),
            message: c.message.clone(),
        })
        .collect();
    Ok(Snapshot {
        edges: seen,
        conditions,
        platform: Some(platform),
    })
}
