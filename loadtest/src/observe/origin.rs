//! Asking origins how often each shield fetched what.

use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use showrunner_crds::{labels, names, platform::Role};
use tokio::time::timeout;
use tracing::debug;

use super::Subject;
use crate::evidence::OriginSeen;

/// How long one origin may take to answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// Origins asked at a time.
const AT_ONCE: usize = 4;

/// Asks every origin pod through the API server. An origin that does not answer is left out.
pub(super) async fn ask_all(client: &Client, subject: &Subject) -> Vec<OriginSeen> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &subject.namespace);
    let selector = format!(
        "{}={},{}={}",
        labels::PLATFORM,
        subject.platform,
        labels::ROLE,
        Role::Origin
    );
    let listed = match timeout(DEADLINE, pods.list(&ListParams::default().labels(&selector))).await {
        Ok(Ok(listed)) => listed,
        Ok(Err(error)) => {
            debug!(%error, "origins cannot be listed");
            return Vec::new();
        }
        Err(_) => return Vec::new(),
    };
    stream::iter(listed.items)
        .map(|pod| ask(client, subject, pod.name_any()))
        .buffer_unordered(AT_ONCE)
        .filter_map(|seen| async { seen })
        .collect()
        .await
}

async fn ask(client: &Client, subject: &Subject, pod: String) -> Option<OriginSeen> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{pod}:{}/proxy/stats",
        subject.namespace,
        names::HTTP_PORT
    );
    let request = http::Request::get(path).body(Vec::new()).ok()?;
    match timeout(DEADLINE, client.request(request)).await {
        Ok(Ok(stats)) => Some(OriginSeen { pod, stats }),
        Ok(Err(error)) => {
            debug!(%error, pod, "origin gave no statistics");
            None
        }
        Err(_) => None,
    }
}
