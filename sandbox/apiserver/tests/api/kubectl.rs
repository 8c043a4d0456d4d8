//! The real kubectl against the server, over TCP.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::common::{DEADLINE, deployment, eventually};

struct Kubectl<'a> {
    home: &'a Path,
}

impl Kubectl<'_> {
    /// Runs kubectl with `input` on stdin. Gives success, stdout and stderr.
    async fn try_run(&self, arguments: &[&str], input: &Value) -> (bool, String, String) {
        let mut child = Command::new("kubectl")
            .args(arguments)
            .env("HOME", self.home)
            .env("KUBECONFIG", self.home.join("config"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.to_string().as_bytes()).await.unwrap();
        drop(stdin);
        let output = tokio::time::timeout(DEADLINE, child.wait_with_output())
            .await
            .expect("kubectl hangs")
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    async fn run(&self, arguments: &[&str], input: &Value) -> String {
        let (ok, out, err) = self.try_run(arguments, input).await;
        assert!(ok, "kubectl {arguments:?}: {err}");
        out
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_works_as_usual() {
    if std::process::Command::new("kubectl").arg("help").output().is_err() {
        println!("skipped: kubectl is not installed");
        return;
    }
    let server = ApiServer::new(ApiServerConfig::default());
    let listener = server.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config"), server.kubeconfig_yaml(listener.addr())).unwrap();
    let kubectl = Kubectl { home: home.path() };
    let none = Value::Null;

    assert!(
        kubectl
            .run(&["version"], &none)
            .await
            .contains("Server Version: v1.36.4")
    );
    assert!(kubectl.run(&["api-resources"], &none).await.contains("deployments"));

    // Client-side apply: created, unchanged, configured.
    let mut web = deployment("web");
    assert_eq!(
        kubectl.run(&["apply", "-f", "-"], &web).await.trim(),
        "deployment.apps/web created"
    );
    assert_eq!(
        kubectl.run(&["apply", "-f", "-"], &web).await.trim(),
        "deployment.apps/web unchanged"
    );
    web["spec"]["replicas"] = json!(3);
    assert_eq!(
        kubectl.run(&["apply", "-f", "-"], &web).await.trim(),
        "deployment.apps/web configured"
    );
    let mut wrong = web.clone();
    wrong["spec"]["foo"] = json!(1);
    let (ok, _, err) = kubectl.try_run(&["apply", "-f", "-"], &wrong).await;
    assert!(
        !ok && err.contains("strict decoding error: unknown field \"spec.foo\""),
        "{err}"
    );

    // Server-side apply, and its conflict.
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "1"}});
    let applied = kubectl
        .run(&["apply", "--server-side", "--field-manager=one", "-f", "-"], &map)
        .await;
    assert_eq!(applied.trim(), "configmap/m serverside-applied");
    let mut other = map.clone();
    other["data"]["k"] = json!("2");
    let (ok, _, err) = kubectl
        .try_run(&["apply", "--server-side", "--field-manager=two", "-f", "-"], &other)
        .await;
    assert!(!ok && err.contains("conflict with \"one\": .data.k"), "{err}");

    let table = kubectl.run(&["get", "deploy,cm"], &none).await;
    assert!(
        table.contains("READY") && table.contains("0/3") && table.contains("configmap/m"),
        "{table}"
    );
    assert!(
        kubectl
            .run(&["get", "deploy", "web", "-o", "yaml"], &none)
            .await
            .contains("replicas: 3")
    );
    let described = kubectl.run(&["describe", "deployment", "web"], &none).await;
    assert!(described.contains("Replicas:               3 desired"), "{described}");
    assert!(
        kubectl
            .run(&["explain", "deployment.spec.replicas"], &none)
            .await
            .contains("<integer>")
    );
    kubectl.run(&["scale", "deployment/web", "--replicas=2"], &none).await;
    kubectl.run(&["label", "deployment/web", "tier=edge"], &none).await;
    kubectl.run(&["annotate", "cm/m", "note=hello"], &none).await;
    kubectl.run(&["create", "namespace", "team"], &none).await;
    kubectl
        .run(&["create", "configmap", "made", "--from-literal=a=b"], &none)
        .await;
    assert_eq!(
        kubectl
            .run(&["get", "cm", "made", "-o", "jsonpath={.data.a}"], &none)
            .await,
        "b"
    );
    kubectl
        .run(&["create", "deployment", "made", "--image=web:2"], &none)
        .await;
    kubectl.run(&["auth", "can-i", "delete", "pods"], &none).await;

    // Waiting for a condition that somebody else sets.
    let wait = kubectl.run(
        &["wait", "--for=condition=Available", "deployment/web", "--timeout=15s"],
        &none,
    );
    let set = async {
        let client = server.client("default");
        let api: kube::Api<k8s_openapi::api::apps::v1::Deployment> = kube::Api::default_namespaced(client);
        let status = json!({"status": {"conditions": [{"type": "Available", "status": "True"}]}});
        api.patch_status(
            "web",
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(status),
        )
        .await
        .unwrap();
    };
    let (waited, ()) = tokio::join!(wait, set);
    assert!(waited.contains("condition met"), "{waited}");

    assert!(
        kubectl
            .run(&["delete", "deployment/web", "cm/m"], &none)
            .await
            .contains("deleted")
    );
    kubectl.run(&["delete", "namespace", "team"], &none).await;
    let client = server.client("default");
    let api: kube::Api<k8s_openapi::api::core::v1::ConfigMap> = kube::Api::default_namespaced(client);
    eventually("the map is gone", || async {
        api.get_opt("m").await.unwrap().is_none().then_some(())
    })
    .await;
}
