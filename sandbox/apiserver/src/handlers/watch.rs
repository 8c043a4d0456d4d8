//! Watches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::list::Selector;
use super::{Call, answer};
use crate::body::ApiBody;
use crate::engine::Engine;
use crate::error::{ApiError, ApiResult};
use crate::registry::ResourceDef;
use crate::store::history::{Change, ChangeKind};
use crate::store::object::Stored;
use crate::table;

/// Starts a watch and answers with the stream of its events.
pub(crate) fn watch(call: &Call) -> ApiResult<Response<ApiBody>> {
    let selector = Selector::of(call)?;
    super::list::check_options(call)?;
    let requested = call.query.resource_version().map_err(ApiError::unmapped)?;
    let requested = requested.filter(|revision| *revision > 0);
    let initial = call.query.flag("sendInitialEvents");
    let from = if initial { None } else { requested };
    let timeout = call.query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0);
    let timeout = timeout.map_or(call.engine.config.watch_timeout, Duration::from_secs);
    let mut state = Watch {
        engine: call.engine.clone(),
        def: call.def.clone(),
        selector,
        table: table::wanted(call.headers(), call.query.get("includeObject")),
        ready: VecDeque::new(),
        queue: None,
        bookmarks: None,
        pending_bookmark: None,
        deadline: Instant::now() + timeout,
        delivered: 0,
        ended: false,
    };
    match call
        .engine
        .store
        .watch(&call.def.storage, call.path.namespace.as_deref(), from)
    {
        Ok(subscription) => state.start(subscription, call.query.flag("allowWatchBookmarks"), initial),
        Err(expired) => state.fail(&ApiError::expired(expired.to_string())),
    }
    let stream = futures::stream::unfold(state, |mut state| async move {
        let chunk = state.next().await?;
        Some((Ok(chunk), state))
    });
    let mut response = Response::new(ApiBody::Stream(stream.boxed()));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

struct Watch {
    engine: Arc<Engine>,
    def: Arc<ResourceDef>,
    selector: Selector,
    table: Option<table::Kind>,
    /// Rendered events to hand out.
    ready: VecDeque<Bytes>,
    queue: Option<mpsc::Receiver<Arc<Change>>>,
    bookmarks: Option<Interval>,
    pending_bookmark: Option<u64>,
    deadline: Instant,
    /// Revision up to which the client has seen everything.
    delivered: u64,
    ended: bool,
}

impl Watch {
    fn start(&mut self, subscription: crate::store::watch::Subscription, bookmarks: bool, initial: bool) {
        self.delivered = subscription.revision;
        self.queue = subscription.receiver;
        for object in &subscription.snapshot {
            if self.matches(object) {
                self.emit("ADDED", object);
            }
        }
        for change in &subscription.backlog {
            self.on_change(change);
        }
        if initial {
            self.bookmark(subscription.revision, true);
        }
        if bookmarks {
            let period = self.engine.config.bookmark_interval;
            let mut interval = tokio::time::interval_at(Instant::now() + period, period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            self.bookmarks = Some(interval);
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(first) = self.ready.pop_front() {
                return Some(first);
            }
            if self.ended {
                return None;
            }
            let Some(queue) = self.queue.as_mut() else {
                self.ended = true;
                continue;
            };
            if let Some(revision) = self.pending_bookmark {
                // Everything up to that revision was queued before it was read.
                match queue.try_recv() {
                    Ok(change) if change.revision <= revision => self.on_change(&change),
                    Ok(change) => {
                        self.pending_bookmark = None;
                        self.bookmark(revision, false);
                        self.on_change(&change);
                    }
                    Err(mpsc::error::TryRecvError::Empty) => {
                        self.pending_bookmark = None;
                        self.bookmark(revision, false);
                    }
                    Err(mpsc::error::TryRecvError::Disconnected) => self.cut(),
                }
                continue;
            }
            let tick = async {
                match self.bookmarks.as_mut() {
                    Some(interval) => drop(interval.tick().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                change = queue.recv() => match change {
                    Some(change) => self.on_change(&change),
                    None => self.cut(),
                },
                () = tick => self.pending_bookmark = Some(self.engine.store.revision()),
                () = tokio::time::sleep_until(self.deadline) => {
                    self.queue = None;
                    if self.bookmarks.is_some() {
                        self.bookmark(self.delivered, false);
                    }
                    self.ended = true;
                }
            }
        }
    }

    fn matches(&self, object: &Stored) -> bool {
        if self.selector.is_empty() {
            return true;
        }
        if self.def.converts() {
            self.selector.matches(&self.def.served(&object.value))
        } else {
            self.selector.matches(&object.value)
        }
    }

    /// An object that enters the selection is added, one that leaves it is deleted.
    fn on_change(&mut self, change: &Change) {
        self.delivered = self.delivered.max(change.revision);
        if self.selector.is_empty() {
            let kind = match change.kind {
                ChangeKind::Added => "ADDED",
                ChangeKind::Modified => "MODIFIED",
                ChangeKind::Deleted => "DELETED",
            };
            return self.emit(kind, &change.object);
        }
        let before = change.previous.as_deref().is_some_and(|object| self.matches(object));
        let now = change.kind != ChangeKind::Deleted && self.matches(&change.object);
        match (before, now) {
            (false, true) => self.emit("ADDED", &change.object),
            (true, true) => self.emit("MODIFIED", &change.object),
            (true, false) => {
                // What the client knew, at the revision it left.
                if let (Some(previous), ChangeKind::Modified) = (&change.previous, change.kind) {
                    self.emit("DELETED", &Stored::new(previous.value.clone(), change.revision));
                } else {
                    self.emit("DELETED", &change.object);
                }
            }
            (false, false) => {}
        }
    }

    fn emit(&mut self, kind: &str, object: &Stored) {
        let body = match &self.table {
            Some(table) => Bytes::from(table::render_one(&self.def, object, table).to_string()),
            None => answer::object_json(&self.def, object),
        };
        let mut line = Vec::with_capacity(body.len() + 40);
        line.extend_from_slice(b"{\"type\":\"");
        line.extend_from_slice(kind.as_bytes());
        line.extend_from_slice(b"\",\"object\":");
        line.extend_from_slice(&body);
        line.extend_from_slice(b"}\n");
        self.ready.push_back(Bytes::from(line));
    }

    fn event(&mut self, kind: &str, object: &Value) {
        self.ready
            .push_back(Bytes::from(format!("{}\n", json!({"type": kind, "object": object}))));
    }

    fn bookmark(&mut self, revision: u64, initial_end: bool) {
        self.delivered = self.delivered.max(revision);
        let mut object = json!({"kind": self.def.kind, "apiVersion": self.def.api_version(),
            "metadata": {"resourceVersion": revision.to_string()}});
        if initial_end {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        self.event("BOOKMARK", &object);
    }

    /// The watcher was too slow.
    fn cut(&mut self) {
        self.fail(&ApiError::expired("too old resource version: the watcher fell behind"));
    }

    fn fail(&mut self, error: &ApiError) {
        self.queue = None;
        self.ended = true;
        self.event("ERROR", &error.status());
    }
}
