//! A cluster that answers just what a drill asks, and can refuse to let a fault go.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Method, Request, Response, StatusCode};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use showrunner_loadtest::{
    drill::{Drill, Live},
    observe::Subject,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// How the cluster behaves.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// Whether the platform says that it is ready.
    pub ready: bool,
    /// Ready edges of the region that is not lost.
    pub others_ready: u32,
    /// Whether a deleted fault goes.
    pub lets_go: bool,
}

/// The cluster.
pub struct Stub {
    behaviour: Behaviour,
    chaos: Mutex<BTreeMap<String, Value>>,
    /// Base URL of what viewers and probes ask: everything is answered, nothing is a stream.
    web: String,
    /// Whether a fault was deleted.
    pub deleted: AtomicBool,
}

impl Stub {
    pub async fn start(behaviour: Behaviour) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut head = [0_u8; 4096];
                    let _ = stream.read(&mut head).await;
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n")
                        .await;
                });
            }
        });
        Arc::new(Self {
            behaviour,
            chaos: Mutex::default(),
            web,
            deleted: AtomicBool::new(false),
        })
    }

    fn client(self: &Arc<Self>) -> Client {
        let stub = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let stub = stub.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap_or_default();
                let (status, answer) = stub.answer(&parts.method, &parts.uri.to_string(), &body);
                let answer = Body::from(serde_json::to_vec(&answer).unwrap());
                let response = Response::builder().status(status).body(answer).unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        Client::new(service, "cinema")
    }

    fn answer(&self, method: &Method, target: &str, body: &[u8]) -> (StatusCode, Value) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let list = |kind: &str, version: &str, items: Vec<Value>| {
            let list =
                json!({"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items});
            (StatusCode::OK, list)
        };
        let missing = || {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": format!("{path} not found"), "reason": "NotFound", "code": 404});
            (StatusCode::NOT_FOUND, status)
        };
        if let Some((_, name)) = path.split_once("/networkchaos") {
            let mut chaos = self.chaos.lock().unwrap();
            let name = name.trim_start_matches('/');
            return match *method {
                Method::POST => {
                    let mut object: Value = serde_json::from_slice(body).unwrap();
                    let record = json!({"id": "cinema/edge", "phase": "Injected", "injectedCount": 1});
                    object["status"] = json!({"experiment": {"desiredPhase": "Run", "containerRecords": [record]}});
                    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                    chaos.insert(name, object.clone());
                    (StatusCode::CREATED, object)
                }
                Method::DELETE => {
                    self.deleted.store(true, Ordering::Relaxed);
                    let found = if self.behaviour.lets_go {
                        chaos.remove(name)
                    } else {
                        chaos.get(name).cloned()
                    };
                    found.map_or_else(missing, |object| (StatusCode::OK, object))
                }
                _ => chaos
                    .get(name)
                    .map_or_else(missing, |object| (StatusCode::OK, object.clone())),
            };
        }
        match path.rsplit('/').next().unwrap_or_default() {
            "deployments" => list(
                "DeploymentList",
                "apps/v1",
                vec![edges("eu", 1), edges("us", self.behaviour.others_ready)],
            ),
            "horizontalpodautoscalers" => list("HorizontalPodAutoscalerList", "autoscaling/v2", Vec::new()),
            "pods" if query.contains("origin") => list("PodList", "v1", Vec::new()),
            "pods" => list("PodList", "v1", vec![pod()]),
            "cinema" if path.contains("streamingplatforms") => (StatusCode::OK, self.platform()),
            _ => missing(),
        }
    }

    fn platform(&self) -> Value {
        let ready = if self.behaviour.ready { "True" } else { "False" };
        let condition = json!({"type": "Ready", "status": ready, "reason": "Test", "message": "as told",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        json!({
            "apiVersion": "showrunner.dev/v1alpha1", "kind": "StreamingPlatform",
            "metadata": {"name": "cinema", "namespace": "cinema"},
            "spec": platform_spec(),
            "status": {
                "conditions": [condition],
                "endpoints": {"channels": [{"name": "main", "url": format!("{}/play/main/multivariant.m3u8", self.web)}]},
            },
        })
    }
}

fn edges(region: &str, ready: u32) -> Value {
    let labels = json!({"showrunner.dev/region": region, "showrunner.dev/role": "edge"});
    json!({
        "metadata": {"name": format!("cinema-{region}-edge"), "namespace": "cinema", "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}},
        "status": {"readyReplicas": ready},
    })
}

fn pod() -> Value {
    json!({
        "metadata": {"name": "cinema-eu-edge-0", "namespace": "cinema", "uid": "1"},
        "status": {"phase": "Running"},
    })
}

fn platform_spec() -> Value {
    json!({
        "channels": [{"name": "main", "ladder": [{"name": "low", "width": 256, "height": 144, "bitrateKbps": 120}]}],
        "regions": [{"name": "eu"}, {"name": "us"}],
    })
}

/// A drill of three seconds that loses `eu` for one of them.
pub fn drill(stub: &Arc<Stub>, dir: &std::path::Path) -> Drill {
    let scenario = json!({
        "title": "Lost",
        "steadyStateDeadline": "2s",
        "audience": {
            "channel": "main",
            "regions": [{"region": "eu", "share": 1}],
            "phases": [{"name": "show", "duration": "3s", "viewers": 2}],
        },
        "faults": [{
            "name": "lose-eu",
            "start": {"phase": "show", "after": "1s"},
            "duration": "1s",
            "action": {"regionLoss": {"region": "eu"}},
        }],
        "gates": [{"name": "undone", "check": {"faultsUndone": {}}}],
    });
    Drill {
        client: stub.client(),
        subject: Subject {
            namespace: "cinema".into(),
            platform: "cinema".into(),
        },
        scenario_name: "lost".into(),
        scenario: serde_json::from_value(scenario).unwrap(),
        platform: serde_json::from_value(platform_spec()).unwrap(),
        seed: None,
        run: "lost-1".into(),
        dir: dir.to_owned(),
        undo_within: Duration::from_secs(1),
        live: Live::new(false),
    }
}
