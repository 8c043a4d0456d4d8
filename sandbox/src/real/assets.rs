//! Where the binaries of the control plane are.

use std::path::{Path, PathBuf};

/// The convention of envtest: a folder with etcd, kube-apiserver and so on.
pub const ASSETS_VARIABLE: &str = "KUBEBUILDER_ASSETS";
/// The release that `make kubernetes` builds. A test holds it against sandbox/kubernetes/go.mod.
pub const KUBERNETES_VERSION: &str = "1.36.4";

/// The binaries of a control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assets {
    directory: PathBuf,
}

/// No binaries where they were looked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {binary} in {}: run `make kubernetes`, or point {ASSETS_VARIABLE} at a folder that has it", directory.display())]
pub struct AssetsError {
    /// What is missing.
    pub binary: String,
    /// Where it was looked for.
    pub directory: PathBuf,
}

impl Assets {
    /// The binaries that `KUBEBUILDER_ASSETS` names, or those `make kubernetes` has built in `workspace`.
    pub fn find(workspace: &Path) -> Result<Self, AssetsError> {
        Self::choose(std::env::var_os(ASSETS_VARIABLE).map(PathBuf::from), workspace)
    }

    fn choose(named: Option<PathBuf>, workspace: &Path) -> Result<Self, AssetsError> {
        let built = || workspace.join("target/kubernetes").join(KUBERNETES_VERSION);
        let assets = Self {
            directory: named.filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(built),
        };
        for binary in ["etcd", "kube-apiserver"] {
            assets.binary(binary)?;
        }
        Ok(assets)
    }

    /// The path of a binary, made absolute: processes start in a folder of their own.
    pub fn binary(&self, name: &str) -> Result<PathBuf, AssetsError> {
        let path = self.directory.join(name);
        match std::path::absolute(&path) {
            Ok(path) if path.is_file() => Ok(path),
            _ => Err(AssetsError {
                binary: name.to_owned(),
                directory: self.directory.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folder(binaries: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for binary in binaries {
            std::fs::write(folder.path().join(binary), "").unwrap();
        }
        folder
    }

    #[test]
    fn named_binaries_win_over_built_ones() {
        let named = folder(&["etcd", "kube-apiserver"]);
        let assets = Assets::choose(Some(named.path().to_owned()), Path::new("/nowhere")).unwrap();
        assert_eq!(assets.binary("etcd").unwrap(), named.path().join("etcd"));
        assert_eq!(assets.binary("kube-scheduler").unwrap_err().binary, "kube-scheduler");
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let named = folder(&["etcd"]);
        let error = Assets::choose(Some(named.path().to_owned()), Path::new("/nowhere")).unwrap_err();
        assert_eq!(error.binary, "kube-apiserver");
        let error = Assets::choose(None, Path::new("/nowhere")).unwrap_err().to_string();
        assert!(
            error.contains("make kubernetes") && error.contains("/nowhere/target/kubernetes/1.36.4"),
            "{error}"
        );
    }

    #[test]
    fn the_version_is_the_one_that_is_built() {
        let module = include_str!("../../kubernetes/go.mod");
        let wanted = format!("v{KUBERNETES_VERSION}");
        let mut words = module.lines().map(str::split_whitespace);
        assert!(words.any(|mut words| words.next() == Some("k8s.io/kubernetes") && words.next() == Some(&wanted)));
    }
}
