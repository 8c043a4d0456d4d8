//! What a reconciliation costs, against an API server in this process: `cargo bench -p showrunner-operator --bench reconcile`.
//!
//! One thread, pinned to a core. What the API server takes is measured where it is called, in each poll of an answer or of its
//! body: CPU time and allocations outside are the operator's and its client library's.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod metered;

use std::alloc::System;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{conditions::is_crd_established, wait::await_condition};
use kube::{Api, Client, Resource, ResourceExt};
use metered::{Metered, Share};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use showrunner_apiserver::{ApiServer, ApiServerConfig};
use showrunner_bench_support::books::{machine, median};
use showrunner_bench_support::process::{CLIENT_CORE, own_cpu, own_role, role};
use showrunner_crds::crd::all_crds;
use showrunner_crds::platform::StreamingPlatform;
use showrunner_operator::OperatorOptions;
use showrunner_operator::reconcile::{Context, reconcile};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Reconciliations that change nothing, measured one by one.
const LOOKS: usize = 300;
const PLATFORMS: usize = 200;
const DEADLINE: Duration = Duration::from_secs(120);

fn main() {
    if showrunner_bench_support::is_test() {
        return;
    }
    if own_role().is_none() {
        // Again, on one core.
        let ended = role(CLIENT_CORE, "reconcile", &[]).status().unwrap();
        std::process::exit(ended.code().unwrap_or(1));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let unchanged = runtime.block_on(unchanged());
    let converging = runtime.block_on(converging());
    machine(
        "reconcile",
        &json!({ "unchanged": unchanged, "converging": converging }),
    );
}

/// A reconciliation that finds everything as it should be.
async fn unchanged() -> Value {
    let cluster = Cluster::start().await;
    cluster.create("p-0").await;
    let context = Arc::new(Context::new(cluster.client.clone(), OperatorOptions::default()));
    let platforms: Api<StreamingPlatform> = Api::namespaced(cluster.client.clone(), "p-0");
    let look = async || {
        let platform = Arc::new(platforms.get("cinema").await.unwrap());
        reconcile(platform, Arc::clone(&context)).await.unwrap();
    };
    look().await;
    cluster.give_addresses("p-0").await;
    cluster.everything_runs("p-0").await;
    for _ in 0..20 {
        look().await;
    }
    let objects = cluster.objects("p-0").await;
    let revision = cluster.server.revision();
    let mut wall = Vec::with_capacity(LOOKS);
    cluster.share.reset();
    let (allocations, cpu) = (Region::new(ALLOCATOR), own_cpu());
    for _ in 0..LOOKS {
        let platform = Arc::new(platforms.get("cinema").await.unwrap());
        let began = Instant::now();
        reconcile(platform, Arc::clone(&context)).await.unwrap();
        wall.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let (cpu, change) = (own_cpu() - cpu, allocations.change());
    assert_eq!(cluster.server.revision(), revision, "nothing may be written");
    let (per, served) = (LOOKS as f64, cluster.share.read());
    let figures = json!({
        "objects": objects,
        "cpuMs": cpu * 1e3 / per,
        "wallMsMedian": median(&wall),
        "requests": served.requests as f64 / per,
        "allocations": change.allocations as f64 / per,
        "kilobytes": change.bytes_allocated as f64 / 1024.0 / per,
        "apiServerShareOfCpu": served.seconds / cpu,
        "apiServerAllocations": served.allocations as f64 / per,
        "apiServerKilobytes": served.bytes as f64 / 1024.0 / per,
    });
    println!("A reconciliation that changes nothing (3 regions, {objects} objects, mean of {LOOKS}):");
    println!(
        "  CPU {:.2} ms, of it {:.0} % in the API server; {:.0} requests; {:.0} allocations of {:.0} KB, of them {:.0} of {:.0} KB in the API server",
        cpu * 1e3 / per,
        served.seconds / cpu * 100.0,
        served.requests as f64 / per,
        change.allocations as f64 / per,
        change.bytes_allocated as f64 / 1024.0 / per,
        served.allocations as f64 / per,
        served.bytes as f64 / 1024.0 / per,
    );
    figures
}

/// The operator as it runs, with 200 platforms of three regions that appear at once, a namespace each, until every object is
/// there and every status says so.
async fn converging() -> Value {
    let cluster = Cluster::start().await;
    for index in 0..PLATFORMS {
        cluster.create(&format!("p-{index}")).await;
    }
    let stop = CancellationToken::new();
    cluster.share.reset();
    let (began, cpu) = (Instant::now(), own_cpu());
    let operator = tokio::spawn(showrunner_operator::run(
        cluster.client.clone(),
        OperatorOptions::default(),
        stop.clone(),
    ));
    // Asked outside the meter, and seldom.
    let platforms: Api<StreamingPlatform> = Api::all(cluster.server.client("default"));
    let done = loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let all = platforms.list(&ListParams::default()).await.unwrap();
        let done = all.iter().filter(|platform| is_applied(platform)).count();
        if done == PLATFORMS || began.elapsed() > DEADLINE {
            break done;
        }
    };
    let (seconds, cpu, served) = (began.elapsed().as_secs_f64(), own_cpu() - cpu, cluster.share.read());
    assert_eq!(done, PLATFORMS, "not all converged in {DEADLINE:?}");
    stop.cancel();
    operator.await.unwrap().unwrap();
    let objects = cluster.objects("p-0").await;
    for index in 1..PLATFORMS {
        assert_eq!(
            cluster.objects(&format!("p-{index}")).await,
            objects,
            "objects of p-{index}"
        );
    }
    println!("{PLATFORMS} platforms of three regions ({objects} objects each), all at once, one core:");
    println!(
        "  {seconds:.1} s, {:.1} platforms/s, {:.0} objects/s; {:.0} requests each; CPU {:.1} ms each, of it {:.0} % in the API server",
        PLATFORMS as f64 / seconds,
        (PLATFORMS * objects) as f64 / seconds,
        served.requests as f64 / PLATFORMS as f64,
        cpu * 1e3 / PLATFORMS as f64,
        served.seconds / cpu * 100.0,
    );
    json!({
        "platforms": PLATFORMS,
        "objectsEach": objects,
        "seconds": seconds,
        "platformsPerSecond": PLATFORMS as f64 / seconds,
        "requestsEach": served.requests as f64 / PLATFORMS as f64,
        "cpuMsEach": cpu * 1e3 / PLATFORMS as f64,
        "apiServerShareOfCpu": served.seconds / cpu,
    })
}

/// Whether the status says of the present spec that no region of it failed.
fn is_applied(platform: &StreamingPlatform) -> bool {
    let conditions = platform.status.as_ref().map_or(&[][..], |status| &status.conditions);
    conditions.iter().any(|condition| {
        condition.type_ == "Degraded"
            && condition.status == "False"
            && condition.observed_generation == platform.metadata.generation
    })
}

/// An API server that knows our kinds, and a client of it whose every request is metered.
struct Cluster {
    server: ApiServer,
    client: Client,
    share: Share,
}

impl Cluster {
    async fn start() -> Self {
        let server = ApiServer::new(ApiServerConfig::default());
        let share = Share::default();
        let client = Client::new(Metered::new(server.service(), share.clone(), ALLOCATOR), "default");
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        for definition in all_crds() {
            definitions.create(&PostParams::default(), &definition).await.unwrap();
            let name = definition.name_any();
            let established = await_condition(definitions.clone(), &name, is_crd_established());
            tokio::time::timeout(DEADLINE, established).await.unwrap().unwrap();
        }
        Self { server, client, share }
    }

    /// A platform in a namespace of its own.
    async fn create(&self, namespace: &str) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let object = serde_json::from_value(json!({ "metadata": { "name": namespace } })).unwrap();
        namespaces.create(&PostParams::default(), &object).await.unwrap();
        let platform = serde_json::from_value(json!({
            "apiVersion": "showrunner.dev/v1alpha1",
            "kind": "StreamingPlatform",
            "metadata": { "name": "cinema", "namespace": namespace },
            "spec": {
                "channels": [{ "name": "main", "ladder": [
                    { "name": "hi", "width": 640, "height": 360, "bitrateKbps": 600 },
                    { "name": "lo", "width": 256, "height": 144, "bitrateKbps": 150 },
                ] }],
                "regions": [{ "name": "eu" }, { "name": "us" }, { "name": "apac" }],
                "services": [{ "name": "tickets", "kind": "entitlement" }],
            },
        }))
        .unwrap();
        let platforms: Api<StreamingPlatform> = Api::namespaced(self.client.clone(), namespace);
        platforms.create(&PostParams::default(), &platform).await.unwrap();
    }

    async fn list<K>(&self, namespace: &str) -> Vec<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        api.list(&ListParams::default()).await.unwrap().items
    }

    /// Objects that belong to the platform.
    async fn objects(&self, namespace: &str) -> usize {
        use k8s_openapi::api::{
            autoscaling::v2::HorizontalPodAutoscaler,
            core::v1::{ConfigMap, Secret, ServiceAccount},
            networking::v1::NetworkPolicy,
            policy::v1::PodDisruptionBudget,
        };
        fn owned<K: ResourceExt>(objects: &[K]) -> usize {
            objects
                .iter()
                .filter(|object| !object.owner_references().is_empty())
                .count()
        }
        owned(&self.list::<Deployment>(namespace).await)
            + owned(&self.list::<StatefulSet>(namespace).await)
            + owned(&self.list::<Service>(namespace).await)
            + owned(&self.list::<ConfigMap>(namespace).await)
            + owned(&self.list::<Secret>(namespace).await)
            + owned(&self.list::<ServiceAccount>(namespace).await)
            + owned(&self.list::<NetworkPolicy>(namespace).await)
            + owned(&self.list::<HorizontalPodAutoscaler>(namespace).await)
            + owned(&self.list::<PodDisruptionBudget>(namespace).await)
    }

    async fn status<K>(&self, namespace: &str, name: &str, status: Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let patch = Patch::Merge(json!({ "status": status }));
        api.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// What load balancers would report.
    async fn give_addresses(&self, namespace: &str) {
        for (index, service) in self.list::<Service>(namespace).await.iter().enumerate() {
            if service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer") {
                let status = json!({ "loadBalancer": { "ingress": [{ "ip": format!("192.0.2.{index}") }] } });
                self.status::<Service>(namespace, &service.name_any(), status).await;
            }
        }
    }

    /// What workload controllers would report.
    async fn everything_runs(&self, namespace: &str) {
        for deployment in self.list::<Deployment>(namespace).await {
            let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let status = json!({
                "observedGeneration": deployment.metadata.generation, "replicas": replicas,
                "updatedReplicas": replicas, "readyReplicas": replicas,
            });
            self.status::<Deployment>(namespace, &deployment.name_any(), status)
                .await;
        }
        for set in self.list::<StatefulSet>(namespace).await {
            let status = json!({ "observedGeneration": set.metadata.generation, "replicas": 1, "readyReplicas": 1 });
            self.status::<StatefulSet>(namespace, &set.name_any(), status).await;
        }
    }
}
