//! ConfigMaps, and the hash that rolls pods when one changes.

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{meta::About, object};
use crate::{hex::hex, kind::Kind, resources::Object};

/// Annotation of a pod template: pods roll when the configuration they read only at start changes.
pub(super) const CONFIG_HASH: &str = "showrunner.dev/config-hash";

/// Directory that a workload's configuration is mounted at.
pub(super) const DIRECTORY: &str = "/etc/showrunner";

/// A file of configuration.
#[derive(Clone, Debug)]
pub(super) struct ConfigFile {
    pub file: &'static str,
    pub content: String,
}

impl ConfigFile {
    /// A JSON file, indented for those who look at it with kubectl.
    pub(super) fn json(file: &'static str, content: &impl Serialize) -> Self {
        // Configuration types are plain data: serialising them cannot fail.
        Self {
            file,
            content: serde_json::to_string_pretty(content).unwrap_or_default() + "\n",
        }
    }

    /// Where the workload finds it.
    pub(super) fn path(&self) -> String {
        format!("{DIRECTORY}/{}", self.file)
    }

    /// Short hash of the content.
    pub(super) fn hash(&self) -> String {
        hex(&Sha256::digest(self.content.as_bytes())[..8])
    }

    /// The ConfigMap that holds it.
    pub(super) fn config_map(&self, about: About<'_>, name: String) -> Object {
        let map = ConfigMap {
            metadata: about.meta(name),
            data: Some([(self.file.to_owned(), self.content.clone())].into()),
            ..ConfigMap::default()
        };
        object(Kind::ConfigMap, about.region, about.role, &map)
    }
}
