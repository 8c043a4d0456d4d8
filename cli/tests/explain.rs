//! `showrunner explain hpa`, from files and from a cluster: an API server that listens on a port of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Namespace, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig, ContainerUsage, LogOptions, NodeAccess, PodUsage};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../autoscaling/tests/fixtures/explain")
        .join(name)
}

/// Runs the command without a way to anybody's cluster.
fn explain(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_showrunner"))
        .args(["explain", "hpa"])
        .args(arguments)
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .env("HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever does not read it closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn explained(arguments: &[&str]) -> String {
    let output = explain(arguments, "");
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What somebody on call does next stands in each answer.
#[test]
fn each_fixture_names_its_remedy() {
    for (file, finding, remedy) in [
        (
            "late-tolerance.yaml",
            "yet nothing happens: the tolerance holds",
            "set averageUtilization to 69 or less",
        ),
        (
            "stuck-missing-requests.yaml",
            "sets no cpu request",
            "Set resources.requests.cpu for mesh-proxy",
        ),
        (
            "flapping-no-stabilization.yaml",
            "stabilizationWindowSeconds",
            "scaleDown",
        ),
    ] {
        let answer = explained(&[&fixture(file).display().to_string()]);
        let flat = answer.split_whitespace().collect::<Vec<_>>().join(" ");
        let standing_out = flat.split("How it was decided").next().unwrap();
        assert!(standing_out.contains(finding), "{file}: {answer}");
        assert!(
            standing_out.split('→').skip(1).any(|action| action.contains(remedy)),
            "{file}: {answer}"
        );
    }
}

#[test]
fn json_has_the_same_answer() {
    let file = fixture("stuck-missing-requests.yaml").display().to_string();
    let json: Value = serde_json::from_str(&explained(&[&file, "--json"])).unwrap();
    assert_eq!(json["autoscaler"], "live/steering");
    assert_eq!(json["findings"][0]["id"], "missing-request");
    assert_eq!(json["projection"], Value::Null);
}

#[test]
fn a_ramp_is_drawn_and_counted() {
    let file = fixture("late-tolerance.yaml").display().to_string();
    let ramp = [
        "--ramp",
        "100/s",
        "--for",
        "10m",
        "--viewers-per-replica",
        "2000",
        "--headroom",
        "20",
    ];
    let mut arguments = vec![file.as_str()];
    arguments.extend(ramp);
    let drawn = explained(&arguments);
    for part in [
        "Projection: from 18240 viewers, +100 a second for 10m",
        "a replica uses all it requests at 2000 viewers",
        "● needed by the audience",
        "48 ┤",
        "Ready replicas fall short of",
    ] {
        assert!(drawn.contains(part), "{part}: {drawn}");
    }
    arguments.push("--json");
    let json: Value = serde_json::from_str(&explained(&arguments)).unwrap();
    let points = json["projection"]["projection"]["points"].as_array().unwrap();
    assert_eq!(points.len(), 41, "one each 15 s");
    let last = points.last().unwrap();
    assert_eq!(
        (last["viewers"].as_u64(), last["needed"].as_u64()),
        (Some(78_240), Some(47))
    );
    assert!(last["replicas"].as_u64() > points[0]["replicas"].as_u64());
}

/// The cluster's settings are not always Kubernetes' own.
#[test]
fn settings_of_the_cluster_count() {
    let file = fixture("late-tolerance.yaml").display().to_string();
    let desired = |arguments: &[&str]| {
        let json: Value = serde_json::from_str(&explained(arguments)).unwrap();
        json["decision"]["desired"].as_i64().unwrap()
    };
    assert_eq!(desired(&[&file, "--json"]), 12);
    assert_eq!(desired(&[&file, "--json", "--tolerance", "0.05"]), 14);
}

#[test]
fn several_files_and_standard_input_are_one_question() {
    let (late, stuck) = (fixture("late-tolerance.yaml"), fixture("stuck-missing-requests.yaml"));
    let input = std::fs::read_to_string(&late).unwrap();
    let files = ["-", &stuck.display().to_string()];
    let output = explain(&[files[0], files[1], "--name", "edge"], &input);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("live/edge scales Deployment/edge"));

    let output = explain(&files, &input);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(
        told.contains("several HorizontalPodAutoscalers (edge, steering): name one with --name"),
        "{told}"
    );

    // Without samples it says how to get them.
    let (without, _) = input.rsplit_once("---\napiVersion: v1\nkind: List").unwrap();
    let output = explain(&["-"], without);
    assert!(
        text(&output.stderr).contains("kubectl get pods.metrics.k8s.io"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn bad_input_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let good = std::fs::read_to_string(fixture("late-tolerance.yaml")).unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let line = |text: &str, of: &str| text.lines().position(|line| line.contains(of)).unwrap() + 1;
    let broken = good
        .replacen("window: 30s", "window: soon", 1)
        .replacen("cpu: 742000000n", "cpu: lots", 1);
    let syntax = format!("{good}---\nkind: [Pod\n");
    let mut binary = good.clone().into_bytes();
    let at = good.find("maxReplicas").unwrap();
    binary[at] = 0xff;
    for (name, content, expected) in [
        (
            "broken.yaml",
            broken.clone().into_bytes(),
            vec![
                format!(
                    "broken.yaml:{}:5: PodMetrics edge-0: window",
                    line(&broken, "window: soon") - 4
                ),
                format!(
                    "broken.yaml:{}:5: PodMetrics edge-1: cpu",
                    line(&broken, "cpu: lots") - 5
                ),
            ],
        ),
        (
            "syntax.yaml",
            syntax.into_bytes(),
            vec![format!("syntax.yaml:{}", good.lines().count() + 2)],
        ),
        (
            "empty.yaml",
            Vec::new(),
            vec!["empty.yaml: no HorizontalPodAutoscaler".to_owned()],
        ),
        (
            "words.yaml",
            b"just words".to_vec(),
            vec!["words.yaml:1:1: not a Kubernetes object".to_owned()],
        ),
        (
            "binary.yaml",
            binary,
            vec![format!("binary.yaml:{}: not UTF-8", line(&good, "maxReplicas"))],
        ),
    ] {
        let path = write(name, &content);
        let output = explain(&[&path], "");
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {told}");
        for part in expected {
            assert!(told.contains(&part), "{name}: expected {part}, got {told}");
        }
        assert!(output.stdout.is_empty(), "{name}");
    }
    for (arguments, expected) in [
        (vec!["edge"], "showrunner explain hpa -n NAMESPACE edge"),
        (vec!["absent.yaml"], "absent.yaml: there is no such file"),
        (vec![], "<FILE|NAME>"),
        (vec!["-", "-"], "named twice"),
        (vec!["f.yaml", "--ramp", "100/s"], "--for"),
        (vec!["f.yaml", "--ramp", "fast", "--for", "10m"], "100/s, 6000/m"),
        (vec!["f.yaml", "--ramp", "1/s", "--for", "soon"], "90s, 10m or 1h30m"),
        (vec!["f.yaml", "--at", "noon"], "--at"),
        (
            vec!["-n", "live", "edge", "other"],
            "one autoscaler is explained at a time",
        ),
        (
            vec!["-n", "live", "edge", "--kubeconfig", "absent.config"],
            "absent.config: ",
        ),
    ] {
        let output = explain(&arguments, "");
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}

/// A custom metric cannot be projected from requests: the command asks for what is missing.
#[test]
fn a_projection_of_a_custom_metric_needs_its_amount() {
    let file = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "edge"}, "spec": {
            "maxReplicas": 50, "scaleTargetRef": {"kind": "Deployment", "name": "edge"}, "metrics": [
                {"type": "External", "external": {"metric": {"name": "viewers"},
                    "target": {"type": "AverageValue", "averageValue": "1000"}}}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "edge"}, "spec": {"replicas": 2}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "edge-0"}, "spec": {"containers": []}, "status": {"phase": "Running"}},
        {"kind": "ExternalMetricValue", "metricName": "viewers", "value": "2000"}]}"#;
    let ramp = ["-", "--ramp", "100/s", "--for", "10m", "--json"];
    let output = explain(&ramp, file);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("--per-viewer viewers=AMOUNT"),
        "{}",
        text(&output.stderr)
    );
    let output = explain(
        &[&ramp[..], &["--per-viewer", "viewers=1", "--viewers", "2000"]].concat(),
        file,
    );
    let json: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    let points = json["projection"]["projection"]["points"].as_array().unwrap();
    assert_eq!(
        points.last().unwrap()["desired"],
        50,
        "62,000 viewers, 1000 each, of at most 50"
    );
}

/// A cluster that does not answer is infrastructure, not input.
#[test]
fn a_cluster_that_is_not_there_is_infrastructure() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    // Bound and closed: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: gone\nclusters: [{{name: gone, cluster: {{server: 'http://{address}'}}}}]\n\
         contexts: [{{name: gone, context: {{cluster: gone, user: gone}}}}]\nusers: [{{name: gone, user: {{}}}}]\n"
    );
    std::fs::write(&kubeconfig, config).unwrap();
    let output = explain(
        &["-n", "live", "edge", "--kubeconfig", &kubeconfig.display().to_string()],
        "",
    );
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("cannot get horizontalpodautoscalers"),
        "{}",
        text(&output.stderr)
    );
}

/// Nodes whose pods use what a test says.
struct Nodes(Vec<(&'static str, u64)>);

impl NodeAccess for Nodes {
    fn dial(&self, _: &str, _: &str, _: u16) -> futures::future::BoxFuture<'_, std::io::Result<tokio::net::TcpStream>> {
        Box::pin(async { Err(std::io::ErrorKind::Unsupported.into()) })
    }

    fn logs(
        &self,
        _: &str,
        _: &str,
        _: LogOptions,
    ) -> futures::future::BoxFuture<
        '_,
        std::io::Result<futures::stream::BoxStream<'static, std::io::Result<bytes::Bytes>>>,
    > {
        Box::pin(async { Err(std::io::ErrorKind::Unsupported.into()) })
    }

    fn usage(&self) -> Vec<PodUsage> {
        let usage = |(pod, millis): &(&str, u64)| PodUsage {
            namespace: "live".into(),
            pod: (*pod).into(),
            timestamp: jiff::Timestamp::now(),
            window: Duration::from_secs(15),
            containers: vec![ContainerUsage {
                container: "varnish".into(),
                cpu_nanocores: millis * 1_000_000,
                memory_bytes: 1 << 20,
            }],
        };
        self.0.iter().map(usage).collect()
    }
}

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Two edges under an autoscaler, and one pod that is somebody else's.
async fn furnish(client: Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let create = PostParams::default();
    namespaces
        .create(&create, &of(json!({ "metadata": { "name": "live" } })))
        .await
        .unwrap();
    let labels = json!({ "app": "edge" });
    let spec = json!({ "containers": [{ "name": "varnish", "image": "varnish", "resources": { "requests": { "cpu": "100m" } } }] });
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "live");
    let deployment = of(json!({ "metadata": { "name": "edge" }, "spec": { "replicas": 2,
        "selector": { "matchLabels": labels }, "template": { "metadata": { "labels": labels }, "spec": spec } } }));
    deployments.create(&create, &deployment).await.unwrap();
    let status = json!({ "status": { "replicas": 2 } });
    let merge = PatchParams::default();
    deployments
        .patch_status("edge", &merge, &Patch::Merge(status))
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "live");
    for (name, app) in [("edge-0", "edge"), ("edge-1", "edge"), ("other", "other")] {
        let pod: Pod = of(json!({ "metadata": { "name": name, "labels": { "app": app } }, "spec": spec }));
        pods.create(&create, &pod).await.unwrap();
        let status = json!({ "status": { "phase": "Running", "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z" }] } });
        pods.patch_status(name, &merge, &Patch::Merge(status)).await.unwrap();
    }
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client, "live");
    for (name, target) in [("edge", "edge"), ("lost", "absent")] {
        let hpa: HorizontalPodAutoscaler = of(json!({ "metadata": { "name": name }, "spec": { "maxReplicas": 10,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": target },
            "metrics": [{ "type": "Resource", "resource": { "name": "cpu",
                "target": { "type": "Utilization", "averageUtilization": 50 } } }] } }));
        assert_eq!(autoscalers.create(&create, &hpa).await.unwrap().name_any(), name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_asked_for_everything() {
    let server = ApiServer::new(ApiServerConfig::default());
    server.set_nodes(Arc::new(Nodes(vec![("edge-0", 90), ("edge-1", 70), ("other", 5000)])));
    let listening = server.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    furnish(server.client("live")).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, server.kubeconfig_yaml(listening.addr())).unwrap();
    let kubeconfig = path.display().to_string();
    let ask = async |arguments: &[&str]| {
        let mut all = vec![
            "-n".to_owned(),
            "live".to_owned(),
            "--kubeconfig".to_owned(),
            kubeconfig.clone(),
        ];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let asked =
            tokio::task::spawn_blocking(move || explain(&all.iter().map(String::as_str).collect::<Vec<_>>(), ""));
        asked.await.unwrap()
    };

    let output = ask(&["edge", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let json: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    // 80 % of 50 %, times two pods, rounded up; the other app's pod uses far more and does not count.
    assert_eq!(
        (&json["decision"]["current"], &json["decision"]["desired"]),
        (&json!(2), &json!(4)),
        "{json:#}"
    );
    assert_eq!(json["autoscaler"], "live/edge");

    let output = ask(&[
        "edge",
        "--context",
        "sandbox",
        "--ramp",
        "50/s",
        "--for",
        "5m",
        "--viewers-per-replica",
        "500",
    ])
    .await;
    let drawn = text(&output.stdout);
    assert!(
        drawn.contains("Projection: from 800 viewers, +50 a second for 5m"),
        "{drawn}"
    );

    let output = ask(&["lost"]).await;
    let told = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "an autoscaler without its target is a finding, not a failure"
    );
    assert!(
        told.contains("The size of the target cannot be read") && told.contains("Check scaleTargetRef"),
        "{told}"
    );

    let output = ask(&["edgy"]).await;
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("no HorizontalPodAutoscaler edgy in namespace live; there are: edge, lost"),
        "{told}"
    );

    let output = ask(&["edge", "--context", "elsewhere"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

/// A reader that has seen enough is no failure.
#[test]
fn a_closed_pipe_is_fine() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_showrunner"))
        .args(["explain", "hpa"])
        .arg(fixture("flapping-no-stabilization.yaml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!((child.wait().unwrap().code(), told.as_str()), (Some(0), ""));
}
