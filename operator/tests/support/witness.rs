//! A client whose writes to workloads and autoscalers are watched, and in between which others act.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use http::{Method, Request};
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v1::Scale, autoscaling::v2::HorizontalPodAutoscaler};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    client::Body,
};
use serde_json::json;
use showrunner_apiserver::ApiServer;
use tower::ServiceExt;

use super::cluster::NAMESPACE;

/// The manager that the operator writes workloads as.
pub(crate) const WORKLOADS: &str = "showrunner-operator/workloads";
const AUTOSCALER: &str = "kube-controller-manager";

/// What others do to a Deployment's number of replicas.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// The autoscaler's controller, where there is an autoscaler.
    Autoscaler(i32),
    /// `kubectl scale`.
    Person(i32),
}

/// One write of the watched client to the Deployment, or to the autoscaler of its name.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) request: String,
    /// Whether the platform asked for autoscaling when the look began.
    pub(crate) enabled: bool,
    /// Whether the autoscaler was there.
    pub(crate) autoscaler: bool,
    pub(crate) before: Option<Replicas>,
    pub(crate) after: Option<Replicas>,
}

/// A number of replicas and who put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replicas {
    pub(crate) number: i32,
    /// Managers that own the field.
    pub(crate) owners: Vec<String>,
}

#[derive(Default)]
struct Script {
    enabled: bool,
    acts: VecDeque<Act>,
    writes: Vec<Write>,
}

/// Sees what is written to one Deployment.
#[derive(Clone)]
pub(crate) struct Witness {
    /// The hands of everybody else.
    others: Client,
    name: String,
    script: Arc<Mutex<Script>>,
}

impl Witness {
    pub(crate) fn of(server: &ApiServer, deployment: &str) -> Self {
        Self {
            others: server.client(NAMESPACE),
            name: deployment.to_owned(),
            script: Arc::default(),
        }
    }

    /// The client that is watched.
    pub(crate) fn client(&self, server: &ApiServer) -> Client {
        let (service, witness) = (server.service(), self.clone());
        // One request at a time: what is seen before and after a write then is its doing.
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        let watched = tower::service_fn(move |request: Request<Body>| {
            let (service, witness, turn) = (service.clone(), witness.clone(), turn.clone());
            async move {
                if !witness.concerns(&request) {
                    return service.oneshot(request).await;
                }
                let _mine = turn.lock().await;
                let act = witness.script.lock().unwrap().acts.pop_front();
                if let Some(act) = act {
                    witness.act(act).await;
                }
                let request_line = format!("{} {}", request.method(), request.uri());
                let (before, autoscaler) = (witness.replicas().await, witness.autoscaler().await.is_some());
                let answer = service.oneshot(request).await;
                let after = witness.replicas().await;
                let mut script = witness.script.lock().unwrap();
                let enabled = script.enabled;
                script.writes.push(Write {
                    request: request_line,
                    enabled,
                    autoscaler,
                    before,
                    after,
                });
                answer
            }
        });
        Client::new(watched, NAMESPACE)
    }

    fn concerns(&self, request: &Request<Body>) -> bool {
        let path = request.uri().path();
        *request.method() != Method::GET
            && ["deployments", "horizontalpodautoscalers"]
                .iter()
                .any(|kind| path.ends_with(&format!("/{kind}/{}", self.name)))
    }

    /// A look begins: what the platform asks for, and who acts before each write of it.
    pub(crate) fn look_begins(&self, enabled: bool, acts: impl IntoIterator<Item = Act>) {
        let mut script = self.script.lock().unwrap();
        script.enabled = enabled;
        script.acts = acts.into_iter().collect();
    }

    /// What has been written since it was last asked.
    pub(crate) fn writes(&self) -> Vec<Write> {
        std::mem::take(&mut self.script.lock().unwrap().writes)
    }

    pub(crate) fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.others.clone(), NAMESPACE)
    }

    pub(crate) async fn autoscaler(&self) -> Option<HorizontalPodAutoscaler> {
        let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(self.others.clone(), NAMESPACE);
        autoscalers.get_opt(&self.name).await.unwrap()
    }

    pub(crate) async fn replicas(&self) -> Option<Replicas> {
        let deployment = self.deployments().get_opt(&self.name).await.unwrap()?;
        let owns = |fields: &serde_json::Value| fields.pointer("/f:spec/f:replicas").is_some();
        let entries = deployment.managed_fields().iter();
        let owners = entries
            .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| owns(&fields.0)))
            .filter_map(|entry| entry.manager.clone())
            .collect();
        Some(Replicas {
            number: deployment.spec?.replicas?,
            owners,
        })
    }

    /// Somebody acts, now.
    pub(crate) async fn act(&self, act: Act) {
        match act {
            Act::Person(number) => self.scale("kubectl", number).await,
            Act::Autoscaler(number) => {
                if let Some(autoscaler) = self.autoscaler().await {
                    let least = autoscaler.spec.min_replicas.unwrap_or(1);
                    self.scale(AUTOSCALER, number.clamp(least, autoscaler.spec.max_replicas))
                        .await;
                }
            }
        }
    }

    /// As `kubectl scale` and the autoscaler's controller do: through the scale subresource.
    async fn scale(&self, manager: &str, number: i32) {
        let deployments = self.deployments();
        let Ok(scale) = deployments.get_scale(&self.name).await else {
            return;
        };
        let wanted = Scale {
            metadata: ObjectMeta {
                resource_version: scale.resource_version(),
                name: Some(self.name.clone()),
                namespace: Some(NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(serde_json::from_value(json!({ "replicas": number })).unwrap()),
            ..Scale::default()
        };
        let params = PostParams {
            field_manager: Some(manager.to_owned()),
            ..PostParams::default()
        };
        deployments.replace_scale(&self.name, &params, &wanted).await.unwrap();
    }

    /// Applies to the Deployment as the operator does, but any body: what a worse operator would send.
    pub(crate) async fn apply(&self, client: &Client, body: &serde_json::Value) {
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
        let params = PatchParams::apply(WORKLOADS).force();
        deployments
            .patch(&self.name, &params, &Patch::Apply(body))
            .await
            .unwrap();
    }
}

/// What of a history must not be.
pub(crate) fn trespasses(writes: &[Write], most: i32) -> Vec<String> {
    let mut found = Vec::new();
    for write in writes {
        let (Some(before), Some(after)) = (&write.before, &write.after) else {
            continue;
        };
        let owns = |replicas: &Replicas| replicas.owners.iter().any(|owner| owner == WORKLOADS);
        let mut say = |what: &str| found.push(format!("{what}: {write:?}"));
        if (write.enabled || write.autoscaler) && before.number != after.number {
            say("the operator changed the autoscaler's number");
        }
        if write.autoscaler && owns(after) {
            say("the operator owns the autoscaler's field");
        }
        let left_by_autoscaler = before.owners.iter().all(|owner| owner == AUTOSCALER);
        if !write.autoscaler && left_by_autoscaler && owns(after) && after.number < before.number.min(most) {
            say("the operator did not take over what the autoscaler left");
        }
    }
    found
}
