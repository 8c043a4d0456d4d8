//! An API server with our kinds in it, and clients that nothing befalls.

use std::{sync::OnceLock, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy},
};
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use showrunner_crds::{crd::crd, platform::StreamingPlatform};
use showrunner_operator::{
    Clock, OperatorOptions,
    apply::{APPLIED_HASH, HANDOVER_MANAGER},
};
use showrunner_unreliable::{Link, Rates, Unreliable, seeds, snapshot, snapshot::Snapshot};
use tower::Layer as _;

pub(crate) const NAMESPACE: &str = "stage";
pub(crate) const PLATFORM: &str = "show";

/// Time between two looks at a platform at which nothing happens.
pub(crate) const LOOK: Duration = Duration::from_secs(15);

/// Everything the operator writes, and what it is written for.
const EVERYTHING: [&str; 10] = [
    "/api/v1/serviceaccounts",
    "/api/v1/configmaps",
    "/api/v1/services",
    "/api/v1/secrets",
    "/apis/networking.k8s.io/v1/networkpolicies",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/statefulsets",
    "/apis/autoscaling/v2/horizontalpodautoscalers",
    "/apis/policy/v1/poddisruptionbudgets",
    "/apis/showrunner.dev/v1alpha1/streamingplatforms",
];

/// A cluster for one run.
pub(crate) struct World {
    pub(crate) server: ApiServer,
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
        Self {
            server: INSTALLED.get_or_init(install).fork(),
            network: Unreliable::new(seed, rates),
            bystanders: Unreliable::new(seed, Rates::none()),
            clock: Clock::runtime(Timestamp::from_second(1_800_000_000).unwrap()),
        }
    }

    /// A client that nothing befalls.
    pub(crate) fn client(&self, name: &str) -> Client {
        Client::new(self.bystanders.link(name).layer(self.server.service()), NAMESPACE)
    }

    /// A client over a link of the unreliable network.
    pub(crate) fn abused(&self, link: &Link) -> Client {
        Client::new(link.layer(self.server.service()), NAMESPACE)
    }

    pub(crate) fn options(&self) -> OperatorOptions {
        OperatorOptions {
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

    pub(crate) async fn apply(&self, namespace: &str, name: &str, spec: &Value) {
        let platform = json!({
            "apiVersion": "showrunner.dev/v1alpha1", "kind": "StreamingPlatform",
            "metadata": { "name": name }, "spec": spec,
        });
        let platforms: Api<StreamingPlatform> = Api::namespaced(self.client("user"), namespace);
        let params = PatchParams::apply("user").force();
        let mut applied = platforms.patch(name, &params, &Patch::Apply(&platform)).await;
        // A platform on its way out takes no changes to what it is; the user waits until it is gone.
        for _ in 0..600 {
            match &applied {
                Ok(platform) if platform.metadata.deletion_timestamp.is_none() => return,
                Ok(_) => {}
                Err(error) => panic!("{error}: {spec}"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            applied = platforms.patch(name, &params, &Patch::Apply(&platform)).await;
        }
        panic!("the platform does not go away");
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
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let mut list: Value = self.client("user").request(request).await.unwrap();
        list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Everything there is, without what differs between any two runs.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        let mut snapshot = snapshot::take(self.server.service(), &EVERYTHING).await.unwrap();
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
    let namespaces: Api<Namespace> = Api::all(client);
    let namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } })).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    server
}

fn mask(object: &mut Value) {
    if object["kind"] == "Secret" || object.get("data").is_some() && object["type"] == "Opaque" {
        object["data"] = json!("secret");
    }
    // The hash is of an object with its owner's UID.
    if let Some(hash) = object.pointer_mut(&format!("/metadata/annotations/{}", APPLIED_HASH.replace('/', "~1"))) {
        *hash = json!("hash");
    }
    // Who owns `spec.replicas` of an autoscaled workload depends on whether it was always autoscaled.
    if let Some(managers) = object["metadata"]["managedFields"].as_array_mut() {
        managers.retain(|entry| entry["manager"] != HANDOVER_MANAGER);
        for entry in managers.iter_mut() {
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
