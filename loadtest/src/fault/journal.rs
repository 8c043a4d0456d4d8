//! The undo journal: JSON Lines, each entry on disk, and in the run's Drill, before the mutation it would undo.

mod lines;

use std::{
    fs::{File, OpenOptions},
    io::BufReader,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use showrunner_crds::drill::MAX_JOURNAL;
pub use showrunner_crds::drill::{JournalEntry as Entry, JournalStage as Stage, Undo, outstanding};
use tracing::warn;

use crate::{
    evidence::lines::next_line,
    record::{Record, RecordError},
};
use lines::{Lines, sync_folder};

/// What the first line of a journal says it is.
const FORMAT: &str = "showrunner.dev/v1alpha1";

/// The first line of a journal: which run it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Origin {
    /// `showrunner.dev/v1alpha1`.
    journal: String,
    /// Name of the run.
    pub run: String,
    /// Namespace of the platform.
    pub namespace: String,
    /// Name of the platform.
    pub platform: String,
    /// UID of the namespace: the same name in another cluster is another place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_uid: Option<String>,
}

impl Origin {
    /// Of a run against a platform.
    #[must_use]
    pub fn new(run: &str, namespace: &str, platform: &str, namespace_uid: Option<String>) -> Self {
        Self {
            journal: FORMAT.to_owned(),
            run: run.to_owned(),
            namespace: namespace.to_owned(),
            platform: platform.to_owned(),
            namespace_uid,
        }
    }
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
    /// It is not the journal of a run.
    #[error("undo journal {}, line 1: it does not say which run it belongs to", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// There are as many mutations as a Drill can keep.
    #[error("{MAX_JOURNAL} mutations are on record, no more fit: no further fault is injected")]
    Full,
    /// The Drill cannot be written.
    #[error("undo journal: {0}; without it no fault may be injected")]
    Record(#[from] RecordError),
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    lines: Mutex<Lines>,
    record: Option<Arc<Record>>,
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
            .map_err(|source| io(path, source))?;
        drop_torn_line(&file, path)?;
        Ok(Self {
            path: path.to_owned(),
            lines: Mutex::new(Lines::new(file, next)),
            record: None,
        })
    }

    /// Creates the journal of a run at `path`. Its entries go to the run's Drill too.
    pub fn create(path: &Path, origin: &Origin, record: Option<Arc<Record>>) -> Result<Self, JournalError> {
        let journal = Self::open(path)?;
        {
            let mut lines = journal.lines();
            if lines.is_empty().map_err(|source| io(path, source))? {
                lines.append(origin).map_err(|source| io(path, source))?;
            }
            sync_folder(path).map_err(|source| io(path, source))?;
        }
        Ok(Self { record, ..journal })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's Drill.
    #[must_use]
    pub fn record(&self) -> Option<&Arc<Record>> {
        self.record.as_ref()
    }

    /// Puts the intent of a mutation on disk and into the Drill, and gives its entry. Only when both have it may the mutation
    /// be sent.
    pub async fn intent(&self, fault: &str, undo: Undo) -> Result<Entry, JournalError> {
        let entry = {
            let mut lines = self.lines();
            if lines.next() as usize >= MAX_JOURNAL {
                return Err(JournalError::Full);
            }
            let entry = Entry {
                id: lines.take_number(),
                fault: fault.to_owned(),
                stage: Stage::Intent,
                undo,
                at: Timestamp::now(),
            };
            lines.append(&entry).map_err(|source| io(&self.path, source))?;
            entry
        };
        if let Some(record) = &self.record
            && let Err(error) = record.intent(&entry).await
        {
            // The mutation is not sent, so there is nothing to take back.
            self.note(&at(&entry, Stage::Undone))?;
            return Err(error.into());
        }
        Ok(entry)
    }

    /// To be asked right before a mutation is sent: an error once others may be about to take the run over.
    pub fn may_send(&self) -> Result<(), JournalError> {
        match self.record.as_ref().and_then(|record| record.lease()) {
            Some(lease) => Ok(lease.fresh()?),
            None => Ok(()),
        }
    }

    /// Records that a mutation reached a stage. The Drill may miss it: taking back twice does no harm, and the next write
    /// takes it along. A disk that fails keeps nothing from the Drill.
    pub async fn advance(&self, entry: &Entry, stage: Stage) -> Result<(), JournalError> {
        let entry = at(entry, stage);
        let noted = self.note(&entry);
        if let Some(record) = &self.record
            && let Err(error) = record.advance(&entry).await
        {
            warn!(%error, "the Drill does not have the last stages of its journal");
        }
        noted
    }

    fn note(&self, entry: &Entry) -> Result<(), JournalError> {
        let appended = self.lines().append(entry);
        appended.map_err(|source| io(&self.path, source))
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry at the stage that its mutation has reached now.
fn at(entry: &Entry, stage: Stage) -> Entry {
    Entry {
        stage,
        at: Timestamp::now(),
        ..entry.clone()
    }
}

fn io(path: &Path, source: std::io::Error) -> JournalError {
    JournalError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Takes away a last line that a crash cut off, or the next entry would be appended to it and lost with it.
fn drop_torn_line(file: &File, path: &Path) -> Result<(), JournalError> {
    let bytes = std::fs::read(path).map_err(|source| io(path, source))?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    if whole < bytes.len() {
        file.set_len(whole as u64).map_err(|source| io(path, source))?;
    }
    Ok(())
}

/// Reads the entries of a journal. A last line cut off by a crash is passed over: its mutation was never sent.
pub fn read(path: &Path) -> Result<Vec<Entry>, JournalError> {
    Ok(parse(path)?.1)
}

/// Reads the journal of a run: which one it is, and its entries. `None` for a journal that was cut off before its first line
/// was complete: nothing was sent.
pub fn read_run(path: &Path) -> Result<Option<(Origin, Vec<Entry>)>, JournalError> {
    match parse(path)? {
        (Some(origin), entries) => Ok(Some((origin, entries))),
        (None, entries) if entries.is_empty() => Ok(None),
        (None, _) => Err(JournalError::Foreign { path: path.to_owned() }),
    }
}

fn parse(path: &Path) -> Result<(Option<Origin>, Vec<Entry>), JournalError> {
    let malformed = |line, source| JournalError::Malformed {
        path: path.to_owned(),
        line,
        source,
    };
    let mut file = BufReader::new(File::open(path).map_err(|source| io(path, source))?);
    let (mut origin, mut entries, mut cut) = (None, Vec::new(), None);
    let mut number = 0;
    while let Some(line) = next_line(&mut file).map_err(|source| io(path, source))? {
        if let Some(source) = cut.take() {
            return Err(malformed(number, source));
        }
        number += 1;
        if number == 1
            && let Ok(first) = line.json::<Origin>()
            && first.journal == FORMAT
        {
            origin = Some(first);
            continue;
        }
        match line.json() {
            Ok(entry) => entries.push(entry),
            Err(source) if source.is_eof() => cut = Some(source),
            Err(source) => return Err(malformed(number, source)),
        }
    }
    Ok((origin, entries))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{
        lines::tests::{Failing, Fails},
        *,
    };

    fn delete(name: &str) -> Undo {
        Undo::DeleteChaos {
            kind: "NetworkChaos".into(),
            namespace: "cinema".into(),
            name: name.into(),
        }
    }

    fn origin() -> Origin {
        Origin::new("night-1", "cinema", "cinema", Some("u".into()))
    }

    #[tokio::test]
    async fn what_is_not_undone_is_outstanding_latest_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let journal = Journal::create(&path, &origin(), None).unwrap();
        let a = journal.intent("lose-eu", delete("a")).await.unwrap();
        let b = journal.intent("lose-eu", delete("b")).await.unwrap();
        journal.advance(&a, Stage::Injected).await.unwrap();
        let c = journal.intent("slow", delete("c")).await.unwrap();
        journal.advance(&b, Stage::Injected).await.unwrap();
        journal.advance(&b, Stage::Undone).await.unwrap();
        let (whose, entries) = read_run(&path).unwrap().unwrap();
        assert_eq!(whose, origin());
        let open = outstanding(&entries);
        assert_eq!(open.iter().map(|e| e.id).collect::<Vec<_>>(), [c.id, a.id]);
    }

    #[tokio::test]
    async fn numbers_go_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let first = Journal::open(&path)
            .unwrap()
            .intent("f", Undo::SelfHealing)
            .await
            .unwrap();
        let second = Journal::open(&path)
            .unwrap()
            .intent("f", Undo::SelfHealing)
            .await
            .unwrap();
        assert_eq!((first.id, second.id), (0, 1));
    }

    #[tokio::test]
    async fn a_line_cut_off_by_a_crash_is_passed_over_but_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        Journal::open(&path).unwrap().intent("f", delete("a")).await.unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"id\":1,\"fau");
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
        std::fs::write(&path, format!("nonsense\n{text}")).unwrap();
        assert!(matches!(read(&path), Err(JournalError::Malformed { line: 1, .. })));
    }

    #[tokio::test]
    async fn what_follows_a_line_cut_off_by_a_crash_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, "{\"id\":0,\"fau").unwrap();
        Journal::open(&path).unwrap().intent("f", delete("a")).await.unwrap();
        assert_eq!(outstanding(&read(&path).unwrap()).len(), 1);
    }

    #[tokio::test]
    async fn a_journal_without_a_run_is_nobodys_unless_nothing_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, "{\"journal\":\"showr").unwrap();
        assert_eq!(read_run(&path).unwrap(), None, "cut off before anything was sent");
        std::fs::remove_file(&path).unwrap();
        Journal::open(&path).unwrap().intent("f", delete("a")).await.unwrap();
        assert!(matches!(read_run(&path), Err(JournalError::Foreign { .. })));
    }

    #[tokio::test]
    async fn a_full_journal_takes_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let journal = Journal::open(&path).unwrap();
        while journal.lines().take_number() + 1 < MAX_JOURNAL as u32 {}
        assert!(matches!(
            journal.intent("f", delete("a")).await,
            Err(JournalError::Full)
        ));
        assert!(read(&path).unwrap().is_empty());
    }

    /// A journal on a disk that fails as it is told.
    fn on_failing_disk(path: &Path) -> (Journal, Arc<Mutex<Fails>>) {
        let mut journal = Journal::create(path, &origin(), None).unwrap();
        let fails = Arc::<Mutex<Fails>>::default();
        let file = OpenOptions::new().append(true).open(path).unwrap();
        journal.lines = Mutex::new(Lines::new(Failing(file, fails.clone()), 0));
        (journal, fails)
    }

    #[tokio::test]
    async fn what_a_full_disk_took_of_a_line_is_not_continued_by_the_next_one() {
        for failure in [Fails::Full(20), Fails::Stuck(20)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("journal.jsonl");
            let (journal, fails) = on_failing_disk(&path);
            let first = journal.intent("lose-eu", delete("a")).await.unwrap();
            *fails.lock().unwrap() = failure;
            assert!(journal.intent("lose-eu", delete("b")).await.is_err());
            assert!(journal.advance(&first, Stage::Undone).await.is_err());
            assert_eq!(read_run(&path).unwrap().unwrap().1.len(), 1, "{failure:?}");
            *fails.lock().unwrap() = Fails::Nothing;
            journal.advance(&first, Stage::Undone).await.unwrap();
            let (_, entries) = read_run(&path).unwrap().unwrap();
            assert!(outstanding(&entries).is_empty(), "{failure:?}: {entries:?}");
        }
    }

    #[tokio::test]
    async fn a_number_is_not_given_again_when_nobody_knows_whether_it_is_on_disk() {
        for failure in [Fails::Sync, Fails::Stuck(0)] {
            let dir = tempfile::tempdir().unwrap();
            let (journal, fails) = on_failing_disk(&dir.path().join("journal.jsonl"));
            *fails.lock().unwrap() = failure;
            assert!(journal.intent("lose-eu", delete("never-sent")).await.is_err());
            *fails.lock().unwrap() = Fails::Nothing;
            assert_eq!(journal.intent("lose-eu", delete("sent")).await.unwrap().id, 1);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_named_and_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        Journal::create(&path, &origin(), None).unwrap();
        let mut text = std::fs::read(&path).unwrap();
        text.resize(text.len() + (17 << 20), b' ');
        std::fs::write(&path, text).unwrap();
        let said = read_run(&path).unwrap_err().to_string();
        assert!(said.contains("journal.jsonl, line 2: longer than 16 MiB"), "{said}");
    }

    #[test]
    fn an_unwritable_journal_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Journal::open(&dir.path().join("absent/journal.jsonl")).is_err());
    }
}
