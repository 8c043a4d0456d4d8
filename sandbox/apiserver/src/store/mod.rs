//! Objects, revisions, history and watchers, under one lock. Everything here is synchronous: a write takes a revision,
//! enters the history and reaches every watcher's queue before the lock is released, so all watchers see one order.

pub(crate) mod history;
pub(crate) mod object;
mod page;
pub(crate) mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;
use tokio::sync::Notify;

use history::{Change, ChangeKind, Expired, History};
use object::Stored;
pub(crate) use page::Page;
use page::page;
use watch::{Subscriber, Subscription};

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Absent,
    Revision(u64),
}

/// Why a write did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommitError {
    /// There is an object of that name.
    #[error("the object exists")]
    Exists,
    /// The object changed or went away since it was read.
    #[error("the object changed")]
    Changed,
}

/// Full name of an object: storage key of its resource, namespace (empty for cluster-scoped ones), name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectKey {
    pub(crate) resource: Arc<str>,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

type Namespaced = BTreeMap<String, BTreeMap<String, Arc<Stored>>>;

#[derive(Debug)]
struct Table {
    objects: Namespaced,
    history: History,
    subscribers: Vec<Subscriber>,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    tables: HashMap<Arc<str>, Table>,
    uids: HashMap<String, ObjectKey>,
    dependents: HashMap<String, BTreeSet<ObjectKey>>,
    /// Objects whose deletion or ownership the garbage collector has yet to look at.
    pending: BTreeSet<ObjectKey>,
}

/// The object store.
#[derive(Debug)]
pub(crate) struct Store {
    state: RwLock<State>,
    history: usize,
    queue: usize,
    /// Rung when `pending` gains work.
    pub(crate) work: Notify,
}

impl Store {
    /// An empty store that keeps `history` events per resource and queues `queue` events per watcher.
    pub(crate) fn new(history: usize, queue: usize) -> Self {
        Self {
            state: RwLock::default(),
            history,
            queue,
            work: Notify::new(),
        }
    }

    /// A store of its own with everything that is in this one, except who watches.
    pub(crate) fn fork(&self) -> Self {
        let state = self.read();
        let table = |(resource, table): (&Arc<str>, &Table)| {
            let table = Table {
                objects: table.objects.clone(),
                history: table.history.clone(),
                subscribers: Vec::new(),
            };
            (resource.clone(), table)
        };
        Self {
            state: RwLock::new(State {
                revision: state.revision,
                tables: state.tables.iter().map(table).collect(),
                uids: state.uids.clone(),
                dependents: state.dependents.clone(),
                pending: state.pending.clone(),
            }),
            history: self.history,
            queue: self.queue,
            work: Notify::new(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // A panic while the lock is held leaves no half-made write: every mutation below completes or does not start.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current revision.
    pub(crate) fn revision(&self) -> u64 {
        self.read().revision
    }

    /// One object.
    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        self.read()
            .tables
            .get(resource)?
            .objects
            .get(namespace)?
            .get(name)
            .cloned()
    }

    /// The object with a uid.
    pub(crate) fn key_of_uid(&self, uid: &str) -> Option<ObjectKey> {
        self.read().uids.get(uid).cloned()
    }

    /// Objects that name `uid` as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<ObjectKey> {
        self.read().dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Objects of a resource, in order of namespace and name, from `start` on, until `limit` of them match.
    pub(crate) fn list(
        &self,
        resource: &str,
        namespace: Option<&str>,
        start: Option<(&str, &str)>,
        limit: Option<usize>,
        matches: impl Fn(&Stored) -> bool,
    ) -> Page {
        let state = self.read();
        let objects = state.tables.get(resource).map(|table| &table.objects);
        page(state.revision, objects, namespace, start, limit, matches)
    }

    /// The same as the objects were at a revision; an error where the history does not reach back to it.
    pub(crate) fn list_at(
        &self,
        resource: &str,
        namespace: Option<&str>,
        start: Option<(&str, &str)>,
        limit: Option<usize>,
        moment: u64,
        matches: impl Fn(&Stored) -> bool,
    ) -> Result<Page, Expired> {
        let state = self.read();
        let Some(table) = state.tables.get(resource) else {
            return Ok(page(moment, None, namespace, start, limit, matches));
        };
        let past = table.at(moment, namespace)?;
        let objects = past.as_ref().unwrap_or(&table.objects);
        Ok(page(moment, Some(objects), namespace, start, limit, matches))
    }

    /// Every object in a namespace, whatever its resource.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<ObjectKey> {
        let state = self.read();
        let mut keys = Vec::new();
        for (resource, table) in &state.tables {
            for name in table.objects.get(namespace).into_iter().flat_map(BTreeMap::keys) {
                keys.push(ObjectKey {
                    resource: resource.clone(),
                    namespace: namespace.to_owned(),
                    name: name.clone(),
                });
            }
        }
        keys
    }

    /// Creates or replaces an object.
    pub(crate) fn put(&self, key: &ObjectKey, expect: Expect, value: Value) -> Result<Arc<Stored>, CommitError> {
        let mut state = self.write();
        let old = state.current(key);
        check(old.as_deref(), expect)?;
        state.revision += 1;
        let stored = Arc::new(Stored::new(value, state.revision));
        state.index(key, old.as_deref(), Some(&stored));
        let table = state.table(&key.resource, self.history);
        table
            .objects
            .entry(key.namespace.clone())
            .or_default()
            .insert(key.name.clone(), stored.clone());
        let kind = if old.is_some() {
            ChangeKind::Modified
        } else {
            ChangeKind::Added
        };
        table.publish(Change {
            revision: stored.revision,
            kind,
            object: stored.clone(),
            previous: old,
        });
        if stored.needs_collector() {
            state.pending.insert(key.clone());
            self.work.notify_one();
        }
        Ok(stored)
    }

    /// Removes an object; `last` is the state watchers see in the DELETED event.
    pub(crate) fn remove(&self, key: &ObjectKey, expect: u64, last: Value) -> Result<Arc<Stored>, CommitError> {
        let mut state = self.write();
        let old = state.current(key);
        check(old.as_deref(), Expect::Revision(expect))?;
        state.revision += 1;
        let stored = Arc::new(Stored::new(last, state.revision));
        state.index(key, old.as_deref(), None);
        let table = state.table(&key.resource, self.history);
        if let Some(objects) = table.objects.get_mut(&key.namespace) {
            objects.remove(&key.name);
            if objects.is_empty() {
                table.objects.remove(&key.namespace);
            }
        }
        table.publish(Change {
            revision: stored.revision,
            kind: ChangeKind::Deleted,
            object: stored.clone(),
            previous: old,
        });
        // Its dependents, its owners and its namespace may be waiting for this.
        let mut pending: Vec<ObjectKey> = stored
            .uid()
            .and_then(|uid| state.dependents.get(uid))
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        pending.extend(stored.owner_uids().filter_map(|uid| state.uids.get(uid).cloned()));
        if !key.namespace.is_empty() {
            pending.push(ObjectKey {
                resource: "/namespaces".into(),
                namespace: String::new(),
                name: key.namespace.clone(),
            });
        }
        state.pending.extend(pending);
        self.work.notify_one();
        Ok(stored)
    }

    /// Takes what the garbage collector has to look at.
    pub(crate) fn take_pending(&self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.write().pending)
    }

    /// Starts a watch. With `from` absent, the snapshot holds the current objects; else the events after that revision.
    /// `Err` where the history no longer reaches back to `from`.
    pub(crate) fn watch(
        &self,
        resource: &Arc<str>,
        namespace: Option<&str>,
        from: Option<u64>,
    ) -> Result<Subscription, history::Expired> {
        let mut state = self.write();
        let revision = state.revision;
        let table = state.table(resource, self.history);
        let mut subscription = Subscription::new(revision);
        if let Some(from) = from {
            subscription.backlog = table.history.after(from, namespace)?;
        } else {
            let all = table.objects.iter();
            let concerned = all.filter(|(ns, _)| namespace.is_none_or(|wanted| wanted == ns.as_str()));
            subscription.snapshot = concerned.flat_map(|(_, objects)| objects.values().cloned()).collect();
        }
        let (subscriber, receiver) = Subscriber::new(namespace.map(str::to_owned), self.queue);
        subscription.receiver = Some(receiver);
        table.subscribers.push(subscriber);
        Ok(subscription)
    }

    /// Forgets all history: watches can only resume from the present.
    pub(crate) fn compact(&self) {
        let mut state = self.write();
        let revision = state.revision;
        state
            .tables
            .values_mut()
            .for_each(|table| table.history.forget(revision));
    }
}

fn check(old: Option<&Stored>, expect: Expect) -> Result<(), CommitError> {
    match (old, expect) {
        (None, Expect::Absent) => Ok(()),
        (Some(_), Expect::Absent) => Err(CommitError::Exists),
        (Some(old), Expect::Revision(revision)) if old.revision == revision => Ok(()),
        _ => Err(CommitError::Changed),
    }
}

impl State {
    fn table(&mut self, resource: &Arc<str>, history: usize) -> &mut Table {
        self.tables.entry(resource.clone()).or_insert_with(|| Table {
            objects: BTreeMap::new(),
            history: History::new(history),
            subscribers: Vec::new(),
        })
    }

    fn current(&self, key: &ObjectKey) -> Option<Arc<Stored>> {
        self.tables
            .get(&key.resource)?
            .objects
            .get(&key.namespace)?
            .get(&key.name)
            .cloned()
    }

    fn index(&mut self, key: &ObjectKey, old: Option<&Stored>, new: Option<&Stored>) {
        for uid in old.into_iter().flat_map(Stored::owner_uids) {
            if let Some(keys) = self.dependents.get_mut(uid) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(uid);
                }
            }
        }
        for uid in new.into_iter().flat_map(Stored::owner_uids) {
            self.dependents.entry(uid.to_owned()).or_default().insert(key.clone());
        }
        match (old.and_then(Stored::uid), new.and_then(Stored::uid)) {
            (None, Some(uid)) => drop(self.uids.insert(uid.to_owned(), key.clone())),
            (Some(uid), None) => drop(self.uids.remove(uid)),
            _ => {}
        }
    }
}

impl Table {
    /// The objects as they were at a revision: what came after is taken back, the latest change first. None where nothing has
    /// changed since.
    fn at(&self, revision: u64, namespace: Option<&str>) -> Result<Option<Namespaced>, Expired> {
        let later = self.history.after(revision, namespace)?;
        if later.is_empty() {
            return Ok(None);
        }
        let here = |(ns, _): &(&String, _)| namespace.is_none_or(|wanted| wanted == ns.as_str());
        let objects = self.objects.iter().filter(here);
        let mut objects: Namespaced = objects.map(|(ns, named)| (ns.clone(), named.clone())).collect();
        for change in later.iter().rev() {
            let name = change.object.value["metadata"]["name"].as_str().unwrap_or_default();
            let namespace = objects.entry(change.object.namespace().to_owned()).or_default();
            match &change.previous {
                Some(previous) => drop(namespace.insert(name.to_owned(), previous.clone())),
                None => drop(namespace.remove(name)),
            }
        }
        Ok(Some(objects))
    }

    fn publish(&mut self, change: Change) {
        let change = Arc::new(change);
        self.history.push(change.clone());
        self.subscribers.retain(|subscriber| subscriber.offer(&change));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn key(name: &str) -> ObjectKey {
        ObjectKey {
            resource: "/configmaps".into(),
            namespace: "default".into(),
            name: name.into(),
        }
    }

    fn object(name: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "default", "uid": name}})
    }

    #[test]
    fn a_write_that_expects_another_revision_changes_nothing() {
        let store = Store::new(8, 8);
        let first = store.put(&key("a"), Expect::Absent, object("a")).unwrap();
        assert_eq!(
            store.put(&key("a"), Expect::Absent, object("a")).unwrap_err(),
            CommitError::Exists
        );
        let second = store
            .put(&key("a"), Expect::Revision(first.revision), object("a"))
            .unwrap();
        assert_eq!(
            store
                .put(&key("a"), Expect::Revision(first.revision), object("a"))
                .unwrap_err(),
            CommitError::Changed
        );
        assert_eq!(store.revision(), second.revision);
    }

    #[test]
    fn the_history_is_bounded_and_says_when_it_is_too_short() {
        let store = Store::new(2, 8);
        let first = store.put(&key("a"), Expect::Absent, object("a")).unwrap();
        for name in ["b", "c", "d"] {
            store.put(&key(name), Expect::Absent, object(name)).unwrap();
        }
        let resource: Arc<str> = "/configmaps".into();
        assert!(store.watch(&resource, None, Some(first.revision)).is_err());
        let resumed = store.watch(&resource, None, Some(first.revision + 1)).unwrap();
        assert_eq!(resumed.backlog.len(), 2);
    }

    #[test]
    fn a_watcher_that_does_not_read_is_cut_not_buffered() {
        let store = Store::new(64, 2);
        let resource: Arc<str> = "/configmaps".into();
        let mut watch = store.watch(&resource, None, None).unwrap();
        for name in ["a", "b", "c", "d"] {
            store.put(&key(name), Expect::Absent, object(name)).unwrap();
        }
        let mut receiver = watch.receiver.take().unwrap();
        let mut seen = 0;
        while receiver.try_recv().is_ok() {
            seen += 1;
        }
        assert_eq!(seen, 2);
        assert!(receiver.is_closed());
    }
}
