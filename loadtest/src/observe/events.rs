//! The cluster's own words: Events about the platform's objects, and about the nodes they run on.

use futures::TryStreamExt;
use k8s_openapi::api::events::v1::Event as ClusterEvent;
use kube::{
    Api, Client,
    api::ListParams,
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::evidence::{Event, KubeEventSeen, Recorder};

/// Nodes belong to no namespace; Kubernetes keeps what concerns them here.
const OF_NODES: &str = "default";
/// How long the first list may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Records Events about the objects of `namespace` and about nodes, from now on until `stop`.
pub(super) async fn watch(client: Client, namespace: String, recorder: Recorder, stop: CancellationToken) {
    let own = follow(&client, &namespace, &recorder, &stop, |_| true);
    if namespace == OF_NODES {
        return own.await;
    }
    // Others may use that namespace too: theirs is no evidence of ours.
    tokio::join!(own, follow(&client, OF_NODES, &recorder, &stop, about_a_node));
}

fn about_a_node(event: &ClusterEvent) -> bool {
    event.regarding.as_ref().and_then(|about| about.kind.as_deref()) == Some("Node")
}

async fn follow(
    client: &Client,
    namespace: &str,
    recorder: &Recorder,
    stop: &CancellationToken,
    wanted: impl Fn(&ClusterEvent) -> bool,
) {
    let api: Api<ClusterEvent> = Api::namespaced(client.clone(), namespace);
    // What happened before the drill is not its evidence.
    let since = match timeout(DEADLINE, api.list(&ListParams::default().limit(1))).await {
        Ok(Ok(list)) => list.metadata.resource_version.unwrap_or_default(),
        Ok(Err(error)) => {
            warn!(%error, namespace, "cluster events cannot be listed; the evidence will have none");
            return;
        }
        Err(_) => {
            warn!(
                namespace,
                "cluster events are not listed in time; the evidence will have none"
            );
            return;
        }
    };
    let stream = watcher(api, watcher::Config::default())
        .default_backoff()
        .applied_objects();
    let mut stream = std::pin::pin!(stream);
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = stream.try_next() => next,
        };
        match next {
            Ok(Some(event)) if newer(&event, &since) && wanted(&event) => recorder.record(Event::Kube(seen(event))),
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => warn!(%error, namespace, "watch on cluster events"),
        }
    }
}

fn newer(event: &ClusterEvent, since: &str) -> bool {
    let version = event.metadata.resource_version.as_deref();
    let later = |v: &str| {
        v.parse::<u64>()
            .ok()
            .zip(since.parse::<u64>().ok())
            .is_none_or(|(a, b)| a > b)
    };
    version.is_none_or(later)
}

fn seen(event: ClusterEvent) -> KubeEventSeen {
    let about = event.regarding.unwrap_or_default();
    KubeEventSeen {
        severity: event.type_.unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        object: format!("{}/{}", about.kind.unwrap_or_default(), about.name.unwrap_or_default()),
        message: event.note.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{convert::Infallible, path::Path};

    use http::{Request, Response, StatusCode};
    use kube::client::Body;
    use serde_json::json;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::evidence::Writer;

    /// A cluster whose Events come after the first look; watches are refused, so that it is asked again.
    fn client() -> Client {
        let service = tower::service_fn(|request: Request<Body>| async move {
            let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
            let event = |kind: &str, name: &str| {
                json!({"metadata": {"name": name, "resourceVersion": "2"}, "eventTime": null, "type": "Warning",
                    "reason": "Test", "note": "n", "regarding": {"kind": kind, "name": name}})
            };
            let items = if query.contains("limit=1&") || query.ends_with("limit=1") {
                Vec::new()
            } else if path.contains("/namespaces/default/") {
                vec![event("Pod", "of-others"), event("Node", "node-eu")]
            } else {
                vec![event("Pod", "ours")]
            };
            let list = json!({"kind": "EventList", "apiVersion": "events.k8s.io/v1",
                "metadata": {"resourceVersion": "1"}, "items": items});
            let status = if query.contains("watch=") {
                StatusCode::FORBIDDEN
            } else {
                StatusCode::OK
            };
            let body = Body::from(serde_json::to_vec(&list).unwrap());
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        });
        Client::new(service, "cinema")
    }

    async fn until_told(path: &Path, of: &[&str]) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let text = std::fs::read_to_string(path).unwrap();
            if of.iter().all(|name| text.contains(name)) || Instant::now() >= deadline {
                return text;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn events_of_nodes_are_recorded_beside_those_of_the_platform_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("evidence.jsonl");
        let (writer, recorder) = Writer::start(&path, Instant::now()).unwrap();
        let stop = CancellationToken::new();
        let watching = tokio::spawn(watch(client(), "cinema".into(), recorder, stop.clone()));
        let text = until_told(&path, &["Node/node-eu", "Pod/ours"]).await;
        stop.cancel();
        watching.await.unwrap();
        writer.finish().await.unwrap();
        assert!(text.contains("Node/node-eu") && text.contains("Pod/ours"), "{text}");
        assert!(!std::fs::read_to_string(&path).unwrap().contains("of-others"));
    }
}
