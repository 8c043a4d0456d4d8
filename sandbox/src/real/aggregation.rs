//! Registers this process as the server of metrics.k8s.io, which autoscalers and `kubectl top` ask.

use std::time::Duration;

use k8s_openapi::{api::core::v1::Service, kube_aggregator::pkg::apis::apiregistration::v1::APIService};
use kube::{
    Api, Client,
    api::PostParams,
    runtime::wait::{Condition, await_condition},
};
use serde_json::json;
use showrunner_node::agent::KUBELET_PORT;
use tokio::time::timeout;

use super::{RealError, certificates::METRICS_HOST};

/// How long the API server may take to find that the metrics are there. It tries again after a second, then after ever
/// longer.
const AVAILABLE: Duration = Duration::from_secs(60);
const NAME: &str = "v1beta1.metrics.k8s.io";

/// Creates the Service and the `APIService`, and waits until the API server has asked. `authority` is PEM.
///
/// The Service is one of type ExternalName: no endpoints are looked for, and its name goes through the egress as it is.
pub(super) async fn register(client: &Client, authority: &str) -> Result<(), RealError> {
    let refused = |error: kube::Error| RealError::NotReady(format!("metrics.k8s.io cannot be registered: {error}"));
    let malformed = |error: serde_json::Error| RealError::NotReady(error.to_string());
    let service: Service = serde_json::from_value(json!({
        "metadata": { "name": "metrics", "namespace": "kube-system" },
        "spec": { "type": "ExternalName", "externalName": METRICS_HOST },
    }))
    .map_err(malformed)?;
    let services: Api<Service> = Api::namespaced(client.clone(), "kube-system");
    services
        .create(&PostParams::default(), &service)
        .await
        .map_err(refused)?;
    let registration: APIService = serde_json::from_value(json!({
        "metadata": { "name": NAME },
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": { "name": "metrics", "namespace": "kube-system", "port": KUBELET_PORT },
            "caBundle": k8s_openapi::ByteString(authority.as_bytes().to_vec()),
        },
    }))
    .map_err(malformed)?;
    let registrations: Api<APIService> = Api::all(client.clone());
    registrations
        .create(&PostParams::default(), &registration)
        .await
        .map_err(refused)?;
    match timeout(AVAILABLE, await_condition(registrations.clone(), NAME, available())).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(RealError::NotReady(format!("metrics.k8s.io: {error}"))),
        Err(_) => {
            let found = registrations.get(NAME).await.ok().and_then(|found| found.status);
            Err(RealError::NotReady(format!(
                "metrics.k8s.io was not available within {} s: {found:?}",
                AVAILABLE.as_secs()
            )))
        }
    }
}

fn available() -> impl Condition<APIService> {
    |registration: Option<&APIService>| {
        let conditions = registration.and_then(|found| found.status.as_ref()?.conditions.as_ref());
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Available" && condition.status == "True")
    }
}
