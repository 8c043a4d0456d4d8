//! The folder of a run: one run at a time writes into it, and none over a journal whose faults are not undone.

use std::{
    fs::{File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use tracing::warn;

use super::files::{FILES, JOURNAL};
use crate::{
    fault::{JournalError, outstanding, read_run},
    judge::exit,
};

/// Why a run may not write into a folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made, locked or cleared.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder, or a file in it.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another run writes into it.
    #[error("{}: a drill that still runs writes into this folder; wait for its end, or name another folder with --out", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// What an earlier run did is not undone.
    #[error(
        "{}: its journal has {count} mutations of drill {run} that are not known to be undone; take them back with `showrunner undo {}`, or name another folder with --out. Where the cluster is gone, as a killed sandbox is, the folder may be removed",
        dir.display(), dir.display()
    )]
    NotUndone {
        /// The folder.
        dir: PathBuf,
        /// The earlier run.
        run: String,
        /// How many.
        count: usize,
    },
    /// Nobody can say whether an earlier run's faults are undone.
    #[error("{source}: so nobody can say whether its faults are undone; name another folder with --out")]
    Unreadable {
        /// What is wrong with its journal.
        source: JournalError,
    },
}

impl FolderError {
    /// The exit code that the error stands for.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            FolderError::Io { .. } => exit::INFRASTRUCTURE,
            FolderError::InUse { .. } | FolderError::NotUndone { .. } | FolderError::Unreadable { .. } => exit::INVALID,
        }
    }
}

/// A folder that belongs to one run for as long as this lives, and no longer than its process does.
#[derive(Debug)]
pub struct Folder(#[expect(dead_code, reason = "held, not read")] File);

impl Folder {
    /// Claims a folder for a run, and makes it where it is missing. What an earlier run has left in it stays, until the new one
    /// has something to write.
    pub fn claim(dir: &Path) -> Result<Self, FolderError> {
        std::fs::create_dir_all(dir).map_err(|source| io(dir, source))?;
        // The folder itself and not a file in it: files are removed, and come again.
        let lock = File::open(dir).map_err(|source| io(dir, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::InUse { dir: dir.to_owned() }),
            // Some file systems know no locks (NFS none of folders). Two runs in one folder are rarer than such a file system.
            Err(TryLockError::Error(error)) => warn!(%error, dir = %dir.display(), "the folder cannot be locked"),
        }
        let (run, entries) = match read_run(&dir.join(JOURNAL)) {
            Ok(Some((origin, entries))) => (origin.run, entries),
            Ok(None) => return Ok(Self(lock)),
            Err(JournalError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(Self(lock)),
            Err(source) => return Err(FolderError::Unreadable { source }),
        };
        match outstanding(&entries).len() {
            0 => Ok(Self(lock)),
            count => Err(FolderError::NotUndone {
                dir: dir.to_owned(),
                run,
                count,
            }),
        }
    }
}

/// Removes what an earlier run has left in the folder.
pub(super) fn clear(dir: &Path) -> Result<(), FolderError> {
    for stale in FILES {
        let path = dir.join(stale);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(&path, error)),
            _ => {}
        }
    }
    Ok(())
}

fn io(path: &Path, source: std::io::Error) -> FolderError {
    FolderError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fault::{Entry, Journal, Origin, Stage, Undo};

    /// A journal with one mutation in it.
    async fn journal(dir: &Path) -> (Journal, Entry) {
        let origin = Origin::new("night-1", "cinema", "cinema", None);
        let journal = Journal::create(&dir.join(JOURNAL), &origin, None).unwrap();
        let entry = journal.intent("lose-eu", Undo::SelfHealing).await.unwrap();
        (journal, entry)
    }

    #[tokio::test]
    async fn what_is_not_undone_keeps_a_folder_from_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, entry) = journal(dir.path()).await;
        let before = std::fs::read(journal.path()).unwrap();
        let refused = Folder::claim(dir.path()).unwrap_err();
        let said = refused.to_string();
        let undo = format!("`showrunner undo {}`", dir.path().display());
        assert!(said.contains("drill night-1") && said.contains(&undo), "{said}");
        assert_eq!(refused.exit_code(), exit::INVALID);
        assert_eq!(std::fs::read(journal.path()).unwrap(), before);
        journal.advance(&entry, Stage::Undone).await.unwrap();
        let _claimed = Folder::claim(dir.path()).unwrap();
        assert!(journal.path().exists(), "to claim removes nothing");
    }

    #[test]
    fn a_folder_belongs_to_one_run_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("not/yet/there");
        let first = Folder::claim(&dir).unwrap();
        let refused = Folder::claim(&dir).unwrap_err();
        let said = refused.to_string();
        assert!(
            said.contains(&dir.display().to_string()) && said.contains("still runs"),
            "{said}"
        );
        assert_eq!(refused.exit_code(), exit::INVALID);
        drop(first);
        Folder::claim(&dir).unwrap();
    }

    #[test]
    fn a_journal_that_cannot_be_read_keeps_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(JOURNAL), "nonsense\n").unwrap();
        let refused = Folder::claim(dir.path()).unwrap_err();
        assert!(matches!(refused, FolderError::Unreadable { .. }), "{refused}");
        assert_eq!(refused.exit_code(), exit::INVALID);
    }

    #[tokio::test]
    async fn to_clear_removes_the_files_of_a_run_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        journal(dir.path()).await;
        std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        clear(dir.path()).unwrap();
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
