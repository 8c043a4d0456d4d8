//! How fast the sandbox starts, answers and replaces a pod: `cargo bench -p showrunner-sandbox --bench sandbox`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use showrunner_bench_support::books::{machine, median, percentile};
use showrunner_bench_support::process::{resident, resident_of};
use showrunner_sandbox::real::Assets;
use showrunner_sandbox::{ControlPlane, ImageTable, NodeConfig, Sandbox, SandboxConfig};

const STARTS: usize = 5;
/// Kubernetes' own takes seconds.
const REAL_STARTS: usize = 3;
const NODES: usize = 3;
const GETS: usize = 20_000;
const DELETES: usize = 30;
const DEADLINE: Duration = Duration::from_secs(60);

fn main() {
    if showrunner_bench_support::is_test() {
        return;
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(measure());
}

async fn measure() {
    let embedded = starts(&ControlPlane::Embedded, STARTS).await;
    embedded.print("embedded");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let real = match Assets::find(workspace) {
        Ok(assets) => {
            let real = starts(&ControlPlane::Real(assets), REAL_STARTS).await;
            real.print("Kubernetes' own");
            Some(real)
        }
        Err(error) => {
            println!("Kubernetes' own control plane is not there: {error}");
            None
        }
    };
    let (sandbox, ..) = start(&ControlPlane::Embedded).await;

    let in_process = gets(sandbox.client()).await;
    let config = kube::Config::new(format!("http://{}", sandbox.address()).parse().unwrap());
    let over_http = gets(Client::try_from(config).unwrap()).await;
    println!("GET of a ConfigMap, microseconds, one at a time:");
    for (name, times) in [("in process", &in_process), ("over HTTP", &over_http)] {
        println!(
            "  {name:<12} p50 {:>7.1}   p99 {:>7.1}",
            percentile(times, 50.0),
            percentile(times, 99.0)
        );
    }

    let replaced = replacements(&sandbox, false).await;
    println!("From the DELETE of a pod to its replacement Ready, milliseconds, {DELETES} times:");
    println!(
        "  in process   p50 {:>7.1}   p99 {:>7.1}",
        percentile(&replaced, 50.0),
        percentile(&replaced, 99.0)
    );
    let by_kubectl = if has_kubectl() {
        let times = replacements(&sandbox, true).await;
        println!(
            "  from the start of `kubectl delete pod --wait=false`   p50 {:>7.1}   p99 {:>7.1}",
            percentile(&times, 50.0),
            percentile(&times, 99.0)
        );
        Some(times)
    } else {
        println!("  kubectl is not installed");
        None
    };
    sandbox.stop().await.unwrap();
    machine(
        "sandbox",
        &json!({
            "embedded": embedded.figures(),
            "real": real.as_ref().map(Starts::figures),
            "getUsP50": percentile(&in_process, 50.0),
            "getUsP99": percentile(&in_process, 99.0),
            "getHttpUsP50": percentile(&over_http, 50.0),
            "getHttpUsP99": percentile(&over_http, 99.0),
            "replacedMsP50": percentile(&replaced, 50.0),
            "replacedMsP99": percentile(&replaced, 99.0),
            "replacedByKubectlMsP50": by_kubectl.as_ref().map(|times| percentile(times, 50.0)),
            "replacedByKubectlMsP99": by_kubectl.as_ref().map(|times| percentile(times, 99.0)),
        }),
    );
}

/// How a control plane started, several times.
struct Starts {
    /// Milliseconds until the sandbox was there.
    started: Vec<f64>,
    /// Milliseconds until every node was Ready.
    nodes_ready: Vec<f64>,
    /// Megabytes of an idle one with nodes, the last: what this process has more than before, and its children.
    idle: f64,
}

impl Starts {
    fn print(&self, plane: &str) {
        let count = self.started.len();
        println!("Start of the {plane} control plane, median of {count} (milliseconds):");
        println!("  it answers over the network    {:>8.1}", median(&self.started));
        println!(
            "  {NODES} nodes Ready                  {:>8.1}",
            median(&self.nodes_ready)
        );
        println!(
            "  resident memory of an idle sandbox, over this process without one: {:.1} MB",
            self.idle
        );
    }

    fn figures(&self) -> Value {
        json!({
            "answersMs": median(&self.started),
            "nodesReadyMs": median(&self.nodes_ready),
            "idleMegabytes": self.idle,
        })
    }
}

/// Starts and stops a control plane so many times.
async fn starts(plane: &ControlPlane, count: usize) -> Starts {
    let before = resident();
    let mut starts = Starts {
        started: Vec::new(),
        nodes_ready: Vec::new(),
        idle: 0.0,
    };
    for _ in 0..count {
        let (sandbox, started, ready) = start(plane).await;
        starts.started.push(started);
        starts.nodes_ready.push(ready);
        let own = resident().saturating_sub(before);
        starts.idle = (own + resident_of_children(sandbox.root())) as f64 / 1e6;
        sandbox.stop().await.unwrap();
    }
    starts
}

/// Bytes that processes have resident whose command line names `root`.
fn resident_of_children(root: &Path) -> u64 {
    let root = root.display().to_string();
    let of = |process: &Path| {
        let command = fs::read(process.join("cmdline")).ok()?;
        let ours = String::from_utf8_lossy(&command).contains(&root);
        resident_of(process.file_name()?.to_str()?.parse().ok()?).filter(|_| ours)
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|process| of(&process.path())).sum()
}

/// A sandbox with nodes; milliseconds until it answered over the network, and until every node was Ready.
async fn start(plane: &ControlPlane) -> (Sandbox, f64, f64) {
    let root = std::env::temp_dir().join(format!("showrunner-bench-{}", std::process::id()));
    let images = ImageTable::default().with("sleep", ["sleep"]);
    let mut config = SandboxConfig::new(root, images);
    config.control_plane = plane.clone();
    config.nodes = (0..NODES)
        .map(|index| NodeConfig::new(format!("node-{index}")))
        .collect();
    let began = Instant::now();
    let sandbox = Sandbox::start(config).await.unwrap();
    if *plane == ControlPlane::Embedded {
        // The client of Kubernetes' own goes over the network anyway, and it was waited for.
        let outside = kube::Config::new(format!("http://{}", sandbox.address()).parse().unwrap());
        Client::try_from(outside).unwrap().apiserver_version().await.unwrap();
    }
    let answered = began.elapsed();
    let nodes: Api<Node> = Api::all(sandbox.client());
    let ready = |node: &Node| {
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    while nodes
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .filter(|node| ready(node))
        .count()
        < NODES
    {
        assert!(began.elapsed() < DEADLINE, "nodes are not ready");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ready = began.elapsed();
    (sandbox, answered.as_secs_f64() * 1e3, ready.as_secs_f64() * 1e3)
}

/// Microseconds of each GET.
async fn gets(client: Client) -> Vec<f64> {
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let name = "bench";
    if maps.get_opt(name).await.unwrap().is_none() {
        let map = json!({ "metadata": { "name": name }, "data": { "key": "v".repeat(500) } });
        let map = serde_json::from_value(map).unwrap();
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    let mut times = Vec::with_capacity(GETS);
    for turn in 0..GETS + 1000 {
        let began = Instant::now();
        std::hint::black_box(maps.get(name).await.unwrap());
        if turn >= 1000 {
            times.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    times
}

fn has_kubectl() -> bool {
    let mut command = Command::new("kubectl");
    command
        .args(["version", "--client"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Milliseconds from a delete to the moment a watch shows another pod Ready.
async fn replacements(sandbox: &Sandbox, kubectl: bool) -> Vec<f64> {
    let client = sandbox.client();
    let namespace = if kubectl { "by-kubectl" } else { "by-client" };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let object = serde_json::from_value(json!({ "metadata": { "name": namespace } })).unwrap();
    namespaces.create(&PostParams::default(), &object).await.unwrap();
    let deployment = serde_json::from_value(json!({
        "metadata": { "name": "one" },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "one" } },
            "template": {
                "metadata": { "labels": { "app": "one" } },
                "spec": { "containers": [{ "name": "main", "image": "sleep", "args": ["infinity"] }] },
            },
        },
    }))
    .unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    deployments.create(&PostParams::default(), &deployment).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let mut seen = watcher(pods.clone(), watcher::Config::default().labels("app=one"))
        .default_backoff()
        .applied_objects()
        .boxed();
    let mut times = Vec::with_capacity(DELETES);
    let mut current = next_ready(&mut seen, None).await;
    for _ in 0..DELETES {
        let began = Instant::now();
        if kubectl {
            let child = tokio::process::Command::new("kubectl")
                .args([
                    "delete",
                    "pod",
                    &current,
                    "--wait=false",
                    "-n",
                    namespace,
                    "--cache-dir",
                ])
                .arg(sandbox.root().join("kubectl-cache"))
                .arg("--kubeconfig")
                .arg(sandbox.kubeconfig())
                .stdout(Stdio::null())
                .spawn();
            let (next, ended) = (next_ready(&mut seen, Some(&current)).await, child);
            times.push(began.elapsed().as_secs_f64() * 1e3);
            assert!(ended.unwrap().wait().await.unwrap().success());
            current = next;
        } else {
            pods.delete(&current, &DeleteParams::default()).await.unwrap();
            current = next_ready(&mut seen, Some(&current)).await;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    deployments.delete("one", &DeleteParams::default()).await.unwrap();
    times
}

/// The name of the next pod that is Ready, is not on its way out, and is not `but`.
async fn next_ready(
    seen: &mut (impl futures::Stream<Item = Result<Pod, watcher::Error>> + Unpin),
    but: Option<&str>,
) -> String {
    let looking = async {
        while let Some(pod) = seen.try_next().await.unwrap() {
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
            let ready = conditions
                .into_iter()
                .flatten()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True");
            let name = pod.name_any();
            if ready && pod.metadata.deletion_timestamp.is_none() && but != Some(name.as_str()) {
                return name;
            }
        }
        panic!("the watch ended");
    };
    tokio::time::timeout(DEADLINE, looking)
        .await
        .expect("no pod became ready")
}
