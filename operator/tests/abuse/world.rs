//! An API server with our kinds in it, and clients that nothing befalls.

use std::{sync::OnceLock, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy},
};
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use showrunner_crds::{crd::crd, labels, platform::StreamingPlatform};
use showrunner_operator::{Clock, OperatorOptions, apply::HANDOVER_MANAGER, remote::Connector};
use showrunner_unreliable::{Link, Rates, Unreliable, seeds, snapshot, snapshot::Snapshot};
use tower::Layer as _;

use crate::everything::{self, everything};

pub(crate) const NAMESPACE: &str = "stage";
pub(crate) const PLATFORM: &str = "show";
/// The namespace of the platform's regions in the cluster that is not its own, and the Secret that leads there.
pub(crate) const AWAY: &str = "away";
pub(crate) const FAR: &str = "far";

/// Writes down which clusters have objects.
const CLUSTERS_MANAGER: &str = "showrunner-operator/clusters";

/// Time between two looks at a platform at which nothing happens.
pub(crate) const LOOK: Duration = Duration::from_secs(15);

/// A cluster for one run.
pub(crate) struct World {
    pub(crate) server: ApiServer,
    /// Another cluster, for regions of their own.
    pub(crate) far: ApiServer,
    /// The operators' network.
    pub(crate) network: Unreliable,
    /// Everybody else's, in which nothing goes wrong.
    pub(crate) bystanders: Unreliable,
    pub(crate) clock: Clock,
}

impl World {
    pub(crate) fn new(seed: u64, rates: Rates) -> Self {
        // Definitions are compiled once, not once a run.
        static INSTALLED: OnceLock<ApiServer> = OnceLock::new();
        let install = || std::thread::spawn(|| seeds::paused(0, installed())).join().unwrap();
        let installed = INSTALLED.get_or_init(install);
        Self {
            server: installed.fork(),
            far: installed.fork(),
            network: Unreliable::new(seed, rates),
            bystanders: Unreliable::new(seed, Rates::none()),
            clock: Clock::runtime(Timestamp::from_second(1_800_000_000).unwrap()),
        }
    }

    /// A client that nothing befalls.
    pub(crate) fn client(&self, name: &str) -> Client {
        self.client_of(&self.server, name)
    }

    /// The same, of either cluster.
    pub(crate) fn client_of(&self, server: &ApiServer, name: &str) -> Client {
        Client::new(self.bystanders.link(name).layer(server.service()), NAMESPACE)
    }

    /// A client over a link of the unreliable network.
    pub(crate) fn abused(&self, link: &Link) -> Client {
        Client::new(link.layer(self.server.service()), NAMESPACE)
    }

    /// Of an operator with this link, by which it reaches the other cluster, too.
    pub(crate) fn options(&self, link: &Link) -> OperatorOptions {
        let (link, far) = (link.clone(), self.far.clone());
        let connect = move |_| Ok(Client::new(link.layer(far.service()), AWAY));
        OperatorOptions {
            connector: Connector::new(connect),
            instance: Some("operator".into()),
            // Their definition is not installed here.
            finish_drills: false,
            clock: self.clock,
            // Fewer looks in a run, and so more runs.
            idle_interval: LOOK,
            debounce: Duration::from_millis(500),
            ..OperatorOptions::default()
        }
    }

    pub(crate) fn platforms(&self) -> Api<StreamingPlatform> {
        Api::namespaced(self.client("user"), NAMESPACE)
    }

    /// Applies a platform, once one of that name that is on its way out is gone.
    pub(crate) async fn apply(&self, namespace: &str, name: &str, spec: &Value) -> Result<(), String> {
        let platform = json!({
            "apiVersion": "showrunner.dev/v1alpha1", "kind": "StreamingPlatform",
            "metadata": { "name": name }, "spec": spec,
        });
        let platforms: Api<StreamingPlatform> = Api::namespaced(self.client("user"), namespace);
        let params = PatchParams::apply("user").force();
        let mut applied = platforms.patch(name, &params, &Patch::Apply(&platform)).await;
        // One on its way out takes the spec, and goes nevertheless: where other clusters have objects of it and every second
        // call fails, not within minutes.
        for _ in 0..3600 {
            match &applied {
                Ok(platform) if platform.metadata.deletion_timestamp.is_none() => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(format!("{error}: {spec}")),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            applied = platforms.patch(name, &params, &Patch::Apply(&platform)).await;
        }
        Err("the platform does not go away".to_owned())
    }

    pub(crate) async fn delete(&self, foreground: bool) {
        let params = DeleteParams {
            propagation_policy: Some(if foreground {
                PropagationPolicy::Foreground
            } else {
                PropagationPolicy::Background
            }),
            ..DeleteParams::default()
        };
        // It may be gone already.
        let _ = self.platforms().delete(PLATFORM, &params).await;
    }

    pub(crate) async fn list(&self, path: &str) -> Vec<Value> {
        self.list_of(&self.server, path).await
    }

    /// The same, of either cluster.
    pub(crate) async fn list_of(&self, server: &ApiServer, path: &str) -> Vec<Value> {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let mut list: Value = self.client_of(server, "user").request(request).await.unwrap();
        list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Everything there is, without what differs between any two runs.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        let mut snapshot = snapshot::take(self.server.service(), &everything()).await.unwrap();
        let far = snapshot::take(self.far.service(), &everything()).await.unwrap();
        snapshot.extend(
            far.into_iter()
                .map(|(place, object)| (format!("{FAR} {place}"), object)),
        );
        // Both have it from the start.
        snapshot.retain(|place, _| !place.ends_with(&format!("/api/v1/secrets {NAMESPACE}/{FAR}")));
        snapshot.values_mut().for_each(mask);
        snapshot
    }
}

/// A server with our kinds, and the namespace everything happens in.
async fn installed() -> ApiServer {
    let server = ApiServer::new(ApiServerConfig::default());
    let client = server.client(NAMESPACE);
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for kind in ["StreamingPlatform", "Premiere"] {
        let definition = crd(kind).unwrap();
        definitions.create(&PostParams::default(), &definition).await.unwrap();
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for name in [NAMESPACE, AWAY] {
        let namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    }
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "k", "user": "u" } }],
        "clusters": [{ "name": "k", "cluster": { "server": "http://far.test" } }],
        "users": [{ "name": "u", "user": { "token": "t" } }],
    });
    let secret = json!({ "metadata": { "name": FAR }, "stringData": { "kubeconfig": kubeconfig.to_string() } });
    let secrets: Api<Secret> = Api::namespaced(client, NAMESPACE);
    let secret = serde_json::from_value(secret).unwrap();
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    server
}

fn mask(object: &mut Value) {
    everything::mask(object);
    // Who applies a list without the items it had leaves nothing of it, by upstream's rules; who never had any, an empty one.
    if object["kind"] == "StreamingPlatform"
        && let Some(spec) = object["spec"].as_object_mut()
        && spec.get("services").is_some_and(|services| *services == json!([]))
    {
        spec.remove("services");
    }
    if let Some(owner) = object.pointer_mut(&format!("/metadata/labels/{}", labels::OWNER.replace('/', "~1"))) {
        *owner = json!("owner");
    }
    // Whoever gave a Service its address as a load balancer owns that also when it is none any more.
    let was_balanced = object["spec"]["clusterIP"].is_string() && object["spec"]["type"] != "LoadBalancer";
    // Who owns `spec.replicas` of an autoscaled workload depends on whether it was always autoscaled.
    if let Some(managers) = object["metadata"]["managedFields"].as_array_mut() {
        managers.retain(|entry| entry["manager"] != HANDOVER_MANAGER && entry["manager"] != CLUSTERS_MANAGER);
        managers.retain(|entry| !(was_balanced && entry["subresource"] == "status"));
        for entry in managers.iter_mut() {
            // Whoever writes a status first owns what it is filled up with; that depends on whether there was a cluster.
            if let Some(status) = entry.pointer_mut("/fieldsV1/f:status").and_then(Value::as_object_mut) {
                for field in [".", "f:audience", "f:clusters"] {
                    status.remove(field);
                }
            }
            // So does who owned what was empty once.
            if let Some(endpoints) = entry
                .pointer_mut("/fieldsV1/f:status/f:endpoints")
                .and_then(Value::as_object_mut)
            {
                endpoints.remove(".");
            }
            if let Some(spec) = entry.pointer_mut("/fieldsV1/f:spec").and_then(Value::as_object_mut) {
                spec.remove("f:replicas");
            }
        }
        managers.retain(|entry| {
            let fields = entry["fieldsV1"].as_object();
            fields.is_some_and(|fields| {
                fields
                    .values()
                    .any(|value| value.as_object().is_some_and(|value| !value.is_empty()))
            })
        });
    }
}
