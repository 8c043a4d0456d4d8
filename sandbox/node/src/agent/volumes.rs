//! What a volume holds, as pure data.

use super::fields::{FieldError, NodeFacts, field, resource};
use super::sources::{Sources, config_map_data, secret_data};
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume, VolumeProjection};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

const DEFAULT_MODE: i32 = 0o644;

/// One file of a projected volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VolumeFile {
    /// Its content, before translation.
    pub data: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

/// What a volume is on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VolumeContent {
    /// An empty directory that lives as long as the pod.
    Empty,
    /// Files from the API, kept up to date.
    Files(BTreeMap<String, VolumeFile>),
    /// A directory of the host.
    Host(PathBuf),
    /// A claim: a directory that outlives the pod.
    Claim(String),
}

/// Why a volume cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum VolumeError {
    /// A ConfigMap that does not exist.
    #[error("MountVolume.SetUp failed for volume \"{0}\" : configmap \"{1}\" not found")]
    NoConfigMap(String, String),
    /// A Secret that does not exist.
    #[error("MountVolume.SetUp failed for volume \"{0}\" : secret \"{1}\" not found")]
    NoSecret(String, String),
    /// An item whose key is not there.
    #[error("MountVolume.SetUp failed for volume \"{0}\" : references non-existent key: {1}")]
    NoKey(String, String),
    /// An item that would lie outside the volume.
    #[error("volume \"{0}\": path `{1}` is not a relative path within the volume")]
    BadPath(String, String),
    /// A kind of volume that this agent does not know.
    #[error(
        "volume \"{0}\" is of a kind this node does not support (configMap, secret, projected, downwardAPI, emptyDir, hostPath and persistentVolumeClaim are)"
    )]
    Unsupported(String),
    /// A downward API reference that does not resolve.
    #[error("volume \"{0}\": {1}")]
    Field(String, FieldError),
}

/// Collects the files of one volume.
struct Files<'a> {
    volume: &'a str,
    pod: &'a Pod,
    facts: &'a NodeFacts,
    sources: &'a dyn Sources,
    found: BTreeMap<String, VolumeFile>,
}

/// What `volume` holds.
pub(super) fn content(
    volume: &Volume,
    pod: &Pod,
    facts: &NodeFacts,
    sources: &dyn Sources,
) -> Result<VolumeContent, VolumeError> {
    let mut files = Files {
        volume: &volume.name,
        pod,
        facts,
        sources,
        found: BTreeMap::new(),
    };
    if let Some(map) = &volume.config_map {
        files.config_map(&map.name, map.items.as_deref(), map.optional, map.default_mode)?;
    } else if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        files.secret(name, secret.items.as_deref(), secret.optional, secret.default_mode)?;
    } else if let Some(downward) = &volume.downward_api {
        files.downward(downward.items.as_deref().unwrap_or_default(), downward.default_mode)?;
    } else if let Some(projected) = &volume.projected {
        for source in projected.sources.iter().flatten() {
            files.projection(source, projected.default_mode)?;
        }
    } else if volume.empty_dir.is_some() {
        return Ok(VolumeContent::Empty);
    } else if let Some(host) = &volume.host_path {
        return Ok(VolumeContent::Host(PathBuf::from(&host.path)));
    } else if let Some(claim) = &volume.persistent_volume_claim {
        return Ok(VolumeContent::Claim(claim.claim_name.clone()));
    } else {
        return Err(VolumeError::Unsupported(volume.name.clone()));
    }
    Ok(VolumeContent::Files(files.found))
}

impl Files<'_> {
    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn projection(&mut self, source: &VolumeProjection, mode: Option<i32>) -> Result<(), VolumeError> {
        if let Some(map) = &source.config_map {
            self.config_map(&map.name, map.items.as_deref(), map.optional, mode)?;
        }
        if let Some(secret) = &source.secret {
            self.secret(&secret.name, secret.items.as_deref(), secret.optional, mode)?;
        }
        if let Some(downward) = &source.downward_api {
            self.downward(downward.items.as_deref().unwrap_or_default(), mode)?;
        }
        if source.service_account_token.is_some()
            || source.cluster_trust_bundle.is_some()
            || source.pod_certificate.is_some()
        {
            return Err(VolumeError::Unsupported(self.volume.to_owned()));
        }
        Ok(())
    }

    fn config_map(
        &mut self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: Option<i32>,
    ) -> Result<(), VolumeError> {
        match self.sources.config_map(self.namespace(), name) {
            Some(map) => self.keys(&config_map_data(&map), items, optional, mode),
            None if optional == Some(true) => Ok(()),
            None => Err(VolumeError::NoConfigMap(self.volume.to_owned(), name.to_owned())),
        }
    }

    fn secret(
        &mut self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: Option<i32>,
    ) -> Result<(), VolumeError> {
        match self.sources.secret(self.namespace(), name) {
            Some(secret) => self.keys(&secret_data(&secret), items, optional, mode),
            None if optional == Some(true) => Ok(()),
            None => Err(VolumeError::NoSecret(self.volume.to_owned(), name.to_owned())),
        }
    }

    fn keys(
        &mut self,
        data: &BTreeMap<String, Vec<u8>>,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: Option<i32>,
    ) -> Result<(), VolumeError> {
        let Some(items) = items else {
            for (key, value) in data {
                self.add(key, value.clone(), mode)?;
            }
            return Ok(());
        };
        for item in items {
            match data.get(&item.key) {
                Some(value) => self.add(&item.path, value.clone(), item.mode.or(mode))?,
                None if optional == Some(true) => {}
                None => return Err(VolumeError::NoKey(self.volume.to_owned(), item.key.clone())),
            }
        }
        Ok(())
    }

    fn downward(&mut self, items: &[DownwardAPIVolumeFile], mode: Option<i32>) -> Result<(), VolumeError> {
        for item in items {
            let value = match (&item.field_ref, &item.resource_field_ref) {
                (Some(selector), _) => field(selector, self.pod, self.facts),
                (None, Some(selector)) => resource(selector, self.pod, None, self.facts),
                (None, None) => continue,
            };
            let value = value.map_err(|error| VolumeError::Field(self.volume.to_owned(), error))?;
            self.add(&item.path, value.into_bytes(), item.mode.or(mode))?;
        }
        Ok(())
    }

    fn add(&mut self, path: &str, data: Vec<u8>, mode: Option<i32>) -> Result<(), VolumeError> {
        let plain = Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !plain || path.starts_with("..") {
            return Err(VolumeError::BadPath(self.volume.to_owned(), path.to_owned()));
        }
        let mode = u32::try_from(mode.unwrap_or(DEFAULT_MODE) & 0o777).unwrap_or(0o644);
        self.found.insert(path.to_owned(), VolumeFile { data, mode });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::fields::tests::facts;
    use super::super::sources::fake::Fake;
    use super::*;
    use serde_json::{Value, json};

    fn render(volume: Value) -> Result<VolumeContent, VolumeError> {
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "labels": {"a": "b"}}}))
                .unwrap();
        let sources = Fake::new(&[("cm", &[("one", "1"), ("two", "2")])], &[("s", &[("key", "k")])]);
        content(&volume, &pod, &facts(), &sources)
    }

    fn files(volume: Value) -> Vec<(String, String, u32)> {
        let VolumeContent::Files(files) = render(volume).unwrap() else {
            panic!("not files")
        };
        files
            .into_iter()
            .map(|(path, file)| (path, String::from_utf8(file.data).unwrap(), file.mode))
            .collect()
    }

    #[test]
    fn all_keys_or_chosen_items() {
        let file = |path: &str, data: &str, mode| (path.to_owned(), data.to_owned(), mode);
        assert_eq!(
            files(json!({"name": "v", "configMap": {"name": "cm", "defaultMode": 0o600}})),
            [file("one", "1", 0o600), file("two", "2", 0o600)]
        );
        assert_eq!(
            files(
                json!({"name": "v", "configMap": {"name": "cm", "items": [{"key": "two", "path": "d/2.txt", "mode": 0o400}]}})
            ),
            [file("d/2.txt", "2", 0o400)]
        );
        assert_eq!(
            files(json!({"name": "v", "projected": {"sources": [
                {"configMap": {"name": "cm", "items": [{"key": "one", "path": "x"}]}}, {"secret": {"name": "s"}},
                {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}})),
            [
                file("key", "k", 0o644),
                file("labels", "a=\"b\"\n", 0o644),
                file("x", "1", 0o644)
            ]
        );
    }

    #[test]
    fn what_is_absent_blocks_unless_optional() {
        assert!(matches!(
            render(json!({"name": "v", "configMap": {"name": "no"}})),
            Err(VolumeError::NoConfigMap(..))
        ));
        assert!(matches!(
            render(json!({"name": "v", "secret": {"secretName": "no"}})),
            Err(VolumeError::NoSecret(..))
        ));
        assert!(files(json!({"name": "v", "secret": {"secretName": "no", "optional": true}})).is_empty());
        let item = json!([{"key": "three", "path": "3"}]);
        let no_key = render(json!({"name": "v", "configMap": {"name": "cm", "items": item.clone()}}));
        assert!(matches!(no_key, Err(VolumeError::NoKey(..))));
        assert!(files(json!({"name": "v", "configMap": {"name": "cm", "items": item, "optional": true}})).is_empty());
    }

    #[test]
    fn no_path_leaves_the_volume() {
        for path in ["../x", "/etc/x", "a/../../x", "..data", ""] {
            let volume = json!({"name": "v", "configMap": {"name": "cm", "items": [{"key": "one", "path": path}]}});
            assert!(matches!(render(volume), Err(VolumeError::BadPath(..))), "{path}");
        }
    }

    #[test]
    fn unknown_kinds_are_refused() {
        let nfs = json!({"name": "v", "nfs": {"server": "s", "path": "/"}});
        assert!(matches!(render(nfs), Err(VolumeError::Unsupported(_))));
    }
}
