//! The undo journal: JSON Lines, each entry on disk before the mutation it would undo.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// How to take back one mutation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "how")]
pub enum Undo {
    /// Delete an object of Chaos Mesh; its finalizer holds it until the fault is recovered.
    #[serde(rename_all = "camelCase")]
    DeleteChaos {
        /// `PodChaos` or `NetworkChaos`.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The platform heals by itself (a killed pod is replaced, a flushed cache fills): wait for the steady state.
    SelfHealing,
}

/// How far one mutation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// On record; the mutation may or may not have happened.
    Intent,
    /// The mutation took effect.
    Injected,
    /// The undo was carried out and seen to have worked.
    Undone,
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Number of the mutation; its later stages carry the same number.
    pub id: u64,
    /// Name of the fault.
    pub fault: String,
    /// How far it is.
    pub stage: Stage,
    /// How to take it back.
    pub undo: Undo,
}

/// What can go wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be written or read.
    #[error("undo journal {}: {source}; without it no fault may be injected", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is no entry.
    #[error("undo journal {}, line {line}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// One-based line.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    next: u64,
}

impl Journal {
    /// Opens the journal at `path`, creating it where it is missing; numbers go on after those already there.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let next = if path.exists() {
            read(path)?.iter().map(|e| e.id + 1).max().unwrap_or(0)
        } else {
            0
        };
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| JournalError::Io {
                path: path.to_owned(),
                source,
            })?;
        drop_torn_line(&file, path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            next,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the intent of a mutation on disk and gives its number.
    pub fn intent(&mut self, fault: &str, undo: Undo) -> Result<Entry, JournalError> {
        let entry = Entry {
            id: self.next,
            fault: fault.to_owned(),
            stage: Stage::Intent,
            undo,
        };
        self.write(&entry)?;
        self.next += 1;
        Ok(entry)
    }

    /// Records that a mutation reached a stage.
    pub fn advance(&mut self, entry: &Entry, stage: Stage) -> Result<(), JournalError> {
        self.write(&Entry { stage, ..entry.clone() })
    }

    fn write(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(entry)
            .map_err(std::io::Error::other)
            .map_err(|source| self.io(source))?;
        line.push(b'\n');
        // One write and a sync: a crash leaves whole lines, or a last one that `read` tells apart.
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| self.io(source))
    }

    fn io(&self, source: std::io::Error) -> JournalError {
        JournalError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

/// Takes away a last line that a crash cut off, or the next entry would be appended to it and lost with it.
fn drop_torn_line(file: &File, path: &Path) -> Result<(), JournalError> {
    let io = |source| JournalError::Io {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::read(path).map_err(io)?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    if whole < bytes.len() {
        file.set_len(whole as u64).map_err(io)?;
    }
    Ok(())
}

/// Reads a journal. A last line cut off by a crash is passed over: its mutation was never sent.
pub fn read(path: &Path) -> Result<Vec<Entry>, JournalError> {
    let io = |source| JournalError::Io {
        path: path.to_owned(),
        source,
    };
    let lines = BufReader::new(File::open(path).map_err(io)?)
        .lines()
        .collect::<Result<Vec<_>, _>>()
        .map_err(io)?;
    let mut entries = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(entry) => entries.push(entry),
            Err(source) if source.is_eof() && index + 1 == lines.len() => {}
            Err(source) => {
                return Err(JournalError::Malformed {
                    path: path.to_owned(),
                    line: index + 1,
                    source,
                });
            }
        }
    }
    Ok(entries)
}

/// The mutations that are not known to be undone, latest first: the order in which to take them back.
#[must_use]
pub fn outstanding(entries: &[Entry]) -> Vec<Entry> {
    let mut open: Vec<Entry> = Vec::new();
    for entry in entries {
        open.retain(|e| e.id != entry.id);
        if entry.stage != Stage::Undone {
            open.push(entry.clone());
        }
    }
    open.reverse();
    open
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn delete(name: &str) -> Undo {
        Undo::DeleteChaos {
            kind: "NetworkChaos".into(),
            namespace: "cinema".into(),
            name: name.into(),
        }
    }

    #[test]
    fn what_is_not_undone_is_outstanding_latest_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let mut journal = Journal::open(&path).unwrap();
        let a = journal.intent("lose-eu", delete("a")).unwrap();
        let b = journal.intent("lose-eu", delete("b")).unwrap();
        journal.advance(&a, Stage::Injected).unwrap();
        let c = journal.intent("slow", delete("c")).unwrap();
        journal.advance(&b, Stage::Injected).unwrap();
        journal.advance(&b, Stage::Undone).unwrap();
        let open = outstanding(&read(&path).unwrap());
        assert_eq!(open.iter().map(|e| e.id).collect::<Vec<_>>(), [c.id, a.id]);
    }

    #[test]
    fn numbers_go_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let first = Journal::open(&path).unwrap().intent("f", Undo::SelfHealing).unwrap();
        let second = Journal::open(&path).unwrap().intent("f", Undo::SelfHealing).unwrap();
        assert_eq!((first.id, second.id), (0, 1));
    }

    #[test]
    fn a_line_cut_off_by_a_crash_is_passed_over_but_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        Journal::open(&path).unwrap().intent("f", delete("a")).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"id\":1,\"fau");
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
        std::fs::write(&path, format!("nonsense\n{text}")).unwrap();
        assert!(matches!(read(&path), Err(JournalError::Malformed { line: 1, .. })));
    }

    #[test]
    fn what_follows_a_line_cut_off_by_a_crash_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, "{\"id\":0,\"fau").unwrap();
        Journal::open(&path).unwrap().intent("f", delete("a")).unwrap();
        assert_eq!(outstanding(&read(&path).unwrap()).len(), 1);
    }

    #[test]
    fn an_unwritable_journal_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Journal::open(&dir.path().join("absent/journal.jsonl")).is_err());
    }
}
