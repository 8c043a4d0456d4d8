//! The bounded history of a resource, from which watches resume.

use std::collections::VecDeque;
use std::sync::Arc;

use super::object::Stored;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// One change.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) kind: ChangeKind,
    pub(crate) object: Arc<Stored>,
    /// The version before, so that a selector can tell entering from leaving.
    pub(crate) previous: Option<Arc<Stored>>,
}

/// The history does not reach back far enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {requested} ({oldest})")]
pub(crate) struct Expired {
    pub(crate) requested: u64,
    pub(crate) oldest: u64,
}

/// The last changes of one resource.
#[derive(Clone, Debug)]
pub(crate) struct History {
    changes: VecDeque<Arc<Change>>,
    capacity: usize,
    /// Changes up to and including this revision are forgotten.
    forgotten: u64,
}

impl History {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            changes: VecDeque::new(),
            capacity: capacity.max(1),
            forgotten: 0,
        }
    }

    pub(crate) fn push(&mut self, change: Arc<Change>) {
        if self.changes.len() == self.capacity
            && let Some(oldest) = self.changes.pop_front()
        {
            self.forgotten = oldest.revision;
        }
        self.changes.push_back(change);
    }

    pub(crate) fn reaches(&self, revision: u64) -> bool {
        revision >= self.forgotten
    }

    /// Changes after a revision.
    pub(crate) fn after(&self, revision: u64, namespace: Option<&str>) -> Result<VecDeque<Arc<Change>>, Expired> {
        if !self.reaches(revision) {
            return Err(Expired {
                requested: revision,
                oldest: self.forgotten,
            });
        }
        let start = self.changes.partition_point(|change| change.revision <= revision);
        let later = self.changes.range(start..);
        Ok(later
            .filter(|c| namespace.is_none_or(|ns| c.object.namespace() == ns))
            .cloned()
            .collect())
    }

    pub(crate) fn forget(&mut self, revision: u64) {
        self.changes.clear();
        self.forgotten = revision;
    }
}
