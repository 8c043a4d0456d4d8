//! Writes a projected volume so that readers see all of an update or none of it.
//!
//! As the kubelet does: files live in a directory of their own, `..data` points to it, and every visible name is a link
//! through `..data`. An update writes a new directory and renames one link.

use super::volumes::VolumeFile;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::{fs, path::PathBuf};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `directory` hold exactly `files`. Whether anything changed.
pub(super) fn project(directory: &Path, files: &BTreeMap<String, VolumeFile>) -> io::Result<bool> {
    fs::create_dir_all(directory)?;
    let current = fs::read_link(directory.join(DATA)).ok();
    if let Some(current) = &current
        && same(&directory.join(current), files)?
    {
        return Ok(false);
    }
    let version = next_version(current.as_deref());
    let versioned = directory.join(&version);
    if versioned.exists() {
        fs::remove_dir_all(&versioned)?;
    }
    fs::create_dir(&versioned)?;
    for (path, file) in files {
        let target = versioned.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, &file.data)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(file.mode))?;
    }
    let link = directory.join(DATA_NEW);
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link)?;
    }
    symlink(&version, &link)?;
    fs::rename(&link, directory.join(DATA))?;
    link_names(directory, files)?;
    if let Some(current) = current {
        fs::remove_dir_all(directory.join(current))?;
    }
    Ok(true)
}

fn next_version(current: Option<&Path>) -> String {
    let number = current
        .and_then(|path| path.to_str()?.strip_prefix("..v")?.parse::<u64>().ok())
        .map_or(1, |number| number.wrapping_add(1));
    format!("..v{number}")
}

/// Visible names are links to the first component of each path; names that are gone lose their links.
fn link_names(directory: &Path, files: &BTreeMap<String, VolumeFile>) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(name.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    for name in wanted {
        let link = directory.join(name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    Ok(())
}

fn same(directory: &Path, files: &BTreeMap<String, VolumeFile>) -> io::Result<bool> {
    let mut present = BTreeSet::new();
    list(directory, &mut PathBuf::new(), &mut present)?;
    if present.len() != files.len() {
        return Ok(false);
    }
    for (path, file) in files {
        if !present.contains(path) || fs::read(directory.join(path))? != file.data {
            return Ok(false);
        }
    }
    Ok(true)
}

fn list(root: &Path, relative: &mut PathBuf, found: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(&*relative))? {
        let entry = entry?;
        relative.push(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(root, relative, found)?;
        } else {
            found.insert(relative.to_string_lossy().into_owned());
        }
        relative.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn files(entries: &[(&str, &str)]) -> BTreeMap<String, VolumeFile> {
        entries
            .iter()
            .map(|(path, data)| {
                (
                    (*path).to_owned(),
                    VolumeFile {
                        data: data.as_bytes().to_vec(),
                        mode: 0o640,
                    },
                )
            })
            .collect()
    }

    #[test]
    fn updates_swap_one_link() {
        let dir = tempfile::tempdir().unwrap();
        let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
        assert!(project(dir.path(), &files(&[("a", "1"), ("sub/b", "2")])).unwrap());
        assert_eq!((read("a"), read("sub/b")), ("1".into(), "2".into()));
        assert_eq!(
            fs::metadata(dir.path().join("a")).unwrap().permissions().mode() & 0o777,
            0o640
        );
        let before = fs::read_link(dir.path().join(DATA)).unwrap();
        assert!(
            !project(dir.path(), &files(&[("a", "1"), ("sub/b", "2")])).unwrap(),
            "nothing to do"
        );
        assert_eq!(fs::read_link(dir.path().join(DATA)).unwrap(), before);

        let old = fs::File::open(dir.path().join("a")).unwrap();
        assert!(project(dir.path(), &files(&[("a", "new"), ("c", "3")])).unwrap());
        assert_eq!((read("a"), read("c")), ("new".into(), "3".into()));
        assert!(!dir.path().join("sub").exists() && dir.path().join("sub").symlink_metadata().is_err());
        assert_eq!(
            io::read_to_string(old).unwrap(),
            "1",
            "who has it open keeps the old content"
        );
        let versions = fs::read_dir(dir.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with("..v"));
        assert_eq!(versions.count(), 1, "old versions are removed");
    }

    #[test]
    fn an_empty_volume_has_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        project(&dir.path().join("v"), &BTreeMap::new()).unwrap();
        assert!(dir.path().join("v").is_dir());
    }
}
