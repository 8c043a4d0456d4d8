//! Kubernetes' own API server with the nodes of this process: what it asks of them arrives, and what they report it takes.
//!
//! Skipped, with a word about it, where its binaries are not built (`make kubernetes`).

#![allow(clippy::unwrap_used)]

use std::{path::Path, time::Duration};

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client,
    api::{LogParams, PostParams},
};
use serde_json::{Value, json};
use showrunner_node::{
    ImageTable, NodeConfig, NodeRuntime, RuntimeConfig,
    network::{FaultRule, Impairment, NetworkConfig, PeerSet, ReportedAddresses},
};
use showrunner_sandbox::real::{Assets, RealConfig, RealControlPlane};
use tokio::time::{Instant, sleep};

/// Longest that anything awaited may take.
const DEADLINE: Duration = Duration::from_secs(60);
const SERVER: &str = "import http.server, os\n\
    class Hello(http.server.BaseHTTPRequestHandler):\n\
    \x20   def do_GET(self):\n\
    \x20       self.send_response(200); self.end_headers(); self.wfile.write(b'hello')\n\
    http.server.HTTPServer((os.environ['POD_IP'], 8080), Hello).serve_forever()\n";

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < end, "never: {what}; {why}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn get(client: &Client, path: &str) -> Result<String, String> {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    client.request_text(request).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_reaches_pods_logs_and_metrics() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let Ok(assets) = Assets::find(workspace) else {
        println!("skipped: the binaries are not built");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = RealConfig {
        // This is about the API server: the pod is bound by hand.
        controllers: false,
        scheduler: false,
        ..RealConfig::new(assets, folder.path().join("control-plane"))
    };
    let plane = RealControlPlane::start(&config).await.unwrap();
    let client = plane.client();
    let runtime = NodeRuntime::new(
        RuntimeConfig {
            images: ImageTable::default().with("python", ["python3"]),
            network: NetworkConfig {
                reported: ReportedAddresses::Private,
                hang: Duration::from_millis(300),
                ..NetworkConfig::default()
            },
            ..RuntimeConfig::new(folder.path().join("nodes"))
        },
        client.clone(),
    )
    .unwrap();
    plane.adopt(&runtime).await.unwrap();
    runtime.spawn_node(NodeConfig::new("node-a"));
    let nodes: Api<Node> = Api::all(client.clone());
    until("the node is ready", async || {
        let node = nodes.get("node-a").await.map_err(|error| error.to_string())?;
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        let ready = conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        ready.then_some(()).ok_or(format!("{conditions:?}"))
    })
    .await;

    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"nodeName": "node-a", "tolerations": [{"operator": "Exists"}], "containers": [{"name": "web", "image": "python",
            "args": ["-c", SERVER], "ports": [{"containerPort": 8080}],
            "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}]}
    }))
    .unwrap();
    until("the pod is admitted", async || {
        pods.create(&PostParams::default(), &pod)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .await;

    let proxied = "/api/v1/namespaces/default/pods/web:8080/proxy/";
    let hello = until("the proxy answers", async || get(&client, proxied).await).await;
    assert_eq!(hello, "hello");
    let reported = pods.get("web").await.unwrap().status.unwrap().pod_ip.unwrap();
    assert!(reported.starts_with("10.1"), "{reported}");

    // A Service by ClusterIP, from outside, by the slice that upstream's controller would write.
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let service =
        serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 8080}]}})).unwrap();
    let service = services.create(&PostParams::default(), &service).await.unwrap();
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
    let slice = serde_json::from_value(json!({
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
        "ports": [{"port": 8080, "name": ""}], "endpoints": [{"addresses": [reported], "conditions": {"ready": true}}]
    }))
    .unwrap();
    slices.create(&PostParams::default(), &slice).await.unwrap();
    let address = service.spec.unwrap().cluster_ip.unwrap();
    until("the ClusterIP answers", async || {
        let stream = tokio::net::TcpStream::connect(format!("{address}:8080")).await;
        stream.map(drop).map_err(|error| format!("{address}: {error}"))
    })
    .await;
    let log = until("the log has the requests", async || {
        let log = pods
            .logs("web", &LogParams::default())
            .await
            .map_err(|error| error.to_string())?;
        if log.contains("GET / HTTP/1.1") {
            Ok(log)
        } else {
            Err(log)
        }
    })
    .await;
    let params = LogParams {
        tail_lines: Some(1),
        ..LogParams::default()
    };
    assert_eq!(pods.logs("web", &params).await.unwrap().lines().count(), 1, "{log}");

    let measured = until("the pod is measured", async || {
        let path = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?labelSelector=app%3Dweb";
        let list: Value = serde_json::from_str(&get(&client, path).await?).map_err(|error| error.to_string())?;
        list["items"].get(0).cloned().ok_or(list.to_string())
    })
    .await;
    assert_eq!(measured["containers"][0]["name"], "web");
    let others = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?labelSelector=app%3Dother";
    let others: Value = serde_json::from_str(&get(&client, others).await.unwrap()).unwrap();
    assert_eq!(others["items"], json!([]), "the selector counts");

    // A fault that cuts the pod off cuts the API server off too.
    let cut = FaultRule {
        from: PeerSet::Any,
        to: PeerSet::Any,
        impairment: Impairment {
            partition: true,
            ..Impairment::default()
        },
    };
    runtime.network().set_fault("cut", vec![cut]);
    let refused = get(&client, proxied).await.unwrap_err();
    runtime.network().clear_fault("cut");
    until(&format!("the proxy answers again after {refused}"), async || {
        get(&client, proxied).await
    })
    .await;

    runtime.stop(Duration::from_secs(5)).await.unwrap();
    plane.stop().await.unwrap();
}
