//! A cluster with a platform in it, and a stand-in for Chaos Mesh whose faults can be seen on the pods.

use std::{path::Path, time::Duration};

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use showrunner_crds::crd::all_crds;
use showrunner_loadtest::undo::Source;
use showrunner_unreliable::{
    Entry, Rates, Unreliable,
    snapshot::{self, Snapshot},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};
use tower::{Layer as _, ServiceExt as _};

use crate::actors::Runner;

pub(crate) const NAMESPACE: &str = "cinema";
pub(crate) const RUN: &str = "night-1";
/// How often the stand-in looks.
const TICK: Duration = Duration::from_millis(20);
/// What must be as before.
const COMPARED: [&str; 4] = [
    "/api/v1/pods",
    "/apis/showrunner.dev/v1alpha1/streamingplatforms",
    "/apis/chaos-mesh.org/v1alpha1/networkchaos",
    "/apis/chaos-mesh.org/v1alpha1/podchaos",
];

pub(crate) struct World {
    pub(crate) server: ApiServer,
    network: Unreliable,
    _tasks: JoinSet<()>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let server = ApiServer::new(ApiServerConfig::default());
        let network = Unreliable::new(0, Rates::none());
        let client = server.client(NAMESPACE);
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        let wanted = ["podchaos.chaos-mesh.org", "networkchaos.chaos-mesh.org"];
        let chaos = chaos_mesh_rs::crds().into_iter();
        let chaos = chaos.filter(|crd| wanted.contains(&crd.metadata.name.as_deref().unwrap()));
        let own = all_crds().into_iter();
        let own = own.filter(|crd| ["StreamingPlatform", "Drill"].contains(&crd.spec.names.kind.as_str()));
        for definition in own.chain(chaos) {
            definitions.create(&PostParams::default(), &definition).await.unwrap();
        }
        let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } })).unwrap();
        Api::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", web.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(web));
        tasks.spawn(chaos_mesh(server.clone(), client.clone()));
        let world = Self {
            server,
            network,
            _tasks: tasks,
        };
        world.platform(&url).await;
        for (name, region) in [("edge-0", "eu"), ("edge-1", "eu"), ("edge-2", "us")] {
            world.pod(name, region).await;
        }
        world
    }

    async fn platform(&self, url: &str) {
        let base = format!("/apis/showrunner.dev/v1alpha1/namespaces/{NAMESPACE}/streamingplatforms");
        let ladder = json!([{ "name": "low", "width": 256, "height": 144, "bitrateKbps": 120 }]);
        let platform = json!({
            "apiVersion": "showrunner.dev/v1alpha1", "kind": "StreamingPlatform",
            "metadata": { "name": "cinema", "namespace": NAMESPACE },
            "spec": { "channels": [{ "name": "main", "ladder": ladder }], "regions": [{ "name": "eu" }, { "name": "us" }] },
        });
        let mut created = self.send("POST", &base, &platform).await;
        created["status"] = json!({
            "conditions": [{ "type": "Ready", "status": "True", "reason": "Test", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z" }],
            "endpoints": { "channels": [{ "name": "main", "url": url }] },
        });
        self.send("PUT", &format!("{base}/cinema/status"), &created).await;
    }

    async fn pod(&self, name: &str, region: &str) {
        let base = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        let labels = json!({ "showrunner.dev/platform": "cinema", "showrunner.dev/role": "edge", "showrunner.dev/region": region });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": NAMESPACE, "labels": labels },
            "spec": { "containers": [{ "name": "main", "image": "none" }] },
        });
        let mut created = self.send("POST", &base, &pod).await;
        created["status"] = json!({ "phase": "Running" });
        self.send("PUT", &format!("{base}/{name}/status"), &created).await;
    }

    async fn send(&self, method: &str, path: &str, object: &Value) -> Value {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(object).unwrap())
            .unwrap();
        self.client("setter").request(request).await.unwrap()
    }

    /// A client that nothing befalls.
    pub(crate) fn client(&self, name: &str) -> Client {
        Client::new(self.network.link(name).layer(self.server.service()), NAMESPACE)
    }

    /// A client that is cut off at a call, and the token that fires then.
    pub(crate) fn mortal(&self, call: u64, carried_out: bool) -> (Client, tokio_util::sync::CancellationToken) {
        let link = self.network.link("mortal");
        let cut = link.cut_at(call, carried_out);
        (Client::new(link.layer(self.server.service()), NAMESPACE), cut)
    }

    /// A client whose calls `see` is told of, method and path, right before they are sent. Where it gives a time, the call
    /// takes that long to get there, and its answer is lost.
    pub(crate) fn watched(
        &self,
        mut see: impl FnMut(&http::Method, &str) -> Option<Duration> + Clone + Send + 'static,
    ) -> Client {
        let server = self.server.service();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let late = see(request.method(), request.uri().path());
            let server = server.clone();
            async move {
                let Some(late) = late else {
                    return server.oneshot(request).await;
                };
                tokio::spawn(async move {
                    tokio::time::sleep(late).await;
                    let _ = server.oneshot(request).await;
                });
                std::future::pending().await
            }
        });
        Client::new(service, NAMESPACE)
    }

    /// Whether the call at which a client was cut off last would change anything.
    pub(crate) fn cut_off_at_a_write(&self) -> bool {
        let journal = self.network.journal();
        let cut = journal.entries.iter().rev().find_map(|(_, _, entry)| match entry {
            Entry::Cut(call) => Some(call.writes()),
            _ => None,
        });
        cut.expect("a client was cut off")
    }

    pub(crate) async fn snapshot(&self) -> Snapshot {
        snapshot::take(self.server.service(), &COMPARED).await.unwrap()
    }

    /// What is not as it was.
    pub(crate) async fn differences(&self, before: &Snapshot) -> String {
        snapshot::differences(before, &self.snapshot().await)
    }

    /// A runner that is killed once its fault is in force.
    pub(crate) async fn kill_in_the_middle(&self, dir: &Path) {
        let mut runner = Box::pin(Runner::Ours.run(self.client("runner"), dir));
        let injected = async {
            let journal = dir.join("journal.jsonl");
            while !std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("\"injected\"")) {
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::select! {
            () = &mut runner => panic!("it came to its end"),
            () = injected => {}
        }
    }
}

/// The Drill of the runs here.
pub(crate) fn drill() -> Source {
    Source::Drill {
        namespace: NAMESPACE.into(),
        name: RUN.into(),
    }
}

/// What viewers ask: everything is there.
async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut head = [0_u8; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n")
                .await;
        });
    }
}

/// Honours experiments as Chaos Mesh does: a finalizer, then the fault, then the status; the other way round on deletion. The
/// fault is an annotation on each pod.
async fn chaos_mesh(server: ApiServer, client: Client) {
    let mut seen = None;
    loop {
        tokio::time::sleep(TICK).await;
        let revision = Some(server.revision());
        if seen == revision {
            continue;
        }
        seen = revision;
        for plural in ["networkchaos", "podchaos"] {
            let path = format!("/apis/chaos-mesh.org/v1alpha1/namespaces/{NAMESPACE}/{plural}");
            let list: Value = ask(&client, "GET", &path, None).await.unwrap_or_default();
            for object in list["items"].as_array().into_iter().flatten() {
                honour(&client, &path, object).await;
            }
        }
    }
}

async fn honour(client: &Client, path: &str, object: &Value) {
    let name = object["metadata"]["name"].as_str().unwrap();
    let this = format!("{path}/{name}");
    let pods = object["spec"]["selector"]["pods"][NAMESPACE]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let going = object["metadata"]["deletionTimestamp"].is_string();
    let injected = object["status"]["experiment"]["desiredPhase"].is_string();
    let fault = |state: Value| json!({ "metadata": { "annotations": { "test/fault": state } } });
    if going {
        for pod in pods.iter().filter_map(Value::as_str) {
            let pod = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}");
            ask(client, "PATCH", &pod, Some(fault(Value::Null))).await;
        }
        ask(
            client,
            "PATCH",
            &this,
            Some(json!({ "metadata": { "finalizers": null } })),
        )
        .await;
    } else if object["metadata"]["finalizers"].is_null() {
        ask(
            client,
            "PATCH",
            &this,
            Some(json!({ "metadata": { "finalizers": ["chaos-mesh/records"] } })),
        )
        .await;
    } else if !injected {
        let mut records = Vec::new();
        for pod in pods.iter().filter_map(Value::as_str) {
            ask(
                client,
                "PATCH",
                &format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}"),
                Some(fault(json!(name))),
            )
            .await;
            records.push(json!({ "id": pod, "phase": "Injected", "injectedCount": 1 }));
        }
        let status = json!({ "experiment": { "desiredPhase": "Run", "containerRecords": records } });
        ask(client, "PATCH", &this, Some(json!({ "status": status }))).await;
    }
}

/// What is gone meanwhile needs nothing.
async fn ask(client: &Client, method: &str, path: &str, body: Option<Value>) -> Option<Value> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/merge-patch+json")
        .body(body.map(|body| serde_json::to_vec(&body).unwrap()).unwrap_or_default())
        .unwrap();
    client.request(request).await.ok()
}

/// The record's settings here.
pub(crate) fn spec() -> showrunner_crds::drill::DrillSpec {
    showrunner_crds::drill::DrillSpec {
        scenario: "night".into(),
        platform: "cinema".into(),
        seed: Some(1),
    }
}
