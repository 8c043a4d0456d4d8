//! Deleting objects: grace, finalizers, propagation.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Engine, now};
use crate::error::{ApiError, ApiResult, Cause};
use crate::registry::ResourceDef;
use crate::store::Expect;
use crate::store::object::Stored;

/// How often a delete that lost a race is tried again.
const ATTEMPTS: usize = 8;

/// Namespaces that no cluster is without.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// `metav1.DeleteOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    /// Both ways to say what becomes of dependents were used.
    pub(crate) ambiguous: bool,
    pub(crate) dry_run: bool,
    pub(crate) grace_seconds: Option<i64>,
    pub(crate) propagation: Option<String>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads the body; query parameters are added by the caller.
    pub(crate) fn from_body(body: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let orphan = body["orphanDependents"]
            .as_bool()
            .map(|orphan| if orphan { "Orphan" } else { "Background" });
        Self {
            ambiguous: orphan.is_some() && body["propagationPolicy"].is_string(),
            dry_run: body["dryRun"]
                .as_array()
                .is_some_and(|list| list.iter().any(|v| v == "All")),
            grace_seconds: body["gracePeriodSeconds"].as_i64(),
            propagation: text(&body["propagationPolicy"]).or_else(|| orphan.map(str::to_owned)),
            uid: text(&body["preconditions"]["uid"]),
            resource_version: text(&body["preconditions"]["resourceVersion"]),
        }
    }

    /// Refuses options that make no sense.
    pub(crate) fn check(&self) -> ApiResult<()> {
        let mut causes = Vec::new();
        if self.ambiguous {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            causes.push(Cause::invalid("propagationPolicy", &json!(self.propagation), detail));
        } else if let Some(policy) = self.propagation.as_deref()
            && !matches!(policy, "Background" | "Foreground" | "Orphan")
        {
            let supported = ["Foreground", "Background", "Orphan", "nil"].map(Value::from);
            causes.push(Cause::not_supported("propagationPolicy", &policy.into(), &supported));
        }
        if causes.is_empty() {
            Ok(())
        } else {
            Err(ApiError::invalid_options("DeleteOptions", &causes))
        }
    }
}

/// What a delete left behind.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Arc<Stored>),
    /// The object is on its way out.
    Pending(Arc<Stored>),
}

impl Engine {
    /// Deletes an object, or starts to.
    pub(crate) fn delete(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> ApiResult<Deleted> {
        let key = Self::key(def, namespace, name);
        if def.is("", "Namespace") && IMMORTAL.contains(&name) {
            let why = "this namespace may not be deleted";
            return Err(ApiError::forbidden(&def.group, &def.plural, name, why));
        }
        for _ in 0..ATTEMPTS {
            let old = self
                .store
                .get(&key.resource, namespace, name)
                .ok_or_else(|| def.not_found(name))?;
            check_preconditions(def, name, &old, options)?;
            let grace = grace_of(def, &old.value, options);
            let mut object = old.value.clone();
            add_policy_finalizer(&mut object, options.propagation.as_deref());
            if def.is("", "Namespace") {
                object["status"]["phase"] = "Terminating".into();
            }
            let definition = def.is("apiextensions.k8s.io", "CustomResourceDefinition");
            if definition && !old.deleting() {
                crate::crd::register::on_delete(&mut object);
            }
            let held = def.is("", "Namespace")
                || object["metadata"]["finalizers"]
                    .as_array()
                    .is_some_and(|list| !list.is_empty());
            if grace == 0 && !held {
                if options.dry_run {
                    return Ok(Deleted::Gone(old));
                }
                if let Ok(gone) = self.store.remove(&key, old.revision, old.value.clone()) {
                    self.after_remove(def, &gone.value);
                    if def.is("", "Pod") {
                        // Pods end: even one that is gone at once is shown with the end that it came to.
                        mark(def, &mut object, grace);
                        return Ok(Deleted::Gone(Arc::new(Stored::new(object, gone.revision))));
                    }
                    return Ok(Deleted::Gone(gone));
                }
                continue;
            }
            if !definition {
                mark(def, &mut object, grace);
            }
            if object == old.value || options.dry_run {
                return Ok(Deleted::Pending(Arc::new(Stored::new(object, old.revision))));
            }
            if let Ok(pending) = self.store.put(&key, Expect::Revision(old.revision), object) {
                self.after_write(def);
                return Ok(Deleted::Pending(pending));
            }
        }
        Err(ApiError::modified(&def.group, &def.plural, name))
    }
}

fn check_preconditions(def: &ResourceDef, name: &str, old: &Stored, options: &DeleteOptions) -> ApiResult<()> {
    let failed = |what: &str, wanted: &str, found: &str, perhaps: &str| {
        let why = format!(
            "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have \
             been {perhaps}"
        );
        Err(ApiError::conflict(&def.group, &def.kind, name, &why))
    };
    let uid = old.uid().unwrap_or_default();
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        return failed("UID", wanted, uid, "deleted and then recreated");
    }
    let revision = old.revision.to_string();
    match options.resource_version.as_deref() {
        Some(wanted) if wanted != revision => failed("ResourceVersion", wanted, &revision, "modified"),
        _ => Ok(()),
    }
}

/// Only pods die slowly: scheduled, living ones get their grace period.
fn grace_of(def: &ResourceDef, object: &Value, options: &DeleteOptions) -> i64 {
    if !def.is("", "Pod") {
        return 0;
    }
    let scheduled = object["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let finished = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !scheduled || finished {
        return 0;
    }
    let default = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let asked = options.grace_seconds.unwrap_or(default).max(0);
    // A second delete can shorten the period, not prolong it.
    object["metadata"]["deletionGracePeriodSeconds"]
        .as_i64()
        .map_or(asked, |before| asked.min(before))
}

fn add_policy_finalizer(object: &mut Value, policy: Option<&str>) {
    let finalizer = match policy {
        Some("Foreground") => "foregroundDeletion",
        Some("Orphan") => "orphan",
        _ => return,
    };
    add_finalizer(object, finalizer);
}

/// Adds a finalizer to an object that has it not.
pub(crate) fn add_finalizer(object: &mut Value, finalizer: &str) {
    let list = &mut object["metadata"]["finalizers"];
    if !list.is_array() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|f| f == finalizer)
    {
        list.push(finalizer.into());
    }
}

fn mark(def: &ResourceDef, object: &mut Value, grace: i64) {
    let metadata = &mut object["metadata"];
    let before = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or_default();
    if metadata["deletionTimestamp"].is_string() && before <= grace {
        return;
    }
    let end = jiff::Timestamp::now().as_second() + grace;
    let end = jiff::Timestamp::from_second(end).map_or_else(|_| now(), |end| end.to_string());
    if !metadata["deletionTimestamp"].is_string()
        && let Some(generation) = metadata["generation"].as_i64()
    {
        metadata["generation"] = (generation + 1).into();
    }
    metadata["deletionTimestamp"] = end.into();
    // The end of a namespace takes what it takes.
    if !def.is("", "Namespace") {
        metadata["deletionGracePeriodSeconds"] = grace.into();
    }
}
