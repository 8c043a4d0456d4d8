//! One sequence on one server.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::step::{Resource, Sequence, Step, Version};
use crate::backend::Backend;
use crate::context::{APPLY_PATCH, Ask, Context, DEADLINE, MERGE_PATCH};
use crate::suites::watch::Watch;
use crate::trace::{Exchange, Trace, normal};

/// A server, and a namespace on it.
#[derive(Clone)]
pub(crate) struct Player {
    context: Context,
    /// How many sequences have been played here: each has names of its own.
    played: Arc<AtomicU64>,
}

impl Player {
    pub(crate) async fn new(backend: &Backend) -> Self {
        let context = Context {
            client: backend.client.clone(),
            ns: "default".to_owned(),
            id: "fuzz".to_owned(),
            trace: Arc::default(),
            expire: backend.expire.clone(),
            patience: DEADLINE,
        };
        context
            .define_with("Gadget", super::bodies::schema(), |definition| {
                definition["spec"]["versions"][0]["subresources"] = json!({"status": {}});
            })
            .await;
        Self {
            context,
            played: Arc::default(),
        }
    }

    pub(crate) async fn in_namespace(&self, worker: usize) -> Self {
        let mut player = self.clone();
        player.context.ns = format!("fuzz-{worker}");
        let body = json!({"metadata": {"name": player.context.ns}});
        player.context.post("/api/v1/namespaces", &body).await.code(201);
        player.played = Arc::default();
        player
    }

    /// Plays a sequence, and gives the requests with their answers and the events that followed, masked.
    pub(crate) async fn play(&self, sequence: &Sequence) -> Vec<Exchange> {
        let mut c = self.context.clone();
        c.trace = Arc::new(Mutex::new(Trace::default()));
        let number = self.played.fetch_add(1, Ordering::Relaxed);
        let name = format!("x{number}");
        c.trace.lock().unwrap().mask(&name, "<name>");
        let list = match sequence.resource {
            Resource::ConfigMap => c.maps(),
            Resource::Deployment => c.path("apps/v1", "deployments"),
            Resource::Service => c.path("v1", "services"),
            Resource::Gadget => c.path(&format!("{}/v1", c.group()), "gadgets"),
        };
        let from = tick(&c, sequence.resource, &list, number, "begin").await;
        let query = format!("watch=true&resourceVersion={from}&timeoutSeconds=120");
        let mut watch = Watch::open(&c, format!("{list}?{query}")).await;
        let mut last = Value::Null;
        for step in &sequence.steps {
            self.step(&c, sequence.resource, &list, &name, step, &mut last).await;
        }
        let until = tick(&c, sequence.resource, &list, number, "end").await;
        loop {
            let event = watch.read().await.expect("the watch ends after its last event");
            if event["object"]["metadata"]["name"] == MARK {
                if event["object"]["metadata"]["resourceVersion"] == until.as_str() {
                    break;
                }
                continue;
            }
            c.trace.lock().unwrap().push(Exchange {
                method: "EVENT".to_owned(),
                path: list.clone(),
                content_type: None,
                sent: None,
                code: 200,
                warnings: Vec::new(),
                body: event,
            });
        }
        let path = format!("{list}/{name}");
        c.quiet(Ask::json("DELETE", &path, None)).await;
        let free = json!({"metadata": {"finalizers": null}});
        c.quiet(merge(&path, &free)).await;
        let exchanges = c.trace.lock().unwrap().masked();
        exchanges.into_iter().map(normal).collect()
    }

    async fn step(&self, c: &Context, resource: Resource, list: &str, name: &str, step: &Step, last: &mut Value) {
        let path = format!("{list}/{name}");
        let named = |body: &Value| {
            let mut body = body.clone();
            body["metadata"]["name"] = name.into();
            resource.identify(c, &mut body);
            body
        };
        let answer = match step {
            Step::Create { manager, body } => c.post(format!("{list}?fieldManager={manager}"), &named(body)).await,
            Step::Apply {
                manager,
                force,
                status,
                body,
            } => {
                let part = if *status { "/status" } else { "" };
                let path = format!("{path}{part}?fieldManager={manager}&force={force}");
                c.patch(path, APPLY_PATCH, &named(body)).await
            }
            Step::Update { manager, version, body } => {
                let mut body = match version {
                    Version::Edited => edited(last, body),
                    _ => named(body),
                };
                if *version == Version::Current {
                    body["metadata"]["resourceVersion"] = last["metadata"]["resourceVersion"].clone();
                }
                if *version == Version::Stale {
                    body["metadata"]["resourceVersion"] = json!("1");
                }
                c.put(format!("{path}?fieldManager={manager}"), &body).await
            }
            Step::Patch {
                manager,
                kind,
                status,
                body,
            } => {
                let part = if *status { "/status" } else { "" };
                c.patch(format!("{path}{part}?fieldManager={manager}"), kind, body)
                    .await
            }
            Step::Delete => c.delete(&path).await,
            Step::Get => c.get(&path).await,
        };
        if (200..300).contains(&answer.code) && answer.body["metadata"]["name"] == name {
            *last = answer.body;
        }
    }
}

/// An object that is in each namespace: its versions mark where a sequence begins and ends.
const MARK: &str = "mark";

/// Changes that object, and gives its version.
async fn tick(c: &Context, resource: Resource, list: &str, number: u64, when: &str) -> String {
    let mut mark = resource.whole(MARK);
    resource.identify(c, &mut mark);
    mark["metadata"]["annotations"] = json!({"tick": format!("{number} {when}")});
    let change = json!({"metadata": {"annotations": mark["metadata"]["annotations"]}});
    let path = format!("{list}/{MARK}");
    let mut answer = c.quiet(merge(&path, &change)).await;
    if answer.code == 404 {
        answer = c.quiet(Ask::json("POST", list, Some(&mark))).await;
    }
    let version = answer.ok()["metadata"]["resourceVersion"].clone();
    version.as_str().unwrap_or_default().to_owned()
}

/// The object as it was last seen, with some fields changed: what most clients write.
fn edited(last: &Value, body: &Value) -> Value {
    fn overlay(target: &mut Value, change: &Value) {
        match (target, change) {
            (Value::Object(target), Value::Object(change)) => {
                for (name, value) in change {
                    overlay(target.entry(name).or_insert(Value::Null), value);
                }
            }
            (target, change) => target.clone_from(change),
        }
    }
    let mut object = if last.is_null() { json!({}) } else { last.clone() };
    overlay(&mut object, body);
    object
}

fn merge<'a>(path: &str, change: &'a Value) -> Ask<'a> {
    Ask {
        content_type: MERGE_PATCH,
        ..Ask::json("PATCH", path, Some(change))
    }
}
