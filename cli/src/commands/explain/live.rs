//! An autoscaler and what it sees, from a cluster: the requests that its controller makes.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
    discovery::pinned_kind,
};
use serde_json::{Value, json};
use showrunner_autoscaling::{
    audience::Capacity,
    explain::Inputs,
    hpa::{ScaleView, Selector},
};
use showrunner_crds::{labels, platform::StreamingPlatform};

use super::{Subject, metrics};
use crate::{
    args::HpaArgs,
    cluster::{config, find},
    failure::Failure,
};

/// How long the cluster gets to answer everything.
const ANSWER: Duration = Duration::from_secs(30);

/// Asks the cluster.
pub(super) async fn read(args: &HpaArgs) -> Result<Subject, Failure> {
    let [name] = args.sources.as_slice() else {
        return Err(Failure::invalid(
            "in a cluster one autoscaler is explained at a time: showrunner explain hpa -n NAMESPACE NAME",
        ));
    };
    let config = config(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
    let namespace = args
        .namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let server = config.cluster_url.to_string();
    let client = Client::try_from(config).map_err(|error| Failure::infrastructure(error.to_string()))?;
    match tokio::time::timeout(ANSWER, fetch(&client, &namespace, name)).await {
        Ok(subject) => subject,
        Err(_) => Err(Failure::infrastructure(format!(
            "{server} does not answer within {} s",
            ANSWER.as_secs()
        ))),
    }
}

/// Everything one evaluation reads.
async fn fetch(client: &Client, namespace: &str, name: &str) -> Result<Subject, Failure> {
    let hpa: HorizontalPodAutoscaler = find(client, namespace, name).await?;
    let scale = scale(client, namespace, &hpa).await;
    let mut objects = vec![object(&hpa)?];
    let selector = scale.as_ref().map(|(_, selector)| selector.clone()).unwrap_or_default();
    let mut usage = Ok(());
    if !selector.is_empty() {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let selected = pods.list(&ListParams::default().labels(&selector)).await;
        for pod in selected.map_err(|error| refused("list pods", &error))? {
            objects.push(object(&pod)?);
        }
        match metrics::of_pods(client, namespace, &selector).await {
            Ok(samples) => objects.extend(samples),
            Err(error) => usage = Err(error),
        }
    }
    let custom = metrics::named(client, namespace, &selector, &hpa).await;
    objects.extend(custom.values);
    let mut inputs = Inputs::from_objects(objects, Some(name))
        .map_err(|error| Failure::infrastructure(format!("the cluster's objects cannot be read: {error}")))?;
    // What the API said itself is better than what can be concluded from objects.
    inputs.observation.scale = scale.map(|(view, _)| view);
    if let Err(error) = usage {
        inputs.observation.samples.resource = Err(error);
    }
    let samples = &mut inputs.observation.samples;
    samples.pods.extend(custom.failed.pods);
    samples.object.extend(custom.failed.object);
    samples.external.extend(custom.failed.external);
    Ok(Subject {
        capacity: capacity(client, namespace, &hpa).await,
        inputs,
        now: Some(Timestamp::now()),
    })
}

/// A cluster that cannot be asked, and what it was asked for.
fn refused(what: &str, error: &kube::Error) -> Failure {
    Failure::infrastructure(format!("cannot {what}: {error}"))
}

fn object<K: serde::Serialize>(object: &K) -> Result<Value, Failure> {
    serde_json::to_value(object).map_err(|error| Failure::infrastructure(error.to_string()))
}

/// The scale of the target and its selector's text; an error as the controller would word it.
async fn scale(client: &Client, namespace: &str, hpa: &HorizontalPodAutoscaler) -> Result<(ScaleView, String), String> {
    let target = &hpa.spec.scale_target_ref;
    let version = target.api_version.as_deref().unwrap_or("v1");
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = resource(client, &GroupVersionKind::gvk(group, version, &target.kind)).await;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let scale = api.get_scale(&target.name).await.map_err(|error| match error {
        kube::Error::Api(status) => status.message,
        error => error.to_string(),
    })?;
    let status = scale.status.unwrap_or_default();
    let selector = status.selector.unwrap_or_default();
    let view = ScaleView {
        spec_replicas: scale.spec.and_then(|spec| spec.replicas).unwrap_or(0),
        status_replicas: status.replicas,
        selector: if selector.is_empty() {
            Selector::Missing
        } else {
            Selector::Valid
        },
    };
    Ok((view, selector))
}

/// How the cluster names a kind; by English rules where it does not say.
pub(super) async fn resource(client: &Client, kind: &GroupVersionKind) -> ApiResource {
    match pinned_kind(client, kind).await {
        Ok((resource, _)) => resource,
        Err(_) => ApiResource::from_gvk(kind),
    }
}

/// What the platform an autoscaler belongs to says of its edges, if it belongs to one.
async fn capacity(client: &Client, namespace: &str, hpa: &HorizontalPodAutoscaler) -> Option<Capacity> {
    let name = hpa.labels().get(labels::PLATFORM)?;
    let api: Api<StreamingPlatform> = Api::namespaced(client.clone(), namespace);
    let edge = api.get_opt(name).await.ok()??.spec.edge;
    Some(Capacity {
        viewers_per_replica: edge.viewers_per_replica,
        headroom_percent: edge.autoscaling.headroom_percent,
    })
}

/// `{}` with a kind, for objects whose API leaves it out in lists.
pub(super) fn typed(kind: &str, mut item: Value) -> Value {
    item["kind"] = json!(kind);
    item
}
