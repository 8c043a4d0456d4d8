//! The lines of a journal on disk: whole ones only, also on a disk that is full.

use std::{fmt::Debug, fs::File, io::Write, path::Path};

use serde::Serialize;

/// What lines are written to: a file, but for tests of disks that fail.
pub(super) trait Disk: Debug + Send {
    fn len(&self) -> std::io::Result<u64>;
    fn write(&mut self, line: &[u8]) -> std::io::Result<()>;
    fn sync(&self) -> std::io::Result<()>;
    fn cut(&self, len: u64) -> std::io::Result<()>;
}

impl Disk for File {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.write_all(line)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.sync_data()
    }

    fn cut(&self, len: u64) -> std::io::Result<()> {
        self.set_len(len)
    }
}

/// The lines of an open journal.
#[derive(Debug)]
pub(super) struct Lines {
    disk: Box<dyn Disk>,
    /// Number of the next mutation.
    next: u32,
    /// Where the last whole line ends, while a part of another one follows that could not be taken away.
    torn: Option<u64>,
}

impl Lines {
    pub(super) fn new(disk: impl Disk + 'static, next: u32) -> Self {
        Self {
            disk: Box::new(disk),
            next,
            torn: None,
        }
    }

    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// A number for a mutation. It is never given again, whatever becomes of its line: one that could not be synced may be
    /// there all the same.
    pub(super) fn take_number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    pub(super) fn is_empty(&self) -> std::io::Result<bool> {
        Ok(self.disk.len()? == 0)
    }

    /// Appends a line and has it on disk, or leaves none of it.
    pub(super) fn append(&mut self, line: &impl Serialize) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(line).map_err(std::io::Error::other)?;
        line.push(b'\n');
        if let Some(whole) = self.torn {
            self.disk.cut(whole)?;
            self.torn = None;
        }
        let whole = self.disk.len()?;
        // One write and a sync: a crash leaves whole lines, or a last one that a reader tells apart.
        let written = self.disk.write(&line).and_then(|()| self.disk.sync());
        if written.is_err() {
            // The next line would go on where this one broke off.
            self.torn = self.disk.cut(whole).is_err().then_some(whole);
        }
        written
    }
}

/// Has it on disk that the file at `path` is there at all.
pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What fails next.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(in super::super) enum Fails {
        /// Nothing.
        #[default]
        Nothing,
        /// The disk is full after so many bytes of a line.
        Full(usize),
        /// The disk is full as above, and what was written cannot be taken away either.
        Stuck(usize),
        /// All is written, and nobody knows whether it is on disk.
        Sync,
    }

    /// A file on a disk that fails as it is told.
    #[derive(Debug)]
    pub(in super::super) struct Failing(pub(in super::super) File, pub(in super::super) Arc<Mutex<Fails>>);

    impl Failing {
        fn fails(&self) -> Fails {
            *self.1.lock().unwrap()
        }
    }

    fn full() -> std::io::Error {
        std::io::ErrorKind::StorageFull.into()
    }

    impl Disk for Failing {
        fn len(&self) -> std::io::Result<u64> {
            self.0.len()
        }

        fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
            match self.fails() {
                Fails::Full(bytes) | Fails::Stuck(bytes) => {
                    Disk::write(&mut self.0, &line[..bytes])?;
                    Err(full())
                }
                Fails::Nothing | Fails::Sync => Disk::write(&mut self.0, line),
            }
        }

        fn sync(&self) -> std::io::Result<()> {
            match self.fails() {
                Fails::Sync => Err(std::io::Error::other("the disk went away")),
                _ => self.0.sync(),
            }
        }

        fn cut(&self, len: u64) -> std::io::Result<()> {
            match self.fails() {
                Fails::Stuck(_) => Err(full()),
                _ => self.0.cut(len),
            }
        }
    }

    #[test]
    fn a_folder_is_synced_however_its_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        sync_folder(&dir.path().join("journal.jsonl")).unwrap();
        sync_folder(Path::new("journal.jsonl")).unwrap();
        assert!(sync_folder(&dir.path().join("absent/journal.jsonl")).is_err());
    }
}
