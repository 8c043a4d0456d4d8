//! Watchers' queues.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::history::Change;
use super::object::Stored;

/// The store's end of a watch.
#[derive(Debug)]
pub(crate) struct Subscriber {
    namespace: Option<String>,
    queue: mpsc::Sender<Arc<Change>>,
}

impl Subscriber {
    pub(crate) fn new(namespace: Option<String>, capacity: usize) -> (Self, mpsc::Receiver<Arc<Change>>) {
        let (queue, receiver) = mpsc::channel(capacity.max(1));
        (Self { namespace, queue }, receiver)
    }

    /// Queues a change. False where the watcher is gone or too slow: dropping the sender tells it that it was cut.
    pub(crate) fn offer(&self, change: &Arc<Change>) -> bool {
        let concerned = self
            .namespace
            .as_deref()
            .is_none_or(|ns| change.object.namespace() == ns);
        if concerned {
            self.queue.try_send(change.clone()).is_ok()
        } else {
            !self.queue.is_closed()
        }
    }
}

/// The client's end of a watch.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Revision at which the live queue takes over.
    pub(crate) revision: u64,
    /// Current objects, for a watch that starts without a revision.
    pub(crate) snapshot: Vec<Arc<Stored>>,
    /// Changes between the revision asked for and the present.
    pub(crate) backlog: VecDeque<Arc<Change>>,
    /// Changes from now on. Closed by the store where the watcher was too slow.
    pub(crate) receiver: Option<mpsc::Receiver<Arc<Change>>>,
}

impl Subscription {
    pub(crate) fn new(revision: u64) -> Self {
        Self {
            revision,
            snapshot: Vec::new(),
            backlog: VecDeque::new(),
            receiver: None,
        }
    }
}
