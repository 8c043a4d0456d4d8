//! ConfigMaps and Secrets, wherever they come from.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Gives ConfigMaps and Secrets by name.
pub(super) trait Sources {
    /// A ConfigMap, if it exists.
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>>;
    /// A Secret, if it exists.
    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>>;
}

/// All entries of a ConfigMap as bytes.
pub(super) fn config_map_data(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map
        .binary_data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.0.clone()));
    text.chain(binary).collect()
}

/// All entries of a Secret as bytes.
pub(super) fn secret_data(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    let encoded = secret
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.0.clone()));
    // `stringData` is write-only on a real API server, which merges it; a bare store may still hold it.
    let plain = secret
        .string_data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    encoded.chain(plain).collect()
}

#[cfg(test)]
pub(crate) mod fake {
    use super::{Arc, BTreeMap, ConfigMap, Secret, Sources};
    use k8s_openapi::ByteString;

    /// Sources for tests: `name → key → value`, the same in every namespace.
    #[derive(Default)]
    pub(crate) struct Fake {
        pub(crate) maps: BTreeMap<String, BTreeMap<String, String>>,
        pub(crate) secrets: BTreeMap<String, BTreeMap<String, String>>,
    }

    impl Fake {
        pub(crate) fn new(maps: &[(&str, &[(&str, &str)])], secrets: &[(&str, &[(&str, &str)])]) -> Self {
            let table = |entries: &[(&str, &[(&str, &str)])]| {
                entries
                    .iter()
                    .map(|(name, data)| {
                        (
                            (*name).to_owned(),
                            data.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
                        )
                    })
                    .collect()
            };
            Self {
                maps: table(maps),
                secrets: table(secrets),
            }
        }
    }

    impl Sources for Fake {
        fn config_map(&self, _: &str, name: &str) -> Option<Arc<ConfigMap>> {
            let data = self.maps.get(name)?.clone();
            Some(Arc::new(ConfigMap {
                data: Some(data),
                ..ConfigMap::default()
            }))
        }

        fn secret(&self, _: &str, name: &str) -> Option<Arc<Secret>> {
            let data = self
                .secrets
                .get(name)?
                .iter()
                .map(|(k, v)| (k.clone(), ByteString(v.clone().into_bytes())));
            Some(Arc::new(Secret {
                data: Some(data.collect()),
                ..Secret::default()
            }))
        }
    }
}
