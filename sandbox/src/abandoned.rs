//! Folders of sandboxes whose owners were killed.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use showrunner_node::crash::{Owner, end_all};

use crate::OURS;

/// In a sandbox's folder: a link to its kubeconfig, where that is elsewhere.
const KUBECONFIG: &str = "kubeconfig-elsewhere";
/// How long a server on this machine may take to accept a connection.
const ACCEPT: Duration = Duration::from_millis(500);

/// What was found of a sandbox whose owner is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// Its folder.
    pub root: PathBuf,
    /// The process it belonged to.
    pub owner: i32,
    /// How many of its processes still ran, and were killed.
    pub killed: usize,
    /// Why it could not be removed, if so.
    pub error: Option<String>,
}

/// Ends and removes every sandbox in `folder` whose name is `prefix` and a process's number and whose owner is gone. Those
/// of other users are left alone.
pub fn reap_abandoned(folder: &Path, prefix: &str) -> io::Result<Vec<Abandoned>> {
    let own = std::fs::metadata("/proc/self")?.uid();
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
        let Some(pid) = number.and_then(|number| number.parse::<i32>().ok()) else {
            continue;
        };
        // A link, or a folder that somebody else put there, says nothing of ours.
        let ours = entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == own);
        if ours && let Some(abandoned) = reap(entry.path(), pid) {
            all.push(abandoned);
        }
    }
    Ok(all)
}

/// Reaps one folder, if its owner is gone.
fn reap(root: PathBuf, pid: i32) -> Option<Abandoned> {
    let killed = match Owner::read(&root) {
        Ok(owner) if owner.may_run() => return None,
        Ok(owner) => end_all(&owner, &root),
        // Killed before it could say whose it is: the name has to do.
        Err(_) if Owner::of(pid).is_some() => return None,
        Err(_) => Ok(0),
    };
    remove_kubeconfig(&root);
    let removed = killed.and_then(|killed| std::fs::remove_dir_all(&root).map(|()| killed));
    Some(Abandoned {
        root,
        owner: pid,
        killed: *removed.as_ref().unwrap_or(&0),
        error: removed.err().map(|error| error.to_string()),
    })
}

/// Remembers in `root` that a kubeconfig was written elsewhere.
pub(crate) fn remember_kubeconfig(root: &Path, kubeconfig: &Path) -> io::Result<()> {
    if kubeconfig.starts_with(root) {
        return Ok(());
    }
    let link = root.join(KUBECONFIG);
    match std::fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::os::unix::fs::symlink(std::path::absolute(kubeconfig)?, link)
}

/// Removes the kubeconfig that a sandbox wrote, unless it is somebody's who is there.
fn remove_kubeconfig(root: &Path) {
    let Ok(path) = std::fs::read_link(root.join(KUBECONFIG)) else {
        return;
    };
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let server = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("server: ")?.split_once("://"))
        .map(|(_, address)| address);
    let server = server.and_then(|address| address.parse::<SocketAddr>().ok());
    let served = server.is_some_and(|address| TcpStream::connect_timeout(&address, ACCEPT).is_ok());
    if text.contains(OURS)
        && !served
        && let Err(error) = std::fs::remove_file(&path)
    {
        tracing::warn!(%error, path = %path.display(), "cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::Command;

    /// A process that has ended, as an owner.
    fn dead() -> Owner {
        let mut child = Command::new("sleep").arg("300").spawn().unwrap();
        let owner = Owner::of(child.id().cast_signed()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        owner
    }

    fn root(folder: &Path, owner: &Owner) -> PathBuf {
        let root = folder.join(format!("sandbox-{}", owner.pid));
        std::fs::create_dir(&root).unwrap();
        owner.write(&root).unwrap();
        root
    }

    #[test]
    fn what_a_dead_owner_left_goes_and_what_a_living_one_has_stays() {
        let folder = tempfile::tempdir().unwrap();
        let living = root(folder.path(), &Owner::this().unwrap());
        let owner = dead();
        let left = root(folder.path(), &owner);
        let other = folder.path().join("sandbox-of-mine");
        std::fs::create_dir(&other).unwrap();
        let foreign = folder.path().join("sandbox-2000000001");
        std::os::unix::fs::symlink(&other, &foreign).unwrap();
        let nameless = folder.path().join("sandbox-2000000000");
        std::fs::create_dir(&nameless).unwrap();

        let mut reaped = reap_abandoned(folder.path(), "sandbox-").unwrap();
        reaped.sort_by_key(|abandoned| abandoned.owner);
        let expected = |root: &PathBuf, owner: i32| Abandoned {
            root: root.clone(),
            owner,
            killed: 0,
            error: None,
        };
        let mut wanted = vec![expected(&left, owner.pid), expected(&nameless, 2_000_000_000)];
        wanted.sort_by_key(|abandoned| abandoned.owner);
        assert_eq!(reaped, wanted);
        assert!(!left.exists() && !nameless.exists());
        assert!(living.exists() && other.exists() && foreign.is_symlink());
    }

    #[test]
    fn a_kubeconfig_goes_unless_its_server_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let path = folder.path().join("kubeconfig");
        let text = |address| format!("{OURS}clusters:\n  server: http://{address}\n");
        for (content, stays) in [
            (text(listener.local_addr().unwrap()), true),
            ("current-context: somebody's\n".to_owned(), true),
            // Port 1 of an address nobody has.
            (text("127.99.99.99:1".parse().unwrap()), false),
        ] {
            std::fs::write(&path, &content).unwrap();
            let left = root(folder.path(), &dead());
            remember_kubeconfig(&left, &path).unwrap();
            assert_eq!(reap_abandoned(folder.path(), "sandbox-").unwrap().len(), 1);
            assert_eq!(path.exists(), stays, "{content}");
        }
    }
}
