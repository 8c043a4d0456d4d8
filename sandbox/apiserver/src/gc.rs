//! The collector: ownership, propagation policies, namespaces and definitions on their way out, old events.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::crd::register::{CLEANUP, DEFINITIONS};
use crate::engine::Engine;
use crate::engine::WriteOptions;
use crate::engine::delete::DeleteOptions;
use crate::engine::write::Proposal;
use crate::error::{ApiError, ApiResult};
use crate::registry::ResourceDef;
use crate::store::ObjectKey;
use crate::store::object::Stored;

/// How often everything pending is looked at again even if nothing changed.
const RESYNC: Duration = Duration::from_secs(5);

/// How often old events are looked for.
const SWEEP: Duration = Duration::from_mins(1);

/// Runs until the engine is dropped.
pub(crate) async fn run(engine: Weak<Engine>) {
    let mut deferred: BTreeSet<ObjectKey> = BTreeSet::new();
    let mut swept = Instant::now();
    loop {
        let Some(strong) = engine.upgrade() else { return };
        let mut pending = strong.store.take_pending();
        pending.append(&mut deferred);
        for key in pending {
            if let Err(error) = collect(&strong, &key)
                && error.code != 404
            {
                tracing::debug!(?key, %error, "to be collected again");
                deferred.insert(key);
            }
        }
        if swept.elapsed() >= SWEEP {
            swept = Instant::now();
            expire_events(&strong);
        }
        let waiting = async {
            let notified = strong.store.work.notified();
            let pause = if deferred.is_empty() {
                RESYNC
            } else {
                Duration::from_millis(20)
            };
            let _ = tokio::time::timeout(pause, notified).await;
        };
        waiting.await;
    }
}

fn definition(engine: &Engine, key: &ObjectKey) -> Option<Arc<ResourceDef>> {
    engine.registry.snapshot().of_storage(&key.resource).cloned()
}

/// Looks at one object.
fn collect(engine: &Engine, key: &ObjectKey) -> ApiResult<()> {
    let Some(object) = engine.store.get(&key.resource, &key.namespace, &key.name) else {
        return Ok(());
    };
    let Some(def) = definition(engine, key) else {
        return Ok(());
    };
    if object.deleting() {
        if def.is("", "Namespace") {
            return end_namespace(engine, key, &object);
        }
        if &*key.resource == DEFINITIONS && has_finalizer(&object, CLEANUP) {
            return end_definition(engine, &def, key, &object);
        }
        if has_finalizer(&object, "orphan") {
            return orphan_dependents(engine, &def, key, &object);
        }
        if has_finalizer(&object, "foregroundDeletion") {
            return delete_dependents_first(engine, &def, key, &object);
        }
    }
    check_owners(engine, &def, key, &object)
}

fn has_finalizer(object: &Stored, finalizer: &str) -> bool {
    object.value["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|list| list.iter().any(|f| f == finalizer))
}

fn write_options() -> WriteOptions {
    WriteOptions {
        manager: "kube-controller-manager".to_owned(),
        ..WriteOptions::default()
    }
}

fn edit(engine: &Engine, def: &ResourceDef, key: &ObjectKey, change: impl Fn(&mut Value)) -> ApiResult<()> {
    let done = engine.update(def, &key.namespace, &key.name, &write_options(), |current| {
        let mut object = current.clone();
        change(&mut object);
        Ok(Proposal { object, managed: false })
    });
    done.map(drop)
}

fn remove_finalizer(engine: &Engine, def: &ResourceDef, key: &ObjectKey, finalizer: &str) -> ApiResult<()> {
    edit(engine, def, key, |object| {
        if let Some(list) = object["metadata"]["finalizers"].as_array_mut() {
            list.retain(|f| f != finalizer);
        }
    })
}

fn delete(engine: &Engine, key: &ObjectKey, propagation: &str, uid: Option<&str>) -> ApiResult<()> {
    let Some(def) = definition(engine, key) else {
        return Ok(());
    };
    let options = DeleteOptions {
        propagation: Some(propagation.to_owned()),
        uid: uid.map(str::to_owned),
        ..DeleteOptions::default()
    };
    match engine.delete(&def, &key.namespace, &key.name, &options) {
        Err(error) if error.code != 404 => Err(error),
        _ => Ok(()),
    }
}

/// An object whose owners are all gone goes too; references to owners that are gone are dropped.
fn check_owners(engine: &Engine, def: &ResourceDef, key: &ObjectKey, object: &Stored) -> ApiResult<()> {
    let owners: Vec<&Value> = object.value["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    if owners.is_empty() || object.deleting() {
        return Ok(());
    }
    let alive = |owner: &&Value| {
        owner["uid"].as_str().is_some_and(|uid| {
            engine
                .store
                .key_of_uid(uid)
                .is_some_and(|owner| owner.namespace.is_empty() || owner.namespace == key.namespace)
        })
    };
    let living: Vec<&Value> = owners.iter().copied().filter(|owner| alive(owner)).collect();
    if living.is_empty() {
        return delete(engine, key, "Background", object.uid());
    }
    if living.len() < owners.len() {
        let living: Vec<Value> = living.into_iter().cloned().collect();
        return edit(engine, def, key, |object| {
            if let Some(list) = object["metadata"]["ownerReferences"].as_array_mut() {
                list.retain(|owner| living.contains(owner));
            }
        });
    }
    Ok(())
}

fn orphan_dependents(engine: &Engine, def: &ResourceDef, key: &ObjectKey, owner: &Stored) -> ApiResult<()> {
    let uid = owner.uid().unwrap_or_default();
    for dependent in engine.store.dependents(uid) {
        let Some(def) = definition(engine, &dependent) else {
            continue;
        };
        match edit(engine, &def, &dependent, |object| {
            if let Some(list) = object["metadata"]["ownerReferences"].as_array_mut() {
                list.retain(|owner| owner["uid"] != uid);
            }
        }) {
            Err(error) if error.code != 404 => return Err(error),
            _ => {}
        }
    }
    remove_finalizer(engine, def, key, "orphan")
}

/// Foreground deletion: dependents that block go first.
fn delete_dependents_first(engine: &Engine, def: &ResourceDef, key: &ObjectKey, owner: &Stored) -> ApiResult<()> {
    let uid = owner.uid().unwrap_or_default();
    let mut blocked = false;
    for dependent in engine.store.dependents(uid) {
        let Some(object) = engine
            .store
            .get(&dependent.resource, &dependent.namespace, &dependent.name)
        else {
            continue;
        };
        let references = object.value["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten();
        blocked |= references
            .into_iter()
            .any(|r| r["uid"] == uid && r["blockOwnerDeletion"] == true);
        if !object.deleting() {
            delete(engine, &dependent, "Foreground", object.uid())?;
        }
    }
    // The removal of each dependent brings the owner back here.
    if blocked && !engine.store.dependents(uid).is_empty() {
        return Ok(());
    }
    remove_finalizer(engine, def, key, "foregroundDeletion")
}

fn end_namespace(engine: &Engine, key: &ObjectKey, namespace: &Stored) -> ApiResult<()> {
    let contents = engine.store.in_namespace(&key.name);
    for object in &contents {
        let deleting = engine
            .store
            .get(&object.resource, &object.namespace, &object.name)
            .is_some_and(|o| o.deleting());
        if !deleting {
            delete(engine, object, "Background", None)?;
        }
    }
    if !engine.store.in_namespace(&key.name).is_empty() {
        return Ok(());
    }
    if namespace.value["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|list| !list.is_empty())
    {
        return Ok(());
    }
    match engine.store.remove(key, namespace.revision, namespace.value.clone()) {
        Ok(_) => Ok(()),
        Err(_) => Err(ApiError::modified("", "namespaces", &key.name)),
    }
}

fn end_definition(engine: &Engine, def: &ResourceDef, key: &ObjectKey, crd: &Stored) -> ApiResult<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let storage = format!(
        "{}/{}",
        text(&crd.value["spec"]["group"]),
        text(&crd.value["spec"]["names"]["plural"])
    );
    let objects = engine.store.list(&storage, None, None, None, |_| true).items;
    for object in &objects {
        let key = ObjectKey {
            resource: storage.as_str().into(),
            namespace: object.namespace().to_owned(),
            name: text(&object.value["metadata"]["name"]),
        };
        if !object.deleting() {
            delete(engine, &key, "Background", object.uid())?;
        }
    }
    if engine.store.list(&storage, None, None, None, |_| true).items.is_empty() {
        return remove_finalizer(engine, def, key, CLEANUP);
    }
    // Nothing links an instance to its definition, so look again soon.
    Err(ApiError::modified(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        &key.name,
    ))
}

fn expire_events(engine: &Engine) {
    let ttl = i64::try_from(engine.config.event_ttl.as_secs()).unwrap_or(i64::MAX);
    let horizon = jiff::Timestamp::now().as_second().saturating_sub(ttl);
    let old = engine.store.list("/events", None, None, None, |event| {
        let time = event.value["metadata"]["creationTimestamp"].as_str();
        time.and_then(|time| time.parse::<jiff::Timestamp>().ok())
            .is_some_and(|time| time.as_second() < horizon)
    });
    for event in old.items {
        let key = ObjectKey {
            resource: "/events".into(),
            namespace: event.namespace().to_owned(),
            name: event.value["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        };
        if let Err(error) = delete(engine, &key, "Background", event.uid()) {
            tracing::debug!(?key, %error, "an old event stays for now");
        }
    }
}
