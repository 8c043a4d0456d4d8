//! The chart, by the real helm: installed, upgraded and removed on the embedded control plane and on Kubernetes' own.
//!
//! `KUBERNETES=1` plays it (`make test-kubernetes` does); helm and Kubernetes' binaries are of `make kubernetes`.
#![allow(clippy::unwrap_used)]

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        rbac::v1::{ClusterRole, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;
use showrunner_crds::crd::all_crds;
use showrunner_sandbox::{ControlPlane, ImageTable, NodeConfig, Sandbox, SandboxConfig, real::Assets};

const CHART: &str = "charts/showrunner-operator";
const OPERATOR: &str = "showrunner-operator";
const CLUSTERS: &str = "showrunner-operator-clusters";
const SECRETS: &str = r#"clusterSecrets=[{"namespace":"default","names":["us-cluster","arena-signing-key"]}]"#;

struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Helm {
    fn run(&self, arguments: &[&str]) -> Output {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .args(["--namespace", "operators"])
            .current_dir(workspace)
            // Nothing of whoever runs this leads helm to another cluster.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("KUBECONFIG", &self.kubeconfig);
        command.output().unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "helm {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// What it says against values that are wrong.
    fn refuses(&self, set: &[&str]) -> String {
        let output = self.run(&[&["upgrade", "showrunner", CHART], set].concat());
        assert!(!output.status.success(), "{set:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// Plays it; gives how many objects there were.
async fn play(plane: ControlPlane, assets: &Assets) -> usize {
    let folder = tempfile::tempdir().unwrap();
    // Arguments of the chart are not for `sleep`.
    let images = ImageTable::default().with("operator", ["sh", "-c", "exec sleep infinity"]);
    let sandbox = Sandbox::start(SandboxConfig {
        control_plane: plane,
        nodes: vec![NodeConfig::new("a")],
        ..SandboxConfig::new(folder.path().join("sandbox"), images)
    })
    .await
    .unwrap();
    let client = sandbox.client();
    let helm = Helm {
        program: assets.binary("helm").unwrap(),
        kubeconfig: sandbox.kubeconfig().to_owned(),
        home: folder.path().to_owned(),
    };
    helm.succeeds(&[
        "install",
        "showrunner",
        CHART,
        "--create-namespace",
        "--set",
        "image=operator",
        "--wait",
        "--timeout",
        "60s",
    ]);
    let mut found = definitions(&client).await;
    assert_eq!(found, all_crds().len());
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "operators");
    let deployment = deployments.get(OPERATOR).await.unwrap();
    assert_eq!(deployment.status.unwrap().ready_replicas, Some(2));
    let roles: Api<ClusterRole> = Api::all(client.clone());
    assert!(roles.get(OPERATOR).await.unwrap().rules.unwrap().len() > 10);
    found += 2;

    let of_clusters: Api<Role> = Api::namespaced(client.clone(), "default");
    assert!(!is_there(&of_clusters, CLUSTERS).await);
    helm.succeeds(&[
        "upgrade",
        "showrunner",
        CHART,
        "--reuse-values",
        "--set-json",
        SECRETS,
        "--set",
        "watchNamespace=default",
        "--wait",
        "--timeout",
        "60s",
    ]);
    let role = of_clusters.get(CLUSTERS).await.unwrap();
    let rule = &role.rules.unwrap()[0];
    assert_eq!(rule.verbs, ["get"]);
    assert_eq!(
        rule.resource_names.as_deref(),
        Some(&["us-cluster".to_owned(), "arena-signing-key".to_owned()][..])
    );
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), "default");
    let binding = bindings.get(CLUSTERS).await.unwrap();
    assert_eq!(binding.role_ref.name, role.metadata.name.unwrap());
    let subject = &binding.subjects.unwrap()[0];
    assert_eq!(
        (subject.name.as_str(), subject.namespace.as_deref()),
        (OPERATOR, Some("operators"))
    );
    let spec = deployments.get(OPERATOR).await.unwrap().spec.unwrap();
    assert_eq!(
        spec.template.spec.unwrap().containers[0].args.as_deref(),
        Some(&["--namespace=default".to_owned()][..])
    );
    found += 2;

    for (set, named) in [
        (["--set", "replicas=0"], "/replicas"),
        (["--set", "nonsense=1"], "nonsense"),
        (["--set-json", r#"clusterSecrets=[{"namespace":"x"}]"#], "'names'"),
    ] {
        let said = helm.refuses(&set);
        assert!(said.contains(named), "{set:?}: {said}");
    }

    helm.succeeds(&["uninstall", "showrunner", "--wait", "--timeout", "60s"]);
    assert!(!is_there(&deployments, OPERATOR).await);
    assert!(!is_there(&of_clusters, CLUSTERS).await);
    assert_eq!(
        definitions(&client).await,
        all_crds().len(),
        "what platforms are made of stays"
    );
    sandbox.stop().await.unwrap();
    found
}

async fn is_there<K: Clone + Debug + DeserializeOwned>(api: &Api<K>, name: &str) -> bool {
    api.get_opt(name).await.unwrap().is_some()
}

async fn definitions(client: &Client) -> usize {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let all = api.list(&ListParams::default()).await.unwrap().items;
    all.iter()
        .filter(|crd| crd.name_any().ends_with(".showrunner.dev"))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_installs_upgrades_and_removes_it() {
    if std::env::var("KUBERNETES").is_err() {
        println!("skipped: KUBERNETES=1 plays it");
        return;
    }
    let assets = Assets::find(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()).unwrap();
    for (name, plane) in [
        ("embedded", ControlPlane::Embedded),
        ("Kubernetes", ControlPlane::Real(assets.clone())),
    ] {
        let found = Box::pin(play(plane, &assets)).await;
        println!("chart: {found} objects on {name}, as they must be");
    }
}
