//! Events: what the agent tells people. A repeated event raises a count instead of making another object.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use std::collections::HashMap;
use tokio::sync::mpsc;

/// Events that may wait for the API server; more are dropped, and the log says so.
const QUEUE: usize = 1024;
/// Events remembered for counting.
const REMEMBERED: usize = 2048;

/// Whether something went as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// As it should.
    Normal,
    /// Not as it should.
    Warning,
}

struct Record {
    object: ObjectReference,
    component: &'static str,
    host: String,
    kind: EventKind,
    reason: String,
    message: String,
}

/// Sends events in the background.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Record>,
}

impl Recorder {
    /// Starts the sender; it ends with the last clone.
    pub fn start(client: Client) -> Self {
        let (queue, records) = mpsc::channel(QUEUE);
        tokio::spawn(send(client, records));
        Self { queue }
    }

    /// Records an event about an object.
    pub fn record(
        &self,
        component: &'static str,
        host: &str,
        object: ObjectReference,
        kind: EventKind,
        reason: &str,
        message: impl Into<String>,
    ) {
        let message = message.into();
        tracing::debug!(object = object.name.as_deref(), reason, message, "event");
        let record = Record {
            object,
            component,
            host: host.to_owned(),
            kind,
            reason: reason.to_owned(),
            message,
        };
        if self.queue.try_send(record).is_err() {
            tracing::warn!(reason, "too many events are waiting; one is dropped");
        }
    }
}

async fn send(client: Client, mut records: mpsc::Receiver<Record>) {
    let mut seen: HashMap<(Option<String>, String, String), (String, i32)> = HashMap::new();
    let mut ordinal = 0u64;
    while let Some(record) = records.recv().await {
        let namespace = record.object.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let key = (record.object.uid.clone(), record.reason.clone(), record.message.clone());
        if let Some((name, count)) = seen.get_mut(&key) {
            *count += 1;
            let again = json!({"count": count, "lastTimestamp": Time(Timestamp::now())});
            match api.patch(name, &PatchParams::default(), &Patch::Merge(again)).await {
                Ok(_) => continue,
                // Events expire; then it is a new one.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    tracing::debug!(%error, reason = record.reason, "event not counted");
                    continue;
                }
            }
        }
        ordinal += 1;
        let event = build(&record, &namespace, ordinal);
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                if seen.len() >= REMEMBERED {
                    seen.clear();
                }
                seen.insert(key, (event.metadata.name.unwrap_or_default(), 1));
            }
            // The namespace may be going away; an event is not worth more than a note.
            Err(error) => tracing::debug!(%error, reason = record.reason, "event not recorded"),
        }
    }
}

fn build(record: &Record, namespace: &str, ordinal: u64) -> Event {
    let now = Timestamp::now();
    let subject = record.object.name.as_deref().unwrap_or("unknown");
    let kind = match record.kind {
        EventKind::Normal => "Normal",
        EventKind::Warning => "Warning",
    };
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{subject}.{:x}{ordinal:04x}", now.as_microsecond())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: record.object.clone(),
        type_: Some(kind.to_owned()),
        reason: Some(record.reason.clone()),
        message: Some(record.message.clone()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        source: Some(EventSource {
            component: Some(record.component.to_owned()),
            host: Some(record.host.clone()),
        }),
        reporting_component: Some(record.component.to_owned()),
        reporting_instance: Some(record.host.clone()),
        ..Event::default()
    }
}
