//! Kubernetes Events, as `kubectl describe` shows them: one object per (subject, reason, message), counted when repeated.
//!
//! Publishing never blocks a reconciliation: events go through a bounded channel to one writer, and are dropped with
//! a log line when it cannot keep up, for events are best effort by definition.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use std::collections::HashMap;
use tokio::sync::mpsc;

const QUEUE: usize = 1024;
/// How many distinct events are remembered for counting.
const REMEMBERED: usize = 4096;

/// `Normal` or `Warning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Level {
    Normal,
    Warning,
}

/// One thing worth telling about an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Note {
    pub(crate) level: Level,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Note {
    pub(crate) fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            level: Level::Normal,
            reason,
            message: message.into(),
        }
    }

    pub(crate) fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            reason,
            message: message.into(),
        }
    }
}

struct Message {
    component: &'static str,
    subject: ObjectReference,
    note: Note,
    at: Timestamp,
}

/// Hands events to the writer; clones share it.
#[derive(Clone)]
pub(crate) struct Recorder(mpsc::Sender<Message>);

impl Recorder {
    /// A recorder, and the future that writes what is recorded; it ends when all recorders are dropped.
    pub(crate) fn new(client: Client) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), write(client, receiver))
    }

    /// Records `note` about `subject`, in the name of `component`.
    pub(crate) fn publish<K: Resource<DynamicType = ()>>(&self, component: &'static str, subject: &K, note: Note) {
        let message = Message {
            component,
            subject: subject.object_ref(&()),
            note,
            at: Timestamp::now(),
        };
        if self.0.try_send(message).is_err() {
            tracing::debug!(component, "event dropped");
        }
    }
}

type Identity = (Option<String>, &'static str, String);

async fn write(client: Client, mut receiver: mpsc::Receiver<Message>) {
    let mut written: HashMap<Identity, (String, i32)> = HashMap::new();
    while let Some(Message {
        component,
        subject,
        note,
        at,
    }) = receiver.recv().await
    {
        let namespace = subject.namespace.clone().unwrap_or_else(|| "default".into());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let identity = (subject.uid.clone(), note.reason, note.message.clone());
        if let Some((name, count)) = written.get_mut(&identity) {
            *count += 1;
            let patch = serde_json::json!({ "count": count, "lastTimestamp": Time(at) });
            if api
                .patch(name, &PatchParams::default(), &Patch::Merge(patch))
                .await
                .is_ok()
            {
                continue;
            }
            // Expired or deleted meanwhile: begin again.
        }
        let event = event(&namespace, component, subject, note, at);
        match api.create(&PostParams::default(), &event).await {
            Ok(created) => {
                if written.len() >= REMEMBERED {
                    written.clear();
                }
                written.insert(identity, (created.metadata.name.unwrap_or_default(), 1));
            }
            Err(error) => tracing::debug!(component, %error, "event not written"),
        }
    }
}

fn event(namespace: &str, component: &str, subject: ObjectReference, note: Note, at: Timestamp) -> Event {
    let mut event = Event {
        involved_object: subject,
        reason: Some(note.reason.into()),
        message: Some(note.message),
        type_: Some(format!("{:?}", note.level)),
        source: Some(EventSource {
            component: Some(component.into()),
            host: None,
        }),
        reporting_component: Some(component.into()),
        reporting_instance: Some(component.into()),
        first_timestamp: Some(Time(at)),
        last_timestamp: Some(Time(at)),
        count: Some(1),
        ..Event::default()
    };
    event.metadata.namespace = Some(namespace.into());
    let name = event.involved_object.name.as_deref().unwrap_or(component);
    event.metadata.name = Some(format!("{name}.{:x}", at.as_nanosecond()));
    event
}
