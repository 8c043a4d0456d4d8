//! A cluster with all that a drill asks for: the embedded API server, a platform of two regions that is what it is told to be,
//! and a stand-in for Chaos Mesh that can refuse to let a fault go.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use showrunner_crds::crd::all_crds;
use showrunner_loadtest::{
    drill::{Drill, Live},
    guardrail::Terms,
    observe::Subject,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Mutex,
    task::JoinSet,
};

const NAMESPACE: &str = "cinema";
const DRILLS: &str = "/apis/showrunner.dev/v1alpha1/namespaces/cinema/drills";
const CHAOS: &str = "/apis/chaos-mesh.org/v1alpha1/namespaces/cinema";
/// goose takes one audience at a time in a process.
pub static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
/// Everything is as it should be.
pub const WELL: Behaviour = Behaviour {
    ready: true,
    others_ready: 1,
    lets_go: true,
};
/// How often the stand-in for Chaos Mesh looks.
const TICK: Duration = Duration::from_millis(20);

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

/// What viewers and probes ask: everything is answered, nothing is a stream.
#[derive(Debug, Default)]
pub struct Web {
    /// Whether viewers are refused. Probes are not.
    pub refuses_viewers: AtomicBool,
    /// Whether the multivariant playlist names a host that is not of this machine.
    pub names_another_host: AtomicBool,
    /// Requests of viewers.
    pub viewers: AtomicU32,
    /// All requests.
    pub requests: AtomicU32,
}

/// The cluster.
pub struct Stub {
    server: ApiServer,
    /// What is asked over HTTP.
    pub web: Arc<Web>,
    /// Where that is.
    pub url: String,
    behaviour: Behaviour,
    /// Whether a fault was deleted.
    pub deleted: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Stub {
    pub async fn start(behaviour: Behaviour) -> Arc<Self> {
        let server = ApiServer::new(ApiServerConfig::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (web, deleted) = (Arc::<Web>::default(), Arc::<AtomicBool>::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::clone(&web)));
        let stub = Self {
            server,
            web,
            url,
            behaviour,
            deleted: Arc::clone(&deleted),
            tasks,
        };
        stub.furnish(behaviour).await;
        let client = stub.client();
        let mut stub = stub;
        stub.tasks.spawn(chaos_mesh(client, behaviour.lets_go, deleted));
        Arc::new(stub)
    }

    pub fn client(&self) -> Client {
        self.server.client(NAMESPACE)
    }

    async fn furnish(&self, behaviour: Behaviour) {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client());
        let wanted = ["podchaos.chaos-mesh.org", "networkchaos.chaos-mesh.org"];
        let chaos = chaos_mesh_rs::crds().into_iter();
        let chaos = chaos.filter(|crd| wanted.contains(&crd.metadata.name.as_deref().unwrap()));
        for definition in all_crds().into_iter().chain(chaos) {
            definitions.create(&PostParams::default(), &definition).await.unwrap();
        }
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        self.send("POST", "/api/v1/namespaces", &namespace).await;
        self.platform(behaviour.ready).await;
        for (region, ready) in [("eu", 1), ("us", behaviour.others_ready)] {
            self.edges(region, ready).await;
        }
    }

    async fn platform(&self, ready: bool) {
        let base = "/apis/showrunner.dev/v1alpha1/namespaces/cinema/streamingplatforms";
        let platform = json!({
            "apiVersion": "showrunner.dev/v1alpha1", "kind": "StreamingPlatform",
            "metadata": {"name": "cinema"}, "spec": platform_spec(),
        });
        self.send("POST", base, &platform).await;
        let ready = if ready { "True" } else { "False" };
        let condition = json!({"type": "Ready", "status": ready, "reason": "Test", "message": "as told",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let channel = json!({"name": "main", "url": format!("{}/play/main/multivariant.m3u8", self.url)});
        let status = json!({"status": {"conditions": [condition], "endpoints": {"channels": [channel]}}});
        self.send("PATCH", &format!("{base}/cinema/status"), &status).await;
    }

    /// A region's edges: their Deployment, and one pod.
    async fn edges(&self, region: &str, ready: u32) {
        let labels = json!({"showrunner.dev/platform": "cinema", "showrunner.dev/region": region, "showrunner.dev/role": "edge"});
        let pod = json!({"containers": [{"name": "main", "image": "none"}]});
        let name = format!("cinema-{region}-edge");
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod}},
        });
        self.send("POST", "/apis/apps/v1/namespaces/cinema/deployments", &deployment)
            .await;
        self.ready(region, ready).await;
        let pods = "/api/v1/namespaces/cinema/pods";
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{name}-0"), "labels": labels}, "spec": pod});
        self.send("POST", pods, &pod).await;
        let running = json!({"status": {"phase": "Running"}});
        self.send("PATCH", &format!("{pods}/{name}-0/status"), &running).await;
    }

    /// Says how many edges of a region are ready.
    pub async fn ready(&self, region: &str, ready: u32) {
        let path = format!("/apis/apps/v1/namespaces/cinema/deployments/cinema-{region}-edge/status");
        let status = json!({"status": {"replicas": 1, "readyReplicas": ready}});
        self.send("PATCH", &path, &status).await;
    }

    /// Lets the platform's channel be somewhere.
    pub async fn play_at(&self, url: &str) {
        let path = "/apis/showrunner.dev/v1alpha1/namespaces/cinema/streamingplatforms/cinema/status";
        let status = json!({"status": {"endpoints": {"channels": [{"name": "main", "url": url}]}}});
        self.send("PATCH", path, &status).await;
    }

    /// Annotates the namespace and the platform.
    pub async fn annotate(&self, namespace: &Value, platform: &Value) {
        for (path, annotations) in [
            ("/api/v1/namespaces/cinema", namespace),
            (
                "/apis/showrunner.dev/v1alpha1/namespaces/cinema/streamingplatforms/cinema",
                platform,
            ),
        ] {
            self.send("PATCH", path, &json!({"metadata": {"annotations": annotations}}))
                .await;
        }
    }

    /// The Drill that the run left; nothing where it left none.
    pub async fn drill(&self) -> Value {
        let list = ask(&self.client(), "GET", DRILLS, None).await.unwrap();
        list["items"][0].clone()
    }

    /// Names of the objects of a kind: `drills`, or Chaos Mesh's.
    pub async fn names(&self, path: &str) -> Vec<String> {
        let list = ask(&self.client(), "GET", path, None).await.unwrap();
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn send(&self, method: &str, path: &str, body: &Value) {
        let done = ask(&self.client(), method, path, Some(body.clone())).await;
        assert!(done.is_some(), "{method} {path}");
    }
}

/// Answers everything.
async fn serve(listener: TcpListener, web: Arc<Web>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let web = Arc::clone(&web);
        tokio::spawn(async move {
            let mut head = [0_u8; 4096];
            let length = stream.read(&mut head).await.unwrap_or(0);
            web.requests.fetch_add(1, Ordering::Relaxed);
            let asked = String::from_utf8_lossy(&head[..length]);
            // A viewer says where it is.
            let viewer = asked.contains("region=");
            if viewer {
                web.viewers.fetch_add(1, Ordering::Relaxed);
            }
            let status = if viewer && web.refuses_viewers.load(Ordering::Relaxed) {
                "500 Internal Server Error"
            } else {
                "200 OK"
            };
            let body = if web.names_another_host.load(Ordering::Relaxed) {
                "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\nhttp://edge.elsewhere.test/v.m3u8\n"
            } else {
                "ok\n"
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

/// Honours network experiments as Chaos Mesh does: a finalizer and a status; once deleted, gone where it lets go.
async fn chaos_mesh(client: Client, lets_go: bool, deleted: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(TICK).await;
        for kind in ["networkchaos", "podchaos"] {
            let path = format!("{CHAOS}/{kind}");
            let list = ask(&client, "GET", &path, None).await.unwrap_or_default();
            for object in list["items"].as_array().into_iter().flatten() {
                let this = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
                let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
                if object["metadata"]["deletionTimestamp"].is_string() {
                    deleted.store(true, Ordering::Relaxed);
                    if lets_go {
                        ask(&client, "PATCH", &this, Some(finalizers(Value::Null))).await;
                    }
                } else if object["metadata"]["finalizers"].is_null() {
                    ask(&client, "PATCH", &this, Some(finalizers(json!(["chaos-mesh/records"])))).await;
                } else if object["status"]["experiment"]["desiredPhase"].is_null() {
                    let record = json!({"id": "cinema/edge", "phase": "Injected", "injectedCount": 1});
                    let status =
                        json!({"status": {"experiment": {"desiredPhase": "Run", "containerRecords": [record]}}});
                    ask(&client, "PATCH", &this, Some(status)).await;
                }
            }
        }
    }
}

/// What is gone meanwhile needs nothing.
async fn ask(client: &Client, method: &str, path: &str, body: Option<Value>) -> Option<Value> {
    let kind = if method == "PATCH" {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .body(body.map(|body| serde_json::to_vec(&body).unwrap()).unwrap_or_default())
        .unwrap();
    client.request(request).await.ok()
}

fn platform_spec() -> Value {
    json!({
        "channels": [{"name": "main", "ladder": [{"name": "low", "width": 256, "height": 144, "bitrateKbps": 120}]}],
        "regions": [{"name": "eu"}, {"name": "us"}],
    })
}

/// A drill of three seconds that loses `eu` for one of them. What does not come is not waited for for long.
pub fn drill(stub: &Arc<Stub>, dir: &Path) -> Drill {
    let steady = if stub.behaviour.ready { "10s" } else { "2s" };
    let undone = if stub.behaviour.lets_go { 5 } else { 1 };
    let scenario = json!({
        "title": "Lost",
        "steadyStateDeadline": steady,
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
            namespace: NAMESPACE.into(),
            platform: "cinema".into(),
        },
        scenario_name: "lost".into(),
        scenario: serde_json::from_value(scenario).unwrap(),
        platform: serde_json::from_value(platform_spec()).unwrap(),
        seed: None,
        run: "lost-1".into(),
        dir: dir.to_owned(),
        undo_within: Duration::from_secs(undone),
        terms: Terms::sandbox(),
        live: Live::new(false),
    }
}

/// Waits until a fault is in force.
pub async fn injected(dir: &Path) {
    let journal = dir.join(showrunner_loadtest::drill::JOURNAL);
    let seen = async {
        while !std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("\"injected\"")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), seen)
        .await
        .expect("a fault is injected");
}
