//! Asking for the audience (client): every ready steering server, through the API server's pod proxy, so that the operator
//! needs no route to the pods. Regions do not wait for one another.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, future::join_all, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt};
use showrunner_crds::{labels, names::HTTP_PORT, platform::Role, wire::AudienceReport};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::{observed::region_of, pods::is_ready, validate::names::RegionName};

/// Steering servers of one region asked at the same time.
const CONCURRENT_QUESTIONS: usize = 8;
/// How long the servers of a region may take, all of them.
const QUESTION_DEADLINE: Duration = Duration::from_secs(1);
/// How long they may take if nobody there answered the last time. A region that hangs then costs a look this much; one that
/// is back answers well within it.
const SILENT_DEADLINE: Duration = Duration::from_millis(250);

/// What came of asking one steering server.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Name of its pod.
    pub server: String,
    /// Region it is in, if it says so.
    pub region: Option<RegionName>,
    /// Its audience; none where it did not tell in time.
    pub report: Option<AudienceReport>,
}

/// Asks every ready steering server. Who does not answer in time is reported as silent, not as an error.
pub async fn ask_audience(client: &Client, pods: &[Pod], silent: &BTreeSet<RegionName>) -> Vec<Answer> {
    let mut regions: BTreeMap<Option<RegionName>, Vec<(String, String)>> = BTreeMap::new();
    for pod in pods {
        let steering = pod
            .labels()
            .get(labels::ROLE)
            .is_some_and(|role| role == Role::Steering.as_str());
        if steering && is_ready(pod) {
            let server = (pod.namespace().unwrap_or_default(), pod.name_any());
            regions.entry(region_of(pod)).or_default().push(server);
        }
    }
    let rounds = regions.into_iter().map(async |(region, servers)| {
        let quiet = region.as_ref().is_some_and(|region| silent.contains(region));
        let patience = if quiet { SILENT_DEADLINE } else { QUESTION_DEADLINE };
        let deadline = Instant::now() + patience;
        let questions = servers.into_iter().map(|(namespace, server)| {
            let region = region.clone();
            async move {
                let report = ask_one(client, &namespace, &server, deadline).await;
                Answer { server, region, report }
            }
        });
        let answers: Vec<Answer> = stream::iter(questions)
            .buffer_unordered(CONCURRENT_QUESTIONS)
            .collect()
            .await;
        answers
    });
    join_all(rounds).await.into_iter().flatten().collect()
}

async fn ask_one(client: &Client, namespace: &str, pod: &str, deadline: Instant) -> Option<AudienceReport> {
    match timeout_at(deadline, ask(client, namespace, pod)).await {
        Ok(Ok(report)) => Some(report),
        Ok(Err(error)) => {
            debug!(%pod, %error, "steering server does not tell its audience");
            None
        }
        Err(_) => {
            debug!(%pod, "steering server does not tell its audience in time");
            None
        }
    }
}

async fn ask(client: &Client, namespace: &str, pod: &str) -> kube::Result<AudienceReport> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{HTTP_PORT}/proxy/audience");
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}
