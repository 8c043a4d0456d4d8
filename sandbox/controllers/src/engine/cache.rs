//! A cache of one kind of object that reads its own writes.
//!
//! A controller that creates a pod and then looks into a cache fed only by a watch may not find it, and create it
//! again. Upstream counts "expectations" to guard against that. Here the answer of every write goes into the cache at
//! once, so there is no window at all. Resource versions order writes and watch events: they are comparable within a
//! kind (Kubernetes guarantees it since 1.35, and every server did so before).

use futures::{StreamExt, pin_mut};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// What no watch event has confirmed by now is asked for again: it may have been deleted unseen, where a re-list hid that.
const UNCONFIRMED: Duration = Duration::from_secs(30);
/// How long a list may take before it is given up for a new one. A slow API server is not asked more often for it.
const LIST: Duration = Duration::from_mins(5);

/// Namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    pub(crate) fn of<K: ResourceExt>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Called with the object before and after a change; never with two `None`s.
type Handler<K> = Box<dyn Fn(Option<&K>, Option<&K>) + Send + Sync>;
type Changes<K> = Vec<(Option<Arc<K>>, Option<Arc<K>>)>;

struct Inner<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// The newest version the watch has delivered.
    watched: u64,
    /// Our writes that the watch has not delivered yet.
    unconfirmed: HashMap<Key, (u64, Instant)>,
    /// Uids we know to be gone although late watch events may still mention them.
    gone: HashMap<String, Instant>,
    /// When the last list was asked for.
    asked: Option<Instant>,
    /// The objects of a list in progress.
    incoming: Option<BTreeMap<Key, Arc<K>>>,
}

/// See the module documentation.
pub(crate) struct Cache<K> {
    inner: RwLock<Inner<K>>,
    handlers: Mutex<Arc<Vec<Handler<K>>>>,
    synced: tokio::sync::watch::Sender<bool>,
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        let inner = Inner {
            objects: BTreeMap::new(),
            watched: 0,
            unconfirmed: HashMap::new(),
            gone: HashMap::new(),
            asked: None,
            incoming: None,
        };
        let (synced, _) = tokio::sync::watch::channel(false);
        Self {
            inner: RwLock::new(inner),
            handlers: Mutex::default(),
            synced,
        }
    }

    /// Registers a handler; it sees every later change, and everything present at the first list.
    pub(crate) fn on_change(&self, handler: impl Fn(Option<&K>, Option<&K>) + Send + Sync + 'static) {
        let mut handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = Arc::get_mut(&mut handlers) {
            list.push(Box::new(handler));
        } else {
            // Handlers are registered before the watch starts, when nothing else holds the list.
            tracing::error!(kind = %K::kind(&()), "handler registered while events are being delivered");
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read().objects.get(key).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.read().objects.values().cloned().collect()
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let from = Key::new(namespace, "");
        let inner = self.read();
        let range = inner
            .objects
            .range(from..)
            .take_while(|(key, _)| key.namespace == namespace);
        range.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// Waits for the first complete list.
    pub(crate) async fn synced(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Takes in the server's answer to a create, update or graceful delete.
    pub(crate) fn wrote(&self, object: &K) {
        let Some(version) = version_of(object) else { return };
        let mut object = object.clone();
        object.meta_mut().managed_fields = None;
        let key = Key::of(&object);
        let change = {
            let mut inner = self.write();
            // Once the watch has passed this version it has already told us what became of the object.
            if version <= inner.watched || inner.is_gone(&object) {
                return;
            }
            let old = inner.objects.get(&key).cloned();
            if old
                .as_deref()
                .and_then(version_of)
                .is_some_and(|known| known >= version)
            {
                return;
            }
            let new = Arc::new(object);
            inner.objects.insert(key.clone(), Arc::clone(&new));
            inner.unconfirmed.insert(key, (version, Instant::now()));
            (old, Some(new))
        };
        self.notify(vec![change]);
    }

    /// Takes in that the server has removed the object for good.
    pub(crate) fn removed(&self, object: &K) {
        let key = Key::of(object);
        let change = {
            let mut inner = self.write();
            if let Some(uid) = object.uid() {
                inner.gone.insert(uid, Instant::now());
            }
            match inner.objects.get(&key) {
                Some(current) if current.uid() == object.uid() => inner.objects.remove(&key),
                _ => None,
            }
        };
        if change.is_some() {
            self.notify(vec![(change, None)]);
        }
    }

    /// Follows the API server until the task is dropped. The watch library reconnects with backoff and jitter.
    pub(crate) async fn follow(&self, api: Api<K>, config: watcher::Config) {
        let mut sweep = tokio::time::interval(UNCONFIRMED / 3);
        loop {
            let events = watcher(api.clone(), config.clone()).default_backoff();
            pin_mut!(events);
            loop {
                tokio::select! {
                    event = events.next() => match event {
                        Some(Ok(event)) => self.event(event),
                        Some(Err(error)) => tracing::warn!(kind = %K::kind(&()), %error, "watch interrupted"),
                        None => return,
                    },
                    now = sweep.tick() => {
                        if self.sweep(now) {
                            break;
                        }
                    }
                }
            }
        }
    }

    fn event(&self, event: watcher::Event<K>) {
        match event.modify(|object| object.meta_mut().managed_fields = None) {
            watcher::Event::Init => {
                let mut inner = self.write();
                inner.asked = Some(Instant::now());
                inner.incoming = Some(BTreeMap::new());
            }
            watcher::Event::InitApply(object) => {
                if let Some(incoming) = self.write().incoming.as_mut() {
                    incoming.insert(Key::of(&object), Arc::new(object));
                }
            }
            watcher::Event::InitDone => self.listed(),
            watcher::Event::Apply(object) => {
                let mut inner = self.write();
                if inner.is_gone(&object) {
                    return;
                }
                let key = Key::of(&object);
                let version = version_of(&object);
                if inner
                    .unconfirmed
                    .get(&key)
                    .is_some_and(|(written, _)| Some(*written) <= version)
                {
                    inner.unconfirmed.remove(&key);
                }
                let mut changes = inner.reached(version);
                // Our own later write stays: the watch will reach it.
                if !inner.unconfirmed.contains_key(&key) {
                    let new = Arc::new(object);
                    let old = inner.objects.insert(key, Arc::clone(&new));
                    if old.as_deref().and_then(version_of) != version {
                        changes.push((old, Some(new)));
                    }
                }
                drop(inner);
                self.notify(changes);
            }
            watcher::Event::Delete(object) => {
                let mut inner = self.write();
                let key = Key::of(&object);
                let mut changes: Changes<K> = Vec::new();
                // A namesake with another uid, written by us since, is another object.
                if inner
                    .objects
                    .get(&key)
                    .is_some_and(|current| current.uid() == object.uid())
                {
                    inner.unconfirmed.remove(&key);
                    changes.push((inner.objects.remove(&key), None));
                }
                changes.extend(inner.reached(version_of(&object)));
                drop(inner);
                self.notify(changes);
            }
        }
    }

    /// A complete list has arrived: replaces the contents, but keeps what we wrote while it was under way. What was written
    /// before is in it, or gone: a list without a resource version is of no earlier time than its request.
    fn listed(&self) {
        let changes = {
            let mut inner = self.write();
            let (Some(asked), Some(mut incoming)) = (inner.asked, inner.incoming.take()) else {
                return;
            };
            let newest = incoming.values().filter_map(|object| version_of(&**object)).max();
            inner.passed(newest);
            inner.unconfirmed.retain(|_, (_, at)| *at >= asked);
            let kept: Vec<Key> = inner.unconfirmed.keys().cloned().collect();
            for key in kept {
                if let Some(object) = inner.objects.get(&key) {
                    incoming.insert(key, Arc::clone(object));
                }
            }
            incoming.retain(|_, object| !inner.is_gone(&**object));
            let mut old = std::mem::replace(&mut inner.objects, incoming);
            let mut changes: Changes<K> = Vec::new();
            for (key, new) in &inner.objects {
                let before = old.remove(key);
                if before.as_deref().and_then(version_of) != version_of(&**new) {
                    changes.push((before, Some(Arc::clone(new))));
                }
            }
            changes.extend(old.into_values().map(|object| (Some(object), None)));
            changes
        };
        self.notify(changes);
        self.synced.send_replace(true);
    }

    /// Forgets what has long been gone. Tells whether something is held on our own word for too long, and the last list has had
    /// its time: a new one will tell.
    fn sweep(&self, now: Instant) -> bool {
        let mut inner = self.write();
        inner
            .gone
            .retain(|_, at| now.saturating_duration_since(*at) < UNCONFIRMED * 2);
        let since = |at: Instant| now.saturating_duration_since(at);
        let patience = if inner.incoming.is_some() { LIST } else { UNCONFIRMED };
        inner.unconfirmed.values().any(|(_, at)| since(*at) >= UNCONFIRMED)
            && inner.asked.is_none_or(|asked| since(asked) >= patience)
    }

    fn notify(&self, changes: Changes<K>) {
        let handlers = Arc::clone(&self.handlers.lock().unwrap_or_else(PoisonError::into_inner));
        for (old, new) in changes {
            for handler in handlers.iter() {
                handler(old.as_deref(), new.as_deref());
            }
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner<K>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner<K>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Resource> Inner<K> {
    /// An event of `version` has come: what we wrote before and no event has told of will not be told of any more. A re-list
    /// had been before it, in which the object was gone already.
    fn reached(&mut self, version: Option<u64>) -> Changes<K> {
        let overtaken = self.passed(version);
        let gone = overtaken.iter().filter_map(|key| self.objects.remove(key));
        gone.map(|object| (Some(object), None)).collect()
    }

    /// The watch has passed `version`. Gives what we wrote up to there and had not been confirmed.
    fn passed(&mut self, version: Option<u64>) -> Vec<Key> {
        self.watched = self.watched.max(version.unwrap_or(0));
        let watched = self.watched;
        let overtaken = self.unconfirmed.extract_if(|_, (written, _)| *written <= watched);
        overtaken.map(|(key, _)| key).collect()
    }

    fn is_gone(&self, object: &K) -> bool {
        object
            .meta()
            .uid
            .as_ref()
            .is_some_and(|uid| self.gone.contains_key(uid))
    }
}

fn version_of<K: Resource>(object: &K) -> Option<u64> {
    object
        .meta()
        .resource_version
        .as_ref()
        .and_then(|version| version.parse().ok())
}

#[cfg(test)]
mod tests;
