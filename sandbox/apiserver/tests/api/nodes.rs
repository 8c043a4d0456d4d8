//! What needs nodes: logs, proxies, metrics; and scale, binding, eviction.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, EvictParams, LogParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServerConfig, ContainerUsage, LogOptions, NodeAccess, PodUsage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{Cluster, connect, connect_with, deployment, pod, raw, refused};

/// Nodes with one web server behind every pod; port 9 never answers.
struct FakeNodes {
    web: std::net::SocketAddr,
}

impl FakeNodes {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let web = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut head = vec![0; 4096];
                    let length = stream.read(&mut head).await.unwrap_or_default();
                    let line = String::from_utf8_lossy(&head[..length])
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .to_owned();
                    if line.contains("/silent") {
                        return std::future::pending::<()>().await;
                    }
                    let answer = format!(
                        "HTTP/1.1 418 Teapot\r\ncontent-length: {}\r\nx-seen: yes\r\n\r\n{line}",
                        line.len()
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { web }
    }
}

impl NodeAccess for FakeNodes {
    fn dial(&self, _: &str, _: &str, _: u16) -> BoxFuture<'_, std::io::Result<TcpStream>> {
        TcpStream::connect(self.web).boxed()
    }

    fn logs(
        &self,
        _: &str,
        pod: &str,
        options: LogOptions,
    ) -> BoxFuture<'_, std::io::Result<BoxStream<'static, std::io::Result<Bytes>>>> {
        let text = format!(
            "{pod}/{} tail={:?}\n",
            options.container.unwrap_or_default(),
            options.tail_lines
        );
        let stream = futures::stream::iter([Ok(Bytes::from(text))]).boxed();
        std::future::ready(Ok(stream)).boxed()
    }

    fn usage(&self) -> Vec<PodUsage> {
        vec![PodUsage {
            namespace: "default".into(),
            pod: "a".into(),
            timestamp: jiff::Timestamp::UNIX_EPOCH,
            window: Duration::from_secs(15),
            containers: vec![ContainerUsage {
                container: "main".into(),
                cpu_nanocores: 250_000_000,
                memory_bytes: 1 << 20,
            }],
        }]
    }
}

async fn running_pod(cluster: &Cluster, name: &str) -> Api<Pod> {
    // Its node; there may be one from another pod.
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let node = serde_json::from_value(json!({"metadata": {"name": "n1"}})).unwrap();
    let _ = nodes.create(&PostParams::default(), &node).await;
    let api: Api<Pod> = Api::default_namespaced(cluster.client.clone());
    let mut object = pod(name);
    object["spec"]["nodeName"] = json!("n1");
    object["spec"]["containers"][0]["ports"] = json!([{"name": "http", "containerPort": 8080}]);
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap())
        .await
        .unwrap();
    let status = Patch::Merge(json!({"status": {"phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "main", "ready": true, "restartCount": 0, "image": "web:1", "imageID": "", "state": {"running": {}}}]}}));
    api.patch_status(name, &PatchParams::default(), &status).await.unwrap();
    api
}

#[tokio::test]
async fn logs_come_from_the_node() {
    let cluster = connect().await;
    let api = running_pod(&cluster, "a").await;
    assert_eq!(refused(api.logs("a", &LogParams::default()).await).code, 503);
    cluster.server.set_nodes(Arc::new(FakeNodes::start().await));
    let log = api
        .logs(
            "a",
            &LogParams {
                tail_lines: Some(3),
                ..LogParams::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(log, "a/main tail=Some(3)\n");
    let status = refused(
        api.logs(
            "a",
            &LogParams {
                container: Some("x".into()),
                ..LogParams::default()
            },
        )
        .await,
    );
    assert_eq!(
        (status.code, status.message.as_str()),
        (400, "container x is not valid for pod a")
    );
    assert_eq!(refused(api.logs("b", &LogParams::default()).await).code, 404);
}

#[tokio::test]
async fn proxies_reach_pods_and_services() {
    let cluster = connect_with(ApiServerConfig {
        proxy_timeout: Duration::from_secs(2),
        ..ApiServerConfig::default()
    })
    .await;
    running_pod(&cluster, "a").await;
    cluster.server.set_nodes(Arc::new(FakeNodes::start().await));
    let get = async |path: &str| raw(&cluster.client, "GET", path, "application/json", &Value::Null).await;
    let base = "/api/v1/namespaces/default";
    let (code, body, _) = get(&format!("{base}/pods/a:8080/proxy/x/y?q=1")).await;
    assert_eq!((code, body), (418, json!("GET /x/y?q=1 HTTP/1.1")));
    let (code, body, _) = raw(
        &cluster.client,
        "PUT",
        &format!("{base}/pods/http:a:http/proxy"),
        "text/plain",
        &Value::Null,
    )
    .await;
    assert_eq!((code, body), (418, json!("PUT / HTTP/1.1")));
    assert_eq!(get(&format!("{base}/pods/missing:1/proxy/")).await.0, 404);
    let (code, status, _) = get(&format!("{base}/pods/a/proxy/silent")).await;
    assert_eq!((code, &status["kind"]), (504, &json!("Status")));

    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80}]}});
    raw(
        &cluster.client,
        "POST",
        &format!("{base}/services"),
        "application/json",
        &service,
    )
    .await;
    assert_eq!(get(&format!("{base}/services/s/proxy/z")).await.0, 503);
    let slice = json!({"metadata": {"name": "s-1", "labels": {"kubernetes.io/service-name": "s"}}, "addressType": "IPv4",
        "ports": [{"name": "web", "port": 8080}],
        "endpoints": [{"addresses": ["127.10.0.1"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "a"}}]});
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    assert_eq!(
        raw(&cluster.client, "POST", slices, "application/json", &slice).await.0,
        201
    );
    assert_eq!(
        get(&format!("{base}/services/s:web/proxy/z")).await.1,
        json!("GET /z HTTP/1.1")
    );
    assert_eq!(get(&format!("{base}/services/s:99/proxy/z")).await.0, 503);
}

#[tokio::test]
async fn metrics_come_from_the_node() {
    let cluster = connect().await;
    running_pod(&cluster, "a").await;
    let path = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";
    assert_eq!(
        raw(&cluster.client, "GET", path, "application/json", &Value::Null)
            .await
            .0,
        503
    );
    cluster.server.set_nodes(Arc::new(FakeNodes::start().await));
    let (_, list, _) = raw(
        &cluster.client,
        "GET",
        &format!("{path}?labelSelector=app%3Da"),
        "application/json",
        &Value::Null,
    )
    .await;
    assert_eq!(
        list["items"][0]["containers"],
        json!([{"name": "main", "usage": {"cpu": "250000000n", "memory": "1024Ki"}}])
    );
    let (_, none, _) = raw(
        &cluster.client,
        "GET",
        &format!("{path}?labelSelector=app%3Db"),
        "application/json",
        &Value::Null,
    )
    .await;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn scale_is_a_view_of_replicas() {
    let cluster = connect().await;
    let api: Api<Deployment> = Api::default_namespaced(cluster.client.clone());
    api.create(
        &PostParams::default(),
        &serde_json::from_value(deployment("web")).unwrap(),
    )
    .await
    .unwrap();
    let scale = api.get_scale("web").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(1));
    assert_eq!(scale.status.unwrap().selector.as_deref(), Some("app=web"));
    let patch = Patch::Merge(json!({"spec": {"replicas": 4}}));
    let scaled = api.patch_scale("web", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(4));
    let object = api.get("web").await.unwrap();
    assert_eq!(
        (object.spec.unwrap().replicas, object.metadata.generation),
        (Some(4), Some(2))
    );
    let negative = Patch::Merge(json!({"spec": {"replicas": -1}}));
    assert_eq!(
        refused(api.patch_scale("web", &PatchParams::default(), &negative).await).code,
        422
    );
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let cluster = connect().await;
    let api: Api<Pod> = Api::default_namespaced(cluster.client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(pod("a")).unwrap())
        .await
        .unwrap();
    let path = "/api/v1/namespaces/default/pods/a/binding";
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}});
    assert_eq!(
        raw(&cluster.client, "POST", path, "application/json", &binding).await.0,
        201
    );
    let bound = api.get("a").await.unwrap();
    assert_eq!(bound.spec.unwrap().node_name.as_deref(), Some("n1"));
    assert!(
        bound
            .status
            .unwrap()
            .conditions
            .unwrap()
            .iter()
            .any(|c| c.type_ == "PodScheduled" && c.status == "True")
    );
    assert_eq!(
        raw(&cluster.client, "POST", path, "application/json", &binding).await.0,
        409
    );
}

#[tokio::test]
async fn evictions_respect_the_budget() {
    let cluster = connect().await;
    let api = running_pod(&cluster, "a").await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget =
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    raw(&cluster.client, "POST", budgets, "application/json", &budget).await;
    let set = async |allowed: i64| {
        let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1,
            "desiredHealthy": 1, "expectedPods": 1}});
        raw(
            &cluster.client,
            "PATCH",
            &format!("{budgets}/b/status"),
            "application/merge-patch+json",
            &status,
        )
        .await
        .0
    };
    assert_eq!(
        refused(api.evict("a", &EvictParams::default()).await).code,
        429,
        "the budget has not been computed yet"
    );
    assert_eq!(set(0).await, 200);
    let status = refused(api.evict("a", &EvictParams::default()).await);
    assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"));
    assert_eq!(status.details.unwrap().causes[0].reason, "DisruptionBudget");
    assert_eq!(set(1).await, 200);
    api.evict("a", &EvictParams::default()).await.unwrap();
    assert!(api.get("a").await.unwrap().metadata.deletion_timestamp.is_some());
    let (_, after, _) = raw(
        &cluster.client,
        "GET",
        &format!("{budgets}/b"),
        "application/json",
        &Value::Null,
    )
    .await;
    assert_eq!(after["status"]["disruptionsAllowed"], 0);
}
