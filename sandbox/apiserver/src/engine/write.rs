//! Creating and updating objects.

use std::sync::{Arc, PoisonError};

use serde_json::Value;

use super::{Engine, WriteOptions, decode, metadata, now};
use crate::apply::update::{Writer, note_update};
use crate::builtin::{defaults, strategy, validation};
use crate::clusterip::ClusterIps;
use crate::crd;
use crate::error::{ApiError, ApiResult, Cause};
use crate::registry::ResourceDef;
use crate::store::object::{Hidden, Stored};
use crate::store::{CommitError, Expect, ObjectKey};

/// How often a write that lost a race is tried again before the client hears of it.
const ATTEMPTS: usize = 8;

/// What a write did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) object: Arc<Stored>,
    pub(crate) created: bool,
    pub(crate) warnings: Vec<String>,
}

/// What an update makes of the current object.
pub(crate) struct Proposal {
    /// In the version of the request.
    pub(crate) object: Value,
    /// The object's `managedFields` stay as they are: server-side apply has worked them out, or nobody is to own what is
    /// written.
    pub(crate) managed: bool,
}

impl Engine {
    pub(crate) fn key(def: &ResourceDef, namespace: &str, name: &str) -> ObjectKey {
        ObjectKey {
            resource: def.storage.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn writer(def: &ResourceDef, options: &WriteOptions) -> Writer {
        Writer {
            manager: options.manager.clone(),
            api_version: def.api_version(),
            subresource: options.subresource.clone(),
            now: now(),
        }
    }

    /// Creates an object. `managed` where server-side apply has already worked out the managers.
    pub(crate) fn create(
        &self,
        def: &ResourceDef,
        namespace: &str,
        mut object: Value,
        options: &WriteOptions,
        managed: bool,
    ) -> ApiResult<Outcome> {
        decode::identify(def, &mut object, false)?;
        let (warnings, hidden) = decode::conform(def, &mut object, options, managed)?;
        if object["metadata"]["resourceVersion"]
            .as_str()
            .is_some_and(|v| !v.is_empty())
        {
            // Upstream's storage says so, where nothing maps it to a status.
            let message = "resourceVersion should not be set on objects to be created";
            return Err(ApiError::unmapped(message));
        }
        let generated = object["metadata"]["name"].as_str().is_none_or(str::is_empty);
        metadata::on_create(def, &mut object, namespace)?;
        self.check_namespace(def, namespace, &object)?;
        def.to_storage(&mut object);
        if let Some(fields) = object.as_object_mut().filter(|_| def.status) {
            fields.remove("status");
        }
        self.default_object(def, &mut object);
        if def.custom.is_none() {
            strategy::before_ownership(def, &mut object);
        }
        if !managed {
            let kind = def.ownership(&options.subresource);
            note_update(&kind, &Value::Null, &mut object, &Self::writer(def, options));
        }
        if def.custom.is_none() {
            strategy::on_create(def, &mut object, &self.config);
        }
        if def.custom.is_some() || strategy::generation_part(def).is_some() {
            object["metadata"]["generation"] = 1.into();
        }
        crd::register::on_write(self, def, &mut object, None)?;
        metadata::tidy(&mut object);
        self.validate(def, &object, None, options)?;
        hidden.put_back(&mut object["metadata"]);
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = Self::key(def, namespace, &name);
        if let Some(there) = self.store.get(&key.resource, &key.namespace, &key.name) {
            if there.deleting() {
                let error = ApiError::already_exists(&def.group, &def.plural, &name);
                let message = format!("object is being deleted: {}", error.message);
                return Err(ApiError { message, ..error });
            }
            if generated && !managed {
                let message = format!(
                    "{} \"{name}\" already exists, the server was not able to generate a unique name for the object",
                    def.plural
                );
                return Err(ApiError {
                    message,
                    ..ApiError::already_exists(&def.group, &def.plural, &name)
                });
            }
            return Err(ApiError::already_exists(&def.group, &def.plural, &name));
        }
        if options.dry_run {
            let object = Arc::new(Stored::unsaved(object));
            return Ok(Outcome {
                object,
                created: true,
                warnings,
            });
        }
        let service = def.is("", "Service");
        if service {
            let mut ips = self.ips.lock().unwrap_or_else(PoisonError::into_inner);
            ips.allocate(&mut object)
                .map_err(|cause| def.invalid(&name, &[cause]))?;
        }
        let copy = service.then(|| object.clone());
        match self.store.put(&key, Expect::Absent, object) {
            Ok(object) => {
                self.after_write(def);
                Ok(Outcome {
                    object,
                    created: true,
                    warnings,
                })
            }
            Err(CommitError::Exists | CommitError::Changed) => {
                if let Some(service) = copy {
                    self.ips
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .release(&service);
                }
                Err(ApiError::already_exists(&def.group, &def.plural, &name))
            }
        }
    }

    /// Updates an object: `propose` makes the new object from the current one, as often as it takes.
    pub(crate) fn update(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        options: &WriteOptions,
        mut propose: impl FnMut(&Value) -> ApiResult<Proposal>,
    ) -> ApiResult<Outcome> {
        let key = Self::key(def, namespace, name);
        for _ in 0..ATTEMPTS {
            let old = self
                .store
                .get(&key.resource, namespace, name)
                .ok_or_else(|| def.not_found(name))?;
            let Proposal { mut object, managed } = if def.converts() {
                propose(&def.served(&old.value))?
            } else {
                propose(&old.value)?
            };
            decode::identify(def, &mut object, options.patch.is_some())?;
            decode::must_not_be_another(&object, name)?;
            let sent = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            if !sent.is_empty() && sent != "0" && sent != old.revision.to_string() {
                return Err(ApiError::modified(&def.group, &def.plural, name));
            }
            let (warnings, mut hidden) = decode::conform(def, &mut object, options, managed)?;
            def.to_storage(&mut object);
            // What a Service is given is noted when it is written: not if it is refused or tried out, or loses a race.
            let service = def.is("", "Service") && options.subresource.is_empty();
            let held = service.then(|| self.ips.lock().unwrap_or_else(PoisonError::into_inner));
            let mut ips = held.as_deref().cloned();
            self.prepare_update(def, &old.value, &mut object, options, managed, ips.as_mut())?;
            if is_status_of_custom(def, &options.subresource) {
                // It keeps the metadata that is shown.
                hidden = Hidden::default();
            }
            let hollow = !hidden.is_empty();
            if hollow == old.hollow && unchanged(&old.value, &object) {
                return Ok(Outcome {
                    object: old,
                    created: false,
                    warnings,
                });
            }
            hidden.put_back(&mut object["metadata"]);
            if options.dry_run {
                let object = Arc::new(Stored::new(object, old.revision));
                return Ok(Outcome {
                    object,
                    created: false,
                    warnings,
                });
            }
            let done = object["metadata"]["deletionTimestamp"].is_string()
                && object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)
                && object["metadata"]["deletionGracePeriodSeconds"]
                    .as_i64()
                    .unwrap_or_default()
                    == 0
                && !def.is("", "Namespace");
            // The answer is the object as it was written last, which is no write: its watchers hear of another version.
            // They hear of it as it was before.
            let (answer, committed) = if done {
                let answer = Arc::new(Stored::told(object, old.revision));
                (Some(answer), self.store.remove(&key, old.revision, old.value.clone()))
            } else {
                (None, self.store.put(&key, Expect::Revision(old.revision), object))
            };
            // What is removed gives back what it held as it was before.
            if let Some(mut held) = held
                && let Some(ips) = ips
                && committed.is_ok()
                && !done
            {
                *held = ips;
            }
            // After a lost race, a client that named a version hears of the conflict in the next round.
            if let Ok(object) = committed {
                if done {
                    self.after_remove(def, &object.value);
                }
                self.after_write(def);
                return Ok(Outcome {
                    object: answer.unwrap_or(object),
                    created: false,
                    warnings,
                });
            }
        }
        Err(ApiError::modified(&def.group, &def.plural, name))
    }

    fn prepare_update(
        &self,
        def: &ResourceDef,
        old: &Value,
        new: &mut Value,
        options: &WriteOptions,
        managed: bool,
        ips: Option<&mut ClusterIps>,
    ) -> ApiResult<()> {
        metadata::on_update(def, old, new, managed || options.patch.is_some())?;
        confine(def, old, new, &options.subresource);
        self.default_object(def, new);
        if !managed {
            let kind = def.ownership(&options.subresource);
            note_update(&kind, old, new, &Self::writer(def, options));
        }
        if let Some(ips) = ips {
            let name = old["metadata"]["name"].as_str().unwrap_or_default();
            ips.update(old, new).map_err(|cause| def.invalid(name, &[cause]))?;
        }
        crd::register::on_write(self, def, new, Some(old))?;
        metadata::tidy(new);
        self.validate(def, new, Some(old), options)?;
        if generation_changes(def, old, new, &options.subresource) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
            new["metadata"]["generation"] = (generation + 1).into();
        }
        Ok(())
    }

    fn default_object(&self, def: &ResourceDef, object: &mut Value) {
        let _ = self;
        if def.custom.is_some() {
            crd::default::apply(&def.schema, object);
        } else {
            defaults::apply(def, object);
        }
    }

    fn validate(
        &self,
        def: &ResourceDef,
        object: &Value,
        old: Option<&Value>,
        options: &WriteOptions,
    ) -> ApiResult<()> {
        let _ = self;
        let mut causes = Vec::new();
        validation::metadata(def, object, &mut causes);
        if let Some(old) = old {
            metadata::late_finalizers(old, object, &mut causes);
        }
        if let Some(custom) = &def.custom {
            let fresh = |cause: &Cause| old.is_none_or(|old| !crd::ratchet::tolerated(&def.schema, old, object, cause));
            let mut own = Vec::new();
            if options.subresource == "status" {
                // Looked at by itself, so that texts leave out where it stands.
                if let Some(status) = object.get("status") {
                    crd::validate::validate(def.schema.field("status"), status, "", &mut own);
                }
                for cause in &mut own {
                    if cause.field == "<nil>" {
                        // It is the root, and yet has no name.
                        cause.message = cause.message.replacen("<nil> in body", " in body", 1);
                    }
                    let below = cause.field.trim_start_matches("<nil>");
                    let field = crd::prune::join("status", below);
                    field.trim_end_matches('.').clone_into(&mut cause.field);
                }
            } else {
                crd::validate::validate(&def.schema, object, "", &mut own);
            }
            own.retain(fresh);
            // As upstream: rules run on objects that have the right shape only; a duplicate, a number out of range, or what
            // was there before is no hindrance.
            if !causes.iter().chain(&own).any(Cause::spoils_rules)
                && let Some(rules) = &custom.cel
            {
                own.extend(rules.check(object, old).into_iter().filter(fresh));
            }
            causes.append(&mut own);
        } else if options.subresource.is_empty() || options.subresource == "scale" {
            validation::validate(def, object, old, &mut causes);
        } else if options.subresource == "status" {
            validation::status(def, object, &mut causes);
        }
        if causes.is_empty() {
            return Ok(());
        }
        Err(def.invalid(object["metadata"]["name"].as_str().unwrap_or_default(), &causes))
    }

    fn check_namespace(&self, def: &ResourceDef, namespace: &str, object: &Value) -> ApiResult<()> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if let Some(custom) = &def.custom
            && custom.terminating
        {
            return Err(ApiError::method_not_allowed());
        }
        if !def.namespaced {
            return Ok(());
        }
        match self.store.get("/namespaces", "", namespace) {
            None => Err(ApiError::not_found("", "namespaces", namespace)),
            // Events may still tell of the end.
            Some(found) if found.deleting() && def.kind != "Event" => Err(ApiError::namespace_terminating(
                &def.group,
                &def.plural,
                name,
                namespace,
            )),
            Some(_) => Ok(()),
        }
    }

    /// Follow-up of any write to a resource.
    pub(crate) fn after_write(&self, def: &ResourceDef) {
        if def.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            crd::register::sync(self);
        }
    }

    /// Follow-up of a removal.
    pub(crate) fn after_remove(&self, def: &ResourceDef, object: &Value) {
        if def.is("", "Service") {
            self.ips.lock().unwrap_or_else(PoisonError::into_inner).release(object);
        }
        self.after_write(def);
    }
}

/// By way of it, an object keeps the metadata that it has, whatever is sent.
fn is_status_of_custom(def: &ResourceDef, subresource: &str) -> bool {
    subresource == "status" && def.custom.is_some()
}

/// Confines an update to what its endpoint may change.
fn confine(def: &ResourceDef, old: &Value, new: &mut Value, subresource: &str) {
    if is_status_of_custom(def, subresource) {
        let sent = std::mem::replace(new, old.clone());
        restore(&sent, new, &["status"]);
        restore(&sent, new, &["metadata", "managedFields"]);
        return;
    }
    for path in def.ownership(subresource).reset {
        restore(old, new, path);
    }
    if def.is("", "Namespace") {
        restore(old, new, &["spec"]);
    }
}

/// Makes a field of `new` what it is in `old`: the same, or not there.
fn restore(old: &Value, new: &mut Value, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    match old.get(first) {
        Some(value) if rest.is_empty() => new[*first] = value.clone(),
        Some(value) => restore(value, &mut new[*first], rest),
        None => drop(new.as_object_mut().and_then(|fields| fields.remove(*first))),
    }
}

fn generation_changes(def: &ResourceDef, old: &Value, new: &Value, subresource: &str) -> bool {
    if subresource == "binding" {
        return false;
    }
    if def.custom.is_some() {
        return specified(def, old).ne(specified(def, new));
    }
    // The annotations of a Deployment are copied to its ReplicaSets, so they count, too; not so by way of its status.
    let annotated = def.is("apps", "Deployment")
        && subresource != "status"
        && old["metadata"]["annotations"] != new["metadata"]["annotations"];
    strategy::generation_part(def).is_some_and(|part| annotated || old[part] != new[part])
}

/// The fields of a custom object of which each change is another generation.
fn specified<'a>(def: &ResourceDef, object: &'a Value) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    let status = def.status;
    let fields = object.as_object().into_iter().flatten();
    fields.filter(move |(name, _)| match name.as_str() {
        "metadata" | "apiVersion" => false,
        "status" => !status,
        _ => true,
    })
}

/// Whether nothing but the managers' times differs. Neither has what is hidden.
fn unchanged(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return false;
    };
    let same = |(name, value): (&String, &Value)| name == "metadata" || new.get(name) == Some(value);
    if old.len() != new.len() || !old.iter().all(same) {
        return false;
    }
    let [old, new] = [old, new].map(|object| {
        let mut metadata = object.get("metadata").cloned().unwrap_or_default();
        if let Some(fields) = metadata.as_object_mut() {
            fields.remove("resourceVersion");
        }
        for entry in metadata["managedFields"].as_array_mut().into_iter().flatten() {
            if let Some(fields) = entry.as_object_mut() {
                fields.remove("time");
            }
        }
        metadata
    });
    old == new
}
