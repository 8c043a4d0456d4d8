//! A container's environment, as its spec declares it.

use super::expand::expand;
use super::fields::{FieldError, NodeFacts, field, resource};
use super::sources::{Sources, config_map_data, secret_data};
use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod};
use std::collections::BTreeMap;

/// Why a container's environment cannot be made yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EnvError {
    /// A ConfigMap that does not exist.
    #[error("configmap \"{0}\" not found")]
    NoConfigMap(String),
    /// A Secret that does not exist.
    #[error("secret \"{0}\" not found")]
    NoSecret(String),
    /// An object that lacks a key.
    #[error("couldn't find key {key} in {object}")]
    NoKey {
        /// The key.
        key: String,
        /// The ConfigMap or Secret.
        object: String,
    },
    /// A source that this agent does not know.
    #[error("the source of environment variable {0} is not supported")]
    Unsupported(String),
    /// A downward API reference that does not resolve.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// The variables of `container`, in no particular order; later declarations win.
pub(super) fn environment(
    container: &Container,
    pod: &Pod,
    facts: &NodeFacts,
    sources: &dyn Sources,
) -> Result<BTreeMap<String, String>, EnvError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut env = BTreeMap::from([("HOSTNAME".to_owned(), hostname(pod))]);
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let mut add = |data: BTreeMap<String, Vec<u8>>| {
            for (key, value) in data {
                env.insert(format!("{prefix}{key}"), String::from_utf8_lossy(&value).into_owned());
            }
        };
        if let Some(reference) = &from.config_map_ref {
            match sources.config_map(namespace, &reference.name) {
                Some(map) => add(config_map_data(&map)),
                None if reference.optional == Some(true) => {}
                None => return Err(EnvError::NoConfigMap(reference.name.clone())),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match sources.secret(namespace, &reference.name) {
                Some(secret) => add(secret_data(&secret)),
                None if reference.optional == Some(true) => {}
                None => return Err(EnvError::NoSecret(reference.name.clone())),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            Some(source) => from_source(source, &variable.name, container, pod, facts, sources)?,
            None => Some(expand(variable.value.as_deref().unwrap_or_default(), |name| {
                env.get(name).cloned()
            })),
        };
        if let Some(value) = value {
            env.insert(variable.name.clone(), value);
        }
    }
    Ok(env)
}

/// The host name of a pod: `spec.hostname`, or its name.
fn hostname(pod: &Pod) -> String {
    let given = pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
    given.or_else(|| pod.metadata.name.clone()).unwrap_or_default()
}

fn from_source(
    source: &EnvVarSource,
    variable: &str,
    container: &Container,
    pod: &Pod,
    facts: &NodeFacts,
    sources: &dyn Sources,
) -> Result<Option<String>, EnvError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(selector) = &source.field_ref {
        return Ok(Some(field(selector, pod, facts)?));
    }
    if let Some(selector) = &source.resource_field_ref {
        return Ok(Some(resource(selector, pod, Some(container), facts)?));
    }
    let (data, key, optional, missing, object) = if let Some(selector) = &source.config_map_key_ref {
        let found = sources
            .config_map(namespace, &selector.name)
            .map(|map| config_map_data(&map));
        let missing = EnvError::NoConfigMap(selector.name.clone());
        (
            found,
            &selector.key,
            selector.optional,
            missing,
            format!("ConfigMap {namespace}/{}", selector.name),
        )
    } else if let Some(selector) = &source.secret_key_ref {
        let found = sources
            .secret(namespace, &selector.name)
            .map(|secret| secret_data(&secret));
        let missing = EnvError::NoSecret(selector.name.clone());
        (
            found,
            &selector.key,
            selector.optional,
            missing,
            format!("Secret {namespace}/{}", selector.name),
        )
    } else {
        return Err(EnvError::Unsupported(variable.to_owned()));
    };
    let optional = optional == Some(true);
    let Some(data) = data else {
        return if optional { Ok(None) } else { Err(missing) };
    };
    match data.get(key) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if optional => Ok(None),
        None => Err(EnvError::NoKey {
            key: key.clone(),
            object,
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::fields::tests::facts;
    use super::super::sources::fake::Fake;
    use super::*;
    use serde_json::{Value, json};

    fn env(container: Value) -> Result<BTreeMap<String, String>, EnvError> {
        let container: Container = serde_json::from_value(container).unwrap();
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}})).unwrap();
        let sources = Fake::new(&[("cm", &[("A", "from-cm"), ("B", "b")])], &[("s", &[("TOKEN", "t")])]);
        environment(&container, &pod, &facts(), &sources)
    }

    #[test]
    fn everything_a_variable_can_come_from() {
        let vars = env(json!({"name": "c",
        "envFrom": [{"prefix": "X_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "s"}},
            {"configMapRef": {"name": "absent", "optional": true}}],
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "LISTEN", "value": "$(POD_IP):8080 $(X_A) $(LATER) $$(POD_IP)"},
            {"name": "LATER", "value": "z"},
            {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "B"}}},
            {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "none", "optional": true}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}
        ]}))
        .unwrap();
        assert_eq!(vars["LISTEN"], "127.10.0.9:8080 from-cm $(LATER) $(POD_IP)");
        assert_eq!(
            (vars["KEY"].as_str(), vars["TOKEN"].as_str(), vars["CPU"].as_str()),
            ("b", "t", "2")
        );
        assert_eq!(vars["HOSTNAME"], "p");
        assert!(!vars.contains_key("GONE"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let key = |source: Value| env(json!({"name": "c", "env": [{"name": "V", "valueFrom": source}]})).unwrap_err();
        assert_eq!(
            key(json!({"configMapKeyRef": {"name": "no", "key": "k"}})),
            EnvError::NoConfigMap("no".into())
        );
        let no_key = key(json!({"secretKeyRef": {"name": "s", "key": "k"}}));
        assert_eq!(no_key.to_string(), "couldn't find key k in Secret ns/s");
        let from = env(json!({"name": "c", "envFrom": [{"secretRef": {"name": "no"}}]})).unwrap_err();
        assert_eq!(from, EnvError::NoSecret("no".into()));
    }
}
