//! A cluster that is there already: which one, and a client for it.

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args as ClapArgs;
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// How long one connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Which cluster.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct ClusterArgs {
    /// The cluster of this kubeconfig; by default that of $KUBECONFIG, ~/.kube/config or the pod this runs in
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The cluster of this context of the kubeconfig
    #[arg(long)]
    pub(crate) context: Option<String>,
}

impl ClusterArgs {
    /// A client, and the namespace that the kubeconfig names.
    pub(crate) async fn connect(&self) -> Result<(Client, String), Failure> {
        let config = config(self.kubeconfig.as_deref(), self.context.as_deref()).await?;
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| Failure::infrastructure(error.to_string()))?;
        Ok((client, namespace))
    }
}

/// How to reach the cluster that is meant.
pub(crate) async fn config(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Config, Failure> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let invalid = |error: &dyn std::fmt::Display| Failure::invalid(error.to_string());
    let mut config = match (kubeconfig, context) {
        (Some(path), _) => {
            let wrong = |error| Failure::invalid(format!("{}: {error}", path.display()));
            let file = Kubeconfig::read_from(path).map_err(wrong)?;
            Config::from_custom_kubeconfig(file, &options).await.map_err(wrong)?
        }
        (None, Some(_)) => Config::from_kubeconfig(&options)
            .await
            .map_err(|error| invalid(&error))?,
        (None, None) => Config::infer().await.map_err(|error| invalid(&error))?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(ANSWER);
    Ok(config)
}

/// The object of that name; where there is none, an error that names those there are.
pub(crate) async fn find<K>(client: &Client, namespace: &str, name: &str) -> Result<K, Failure>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let (kind, plural) = (K::kind(&()), K::plural(&()));
    let refused = |error: kube::Error| Failure::infrastructure(format!("cannot get {plural}: {error}"));
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    if let Some(found) = api.get_opt(name).await.map_err(refused)? {
        return Ok(found);
    }
    let there = api.list(&ListParams::default()).await.map_err(refused)?;
    let names: Vec<String> = there.iter().map(ResourceExt::name_any).collect();
    let there = if names.is_empty() {
        "there is none in it".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    Err(Failure::invalid(format!(
        "no {kind} {name} in namespace {namespace}; {there}"
    )))
}
