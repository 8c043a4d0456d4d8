//! A platform with regions in clusters of their own: several API servers in this process, each of which can hang.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    core::{ApiResource, DynamicObject},
    runtime::controller::Action,
};
use serde_json::{Value, json};
use showrunner_crds::platform::{RegionStatus, StreamingPlatform};
use showrunner_operator::{
    Clock, OperatorOptions,
    kind::Kind,
    reconcile::{Context, ReconcileError, reconcile},
    remote::Connector,
};
use tokio::time::Instant;

use super::{
    cluster::{Cluster, NAMESPACE, cinema},
    flaky::Hanging,
};

/// The north is at home; south and west have clusters of their own.
pub(crate) struct Fleet {
    pub(crate) home: Cluster,
    /// What becomes of the operator's requests at home.
    pub(crate) at_home: Hanging,
    pub(crate) away: BTreeMap<&'static str, Away>,
    pub(crate) options: OperatorOptions,
    pub(crate) operator: Arc<Context>,
    /// Clusters that clients were made for.
    pub(crate) connected: Connected,
}

pub(crate) type Connected = Arc<Mutex<Vec<String>>>;

pub(crate) struct Away {
    pub(crate) cluster: Cluster,
    pub(crate) hanging: Hanging,
}

/// The cinema with two regions elsewhere.
pub(crate) fn platform() -> StreamingPlatform {
    let mut platform = serde_json::to_value(cinema()).unwrap();
    for (index, secret) in [(1, "south"), (2, "west")] {
        platform["spec"]["regions"][index]["cluster"] = json!({ "kubeconfigSecretRef": { "name": secret } });
    }
    platform["spec"]["interconnect"] = json!({ "sourceRanges": ["198.51.100.0/24"] });
    serde_json::from_value(platform).unwrap()
}

/// A Secret with a kubeconfig that leads to the cluster of that name.
pub(crate) fn kubeconfig(secret: &str, cluster: &str) -> Secret {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: 'http://{cluster}.test'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    );
    secret_of(secret, &json!({ "kubeconfig": text }))
}

pub(crate) fn secret_of(name: &str, data: &Value) -> Secret {
    serde_json::from_value(json!({ "metadata": { "name": name }, "stringData": data })).unwrap()
}

impl Fleet {
    pub(crate) async fn start() -> Self {
        Self::with(OperatorOptions {
            clock: Clock::runtime(Timestamp::from_second(1_800_000_000).unwrap()),
            ..OperatorOptions::default()
        })
        .await
    }

    pub(crate) async fn with(options: OperatorOptions) -> Self {
        let home = Cluster::start().await;
        let mut away = BTreeMap::new();
        for name in ["south", "west"] {
            let (cluster, hanging) = (Cluster::start().await, Hanging::default());
            away.insert(name, Away { cluster, hanging });
            home.create_secret(&kubeconfig(name, name)).await;
        }
        home.platforms()
            .create(&PostParams::default(), &platform())
            .await
            .unwrap();
        let at_home = Hanging::default();
        let connected = Connected::default();
        let operator = operator(&at_home.client(&home.server), &away, &options, &connected);
        Self {
            home,
            at_home,
            away,
            options,
            operator,
            connected,
        }
    }

    /// A new operator, without memories.
    pub(crate) fn restart_operator(&mut self) {
        let home = self.at_home.client(&self.home.server);
        self.operator = operator(&home, &self.away, &self.options, &self.connected);
    }

    /// Clusters that clients were made for since it was last asked, by name.
    pub(crate) fn connections(&self) -> Vec<String> {
        let mut made = std::mem::take(&mut *self.connected.lock().unwrap());
        made.sort();
        made
    }

    /// Until nothing changes any more: everything has an address and runs.
    pub(crate) async fn settle(&self) {
        for _ in 0..4 {
            self.look().await;
            for cluster in self.clusters() {
                cluster.give_addresses().await;
                cluster.everything_runs().await;
            }
        }
        self.look().await;
    }

    /// One look; tells how long it took, and when the next is due.
    pub(crate) async fn look(&self) -> (Duration, Action) {
        let begun = Instant::now();
        let action = self.look_at(self.home.platform().await).await.unwrap();
        (begun.elapsed(), action)
    }

    /// One look at the platform as it is said to be.
    pub(crate) async fn look_at(&self, platform: StreamingPlatform) -> Result<Action, ReconcileError> {
        reconcile(Arc::new(platform), self.operator.clone()).await
    }

    /// Has a region be in the cluster of a Secret, or at home.
    pub(crate) async fn move_to(&self, region: &str, secret: Option<&str>) {
        let mut platform = serde_json::to_value(self.home.platform().await.spec).unwrap();
        for stated in platform["regions"].as_array_mut().unwrap() {
            if stated["name"] == region {
                stated["cluster"] =
                    secret.map_or(Value::Null, |name| json!({ "kubeconfigSecretRef": { "name": name } }));
            }
        }
        self.home
            .change(json!({ "spec": { "regions": platform["regions"] } }))
            .await;
    }

    /// Secrets of the clusters that the status has.
    pub(crate) async fn recorded(&self) -> Vec<String> {
        let clusters = self.home.platform().await.status.unwrap_or_default().clusters;
        clusters.into_iter().map(|cluster| cluster.secret_name).collect()
    }

    pub(crate) fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        std::iter::once(&self.home).chain(self.away.values().map(|away| &away.cluster))
    }

    pub(crate) fn cluster(&self, name: &str) -> &Cluster {
        self.away.get(name).map_or(&self.home, |away| &away.cluster)
    }

    /// What each cluster has written so far.
    pub(crate) fn revisions(&self) -> Vec<u64> {
        self.clusters().map(|cluster| cluster.server.revision()).collect()
    }

    pub(crate) fn hang(&self, name: &str) {
        self.away[name].hanging.set(|_| true);
    }

    pub(crate) fn wake(&self, name: &str) {
        self.away[name].hanging.clear();
    }

    pub(crate) async fn region(&self, name: &str) -> RegionStatus {
        let regions = self.home.platform().await.status.unwrap().regions;
        regions.into_iter().find(|region| region.name == name).unwrap()
    }

    /// Reason and message of `Degraded` where it is true.
    pub(crate) async fn degraded(&self) -> Option<(String, String)> {
        let conditions = self.home.platform().await.status.unwrap().conditions;
        let mut degraded = conditions.into_iter().filter(|condition| condition.type_ == "Degraded");
        let degraded = degraded.next().unwrap();
        (degraded.status == "True").then_some((degraded.reason, degraded.message))
    }

    /// The storage that the edges of a region are told to use.
    pub(crate) async fn cache(&self, region: &str) -> String {
        let (edges, name) = (
            self.cluster(region).api::<Deployment>(),
            format!("cinema-{region}-edge"),
        );
        let edge = edges.get(&name).await.unwrap();
        let containers = edge.spec.unwrap().template.spec.unwrap().containers;
        containers[0].args.clone().unwrap().join(" ")
    }
}

fn operator(
    home: &Client,
    away: &BTreeMap<&'static str, Away>,
    options: &OperatorOptions,
    connected: &Connected,
) -> Arc<Context> {
    let clients: BTreeMap<String, Client> = away
        .iter()
        .map(|(name, away)| ((*name).to_owned(), away.hanging.client(&away.cluster.server)))
        .collect();
    let connected = connected.clone();
    let connector = Connector::new(move |config: Config| {
        let host = config.cluster_url.host().unwrap();
        let name = host.strip_suffix(".test").unwrap();
        connected.lock().unwrap().push(name.to_owned());
        Ok(clients[name].clone())
    });
    let options = OperatorOptions {
        connector,
        ..options.clone()
    };
    Arc::new(Context::new(home.clone(), options))
}

impl Cluster {
    pub(crate) async fn create_secret(&self, secret: &Secret) {
        self.api::<Secret>()
            .create(&PostParams::default(), secret)
            .await
            .unwrap();
    }

    pub(crate) async fn delete_secret(&self, name: &str) {
        self.api::<Secret>()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// Names of everything of a platform here, by kind.
    pub(crate) async fn everything(&self) -> Vec<String> {
        let mut all = Vec::new();
        let kinds = Kind::ALL.map(Kind::api_resource).into_iter();
        for kind in kinds.chain([ApiResource::erase::<Secret>(&())]) {
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), NAMESPACE, &kind);
            let objects = api.list(&ListParams::default()).await.unwrap().items;
            let names = objects.iter().map(ResourceExt::name_any);
            let ours = names.filter(|name| name.starts_with("cinema"));
            all.extend(ours.map(|name| format!("{} {name}", kind.kind)));
        }
        all
    }
}
